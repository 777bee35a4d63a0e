"""Strict Pydantic models and the field types that every body shares."""

import re
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from backend.core.clock import rfc3339
from backend.core.text import SKU_PATTERN, SLUG_PATTERN

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EARLIEST_YEAR, _LATEST_YEAR = 2000, 9000
"""Python's datetime ends in 9999; adding an interval to its last days would overflow."""

_CURRENCY_CODES = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
    CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP
    GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT
    LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR
    NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN
    SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF
    XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
CURRENCIES = frozenset(_CURRENCY_CODES.split())
"""Active codes of ISO 4217 that money can be counted in (no metals, no test codes)."""

MAX_AMOUNT_MINOR = 10**12
"""Ten thousand million euros for one unit; times the largest allotment it still fits 64 bits."""


class Strict(BaseModel):
    """A request's body: nothing unknown, nothing converted (``"3"``, ``true`` and ``1.0`` are no integers)."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class View(BaseModel):
    """An answer's body. Fields that are None are left out (see ``backend.core.http.StrictRoute``)."""

    model_config = ConfigDict(frozen=True)


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("Give a time zone offset.")
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("Give a time as RFC 3339 says, such as 2026-12-04T18:00:00Z.")
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        raise ValueError("There is no such time.") from None
    if not _EARLIEST_YEAR <= moment.year <= _LATEST_YEAR:
        raise ValueError(f"Give a year from {_EARLIEST_YEAR} to {_LATEST_YEAR}.")
    return moment


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("Give an ISO 4217 code, such as EUR.")
    return code


def _uuid(value: Any) -> UUID:
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise ValueError("Give an id.") from None


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    PlainSerializer(rfc3339, return_type=str, when_used="json-unless-none"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-12-04T18:00:00Z"]}),
]
"""RFC 3339 with any offset in, ``Z`` out."""

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), AfterValidator(_currency)]
Slug = Annotated[str, StringConstraints(pattern=SLUG_PATTERN, max_length=63)]
SkuCode = Annotated[str, StringConstraints(pattern=SKU_PATTERN, max_length=64)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
Id = Annotated[UUID, BeforeValidator(_uuid)]


class Money(Strict):
    """An amount in the currency's smallest unit."""

    amount_minor: Annotated[int, Field(ge=0, le=MAX_AMOUNT_MINOR)]
    currency: Currency


def given(model: Strict) -> dict[str, Any]:
    """The fields that the caller sent, in JSON's types: what a request hash and an activity line hold."""
    return model.model_dump(mode="json", exclude_unset=True)
