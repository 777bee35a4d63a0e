"""Strict field types: nothing is converted, times are RFC 3339, money has a currency."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from backend.core.fields import Moment, Money, Strict, View


class Body(Strict):
    at: Moment


class Answer(View):
    at: Moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-12-04T18:00:00Z", datetime(2026, 12, 4, 18, tzinfo=UTC)),
        ("2026-12-04t18:00:00z", datetime(2026, 12, 4, 18, tzinfo=UTC)),
        ("2026-12-04T19:00:00+01:00", datetime(2026, 12, 4, 18, tzinfo=UTC)),
        ("2026-12-04T13:30:00.5-04:30", datetime(2026, 12, 4, 18, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_a_time_with_any_offset_is_read_and_told_in_utc(text: str, moment: datetime) -> None:
    assert Body(at=text).at == moment  # type: ignore[arg-type]
    told = Answer(at=Body(at=text).at).model_dump(mode="json")["at"]  # type: ignore[arg-type]
    assert told.endswith("Z")
    assert datetime.fromisoformat(told) == moment


@pytest.mark.parametrize(
    "value",
    [
        "2026-12-04T18:00:00", "2026-12-04", "2026-12-04 18:00:00Z", "20261204T180000Z", "2026-W49-5T18:00:00Z",
        "2026-02-30T00:00:00Z", "2026-12-04T24:00:00Z", "2026-12-04T18:00:00+99:00", "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z", "٢٠٢٦-12-04T18:00:00Z", "", 0, 1764871200, 1764871200.0, True, None, [],
    ],
)  # fmt: skip
def test_what_is_no_rfc_3339_time_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        Body(at=value)


@pytest.mark.parametrize(
    "money",
    [
        {"amount_minor": "3", "currency": "EUR"}, {"amount_minor": 1.0, "currency": "EUR"},
        {"amount_minor": True, "currency": "EUR"}, {"amount_minor": -1, "currency": "EUR"},
        {"amount_minor": 2**63, "currency": "EUR"}, {"amount_minor": 1, "currency": "eur"},
        {"amount_minor": 1, "currency": "XAU"}, {"amount_minor": 1, "currency": "EUR\n"},
        {"amount_minor": 1}, {"amount_minor": 1, "currency": "EUR", "vat": 1},
    ],
)  # fmt: skip
def test_loose_money_is_refused(money: Any) -> None:
    with pytest.raises(ValidationError):
        Money.model_validate(money)
