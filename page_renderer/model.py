"""What a page is made from. Frozen values, checked when made: a renderer never meets a bad one."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from page_renderer.words import DEFAULT, LANGUAGES

SLUG_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
SKU_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PICTURE_PATTERN = re.compile(r"picture\.[0-9a-f]{12}\.(?:webp|jpg)")
BASE_URL_PATTERN = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+")
CURRENCY_PATTERN = re.compile(r"[A-Z]{3}")

# A page is one form on one screen; a hundred choices is already a catalogue, and state.json, which
# every shopper polls, grows with it (about 60 bytes an item).
ITEMS_MAX = 100
INDEX_ENTRIES_MAX = 500

SalePhase = Literal["upcoming", "live", "paused", "sold_out", "ended", "cancelled"]
ItemPhase = Literal["live", "sold_out"]
# Never a number: a figure that is a second old at 5,000 buys a second is a promise nobody can keep.
AvailableHint = Literal["many", "few", "none"]


def check_slug(slug: str) -> str:
    """The slug itself, or ValueError. A slug names a folder, so nothing else may pass."""
    if SLUG_PATTERN.fullmatch(slug) is None:
        raise ValueError(f"not a slug: {slug!r}")
    return slug


def check_sku(sku: str) -> str:
    """The SKU itself, or ValueError. A SKU names a marker file, so nothing else may pass."""
    if SKU_PATTERN.fullmatch(sku) is None:
        raise ValueError(f"not a SKU: {sku!r}")
    return sku


def _check_window(opens_at: datetime, closes_at: datetime, time_zone: str) -> None:
    for name, at in (("opens_at", opens_at), ("closes_at", closes_at)):
        if at.utcoffset() != timedelta(0):
            raise ValueError(f"{name} must be an aware datetime in UTC")
    if opens_at >= closes_at:
        raise ValueError("a sale opens before it closes")
    ZoneInfo(time_zone)  # an unknown zone raises here, not in the middle of a template


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in the currency's minor unit (cents for EUR, yen for JPY)."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if self.amount_minor < 0:
            raise ValueError("a price is never negative")
        if CURRENCY_PATTERN.fullmatch(self.currency) is None:
            raise ValueError(f"not an ISO 4217 code: {self.currency!r}")


@dataclass(frozen=True, slots=True)
class PictureFile:
    """One encoding of a picture, by its name below `/assets/`."""

    name: str
    width: int
    height: int

    def __post_init__(self) -> None:
        if PICTURE_PATTERN.fullmatch(self.name) is None:
            raise ValueError(f"not a picture's name: {self.name!r}")
        if self.width < 1 or self.height < 1:
            raise ValueError("a picture has a size")


@dataclass(frozen=True, slots=True)
class PictureView:
    """A picture in WebP at several widths, the largest first, and in JPEG for what cannot read that."""

    alt: str
    webp: tuple[PictureFile, ...]
    fallback: PictureFile

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise ValueError("a picture says what it shows")
        if not self.webp:
            raise ValueError("a picture has a file")


@dataclass(frozen=True, slots=True)
class OptionView:
    """What tells an item from its sisters: `OptionView("Size", "M")`."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class SaleItemView:
    """One item as shoppers see it. Name and description are the merchant's: data, never markup."""

    sku: str
    name: str
    price: Money
    usual_price: Money | None = None
    description: str = ""
    per_shopper_limit: int = 1
    options: tuple[OptionView, ...] = ()
    pictures: tuple[PictureView, ...] = ()

    def __post_init__(self) -> None:
        check_sku(self.sku)
        if self.per_shopper_limit < 1:
            raise ValueError("per_shopper_limit is at least 1")


@dataclass(frozen=True, slots=True)
class SalePage:
    """Everything the page of one sale shows before its first request.

    `repeat_window_ms` and `payment_hold_s` (None when nothing has to be paid here) appear as the
    rules shoppers are told, so they are the sale's own figures. `language` is the merchant's; the page is rendered
    in every language, with the merchant's words as they are. `base_url` (scheme and host) is for share cards alone,
    whose readers take no relative address.
    """

    slug: str
    title: str
    merchant_name: str
    opens_at: datetime
    closes_at: datetime
    time_zone: str
    items: tuple[SaleItemView, ...]
    description: str = ""
    repeat_window_ms: int = 10_000
    payment_hold_s: int | None = None
    delivery_required: bool = False
    language: str = DEFAULT
    base_url: str = ""

    def __post_init__(self) -> None:
        check_slug(self.slug)
        if self.language not in LANGUAGES:
            raise ValueError(f"no catalogue for {self.language!r}")
        if self.base_url and BASE_URL_PATTERN.fullmatch(self.base_url) is None:
            raise ValueError("base_url is a scheme and a host")
        _check_window(self.opens_at, self.closes_at, self.time_zone)
        if not 1 <= len(self.items) <= ITEMS_MAX:
            raise ValueError(f"a page shows 1 to {ITEMS_MAX} items")
        if len({item.sku for item in self.items}) != len(self.items):
            raise ValueError("an item appears once")
        if self.repeat_window_ms < 0 or (self.payment_hold_s or 0) < 0:
            raise ValueError("a duration is never negative")


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One sale in the list of sales."""

    slug: str
    title: str
    merchant_name: str
    opens_at: datetime
    closes_at: datetime
    time_zone: str
    price_from: Money | None = None
    picture: PictureView | None = None

    def __post_init__(self) -> None:
        check_slug(self.slug)
        _check_window(self.opens_at, self.closes_at, self.time_zone)


@dataclass(frozen=True, slots=True)
class IndexPage:
    """The list of published sales; shown by opening time, whatever order it comes in."""

    sales: tuple[IndexEntry, ...]
    title: str = ""
    """Empty: the catalogue's own word."""

    def __post_init__(self) -> None:
        if len(self.sales) > INDEX_ENTRIES_MAX:
            raise ValueError(f"the index lists at most {INDEX_ENTRIES_MAX} sales")


@dataclass(frozen=True, slots=True)
class ItemState:
    sku: str
    phase: ItemPhase
    available_hint: AvailableHint

    def __post_init__(self) -> None:
        check_sku(self.sku)
        if self.phase not in get_args(ItemPhase):
            raise ValueError(f"not an item's phase: {self.phase!r}")
        if self.available_hint not in get_args(AvailableHint):
            raise ValueError(f"not a hint: {self.available_hint!r}")


@dataclass(frozen=True, slots=True)
class SaleState:
    """What `state.json` says: the one thing a page asks for again and again."""

    phase: SalePhase
    opens_at: datetime
    closes_at: datetime
    at: datetime
    items: tuple[ItemState, ...]

    def __post_init__(self) -> None:
        if self.phase not in get_args(SalePhase):
            raise ValueError(f"not a sale's phase: {self.phase!r}")
        _check_window(self.opens_at, self.closes_at, "UTC")
        if self.at.utcoffset() != timedelta(0):
            raise ValueError("at must be an aware datetime in UTC")
        if len(self.items) > ITEMS_MAX:
            raise ValueError(f"a state lists at most {ITEMS_MAX} items")


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """Files of one version by name, uncompressed. They point to `/assets/…` by content hash."""

    files: dict[str, bytes] = field(default_factory=dict)
