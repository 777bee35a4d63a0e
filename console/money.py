"""Exact conversion between what people type ("19.00") and what the API takes (1900, "EUR").

Floats never touch an amount: 19.99 * 100 is 1998.9999999999998.
"""

import re
from decimal import Decimal

# ISO 4217 currencies whose minor unit is not a hundredth (list one, 2026). All others have two digits.
_ZERO_DIGITS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_DIGITS = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_DIGITS = "CLF UYW"
EXPONENTS = {
    **dict.fromkeys(_ZERO_DIGITS.split(), 0),
    **dict.fromkeys(_THREE_DIGITS.split(), 3),
    **dict.fromkeys(_FOUR_DIGITS.split(), 4),
}
DEFAULT_EXPONENT = 2

CURRENCIES = (
    "EUR", "USD", "GBP", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "RON", "BGN", "ISK", "TRY", "UAH", "JPY",
    "CNY", "HKD", "TWD", "KRW", "SGD", "INR", "IDR", "THB", "VND", "PHP", "MYR", "AUD", "NZD", "CAD", "MXN", "BRL",
    "CLP", "COP", "ARS", "ZAR", "AED", "SAR", "KWD", "BHD", "JOD", "OMR", "QAR", "ILS", "EGP", "TND", "MAD", "KES",
    "NGN",
)  # fmt: skip
"""What the forms offer, the likeliest first."""

_TYPED = re.compile(r"(?P<whole>\d{1,12})(?:[.,](?P<part>\d+))?", re.ASCII)


class AmountError(ValueError):
    """What was typed is not an amount in that currency; the message says what to type instead."""


def exponent(currency: str) -> int:
    """Digits after the decimal mark in `currency`."""
    return EXPONENTS.get(currency.upper(), DEFAULT_EXPONENT)


def example(currency: str) -> str:
    """How an amount is written in `currency`, for messages and placeholders."""
    return to_major(19 * 10 ** exponent(currency), currency)


def to_minor(typed: str, currency: str) -> int:
    """Minor units of an amount typed in major units, with a point or a comma as decimal mark.

    Thousands separators are refused rather than guessed at: "1.900" is 1,900 euros in Berlin and
    1.90 euros with a digit too many elsewhere.

    Raises:
        AmountError: when the text is no amount, or has more digits than the currency.
    """
    digits = exponent(currency)
    match = _TYPED.fullmatch(typed.strip())
    if match is None:
        raise AmountError(f"Type an amount such as {example(currency)}, without separators.")
    if len(match["part"] or "") > digits:
        allowed = "no decimals" if digits == 0 else f"{digits} decimals"
        raise AmountError(f"{currency} has {allowed}: type an amount such as {example(currency)}.")
    amount = Decimal(f"{match['whole']}.{match['part'] or '0'}")
    return int(amount.scaleb(digits))


def to_major(amount_minor: int, currency: str) -> str:
    """The amount as a person types it: 1900 EUR is "19.00", 1900 JPY is "1900"."""
    digits = exponent(currency)
    return f"{Decimal(amount_minor).scaleb(-digits):.{digits}f}"


def label(amount: dict[str, object] | None) -> str:
    """An API amount for reading: "19.00 EUR"; a dash when there is none."""
    if not amount:
        return "–"
    currency = str(amount["currency"])
    return f"{to_major(int(str(amount['amount_minor'])), currency)} {currency}"
