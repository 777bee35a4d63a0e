"""Bodies of the operator API, as DESIGN 7 spells them."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator
from pydantic.config import JsonDict

from backend.core.fields import Id, Moment, Money, Reason, SkuCode, Slug, Strict, View
from backend.monitoring import DependencyState
from backend.sales.terms import (
    ALLOTMENT_MAX,
    BURST_MAX,
    HOLD_MAX_S,
    HOLD_MIN_S,
    ITEMS_MAX,
    LEAD_MAX_S,
    LIMIT_MAX,
    LINK_TTL_MAX_S,
    LINK_TTL_MIN_S,
    OVERLAP_MAX_S,
    RATE_MAX_PER_S,
    REPEAT_WINDOW_MAX_MS,
    WAIT_BUDGET_MAX_MS,
)


def _without_default(schema: JsonDict) -> None:
    schema.pop("default", None)


def left_out() -> Any:
    """The default of a field that may be left out but never be null: null fails the field's own type."""
    return Field(default=None, json_schema_extra=_without_default)


Title = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Description = Annotated[str, StringConstraints(max_length=10_000)]
Allotment = Annotated[int, Field(ge=1, le=ALLOTMENT_MAX)]
Limit = Annotated[int, Field(ge=1, le=LIMIT_MAX)]
Rate = Annotated[float, Field(ge=0.01, le=RATE_MAX_PER_S)]
Burst = Annotated[int, Field(ge=1, le=BURST_MAX)]
WaitBudget = Annotated[int, Field(ge=0, le=WAIT_BUDGET_MAX_MS)]
RepeatWindow = Annotated[int, Field(ge=0, le=REPEAT_WINDOW_MAX_MS)]
LanguageName = Literal["en", "de", "ar"]
RecoveryName = Literal["automatic", "manual"]
DurabilityName = Literal["everysec", "acknowledged"]
Zone = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Lead = Annotated[int, Field(ge=0, le=LEAD_MAX_S)]
Hold = Annotated[int, Field(ge=HOLD_MIN_S, le=HOLD_MAX_S)]
LinkTtl = Annotated[int, Field(ge=LINK_TTL_MIN_S, le=LINK_TTL_MAX_S)]
Overlap = Annotated[int, Field(ge=0, le=OVERLAP_MAX_S)]


OptionWord = Annotated[str, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]
Options = Annotated[list["Option"], Field(max_length=2)]


class SessionBody(Strict):
    email: Annotated[str, StringConstraints(min_length=1, max_length=320)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=256)]


class SessionView(View):
    access_token: str
    role: Literal["owner", "operator", "auditor"]
    expires_at: Moment


class MerchantView(View):
    id: Id
    name: str


class MeView(View):
    operator_id: Id
    email: str
    role: Literal["owner", "operator", "auditor"]
    merchant: MerchantView


class Option(Strict):
    name: OptionWord
    value: OptionWord


class SkuBody(Strict):
    sku: SkuCode
    name: Title
    description: Description = ""
    usual_price: Money = left_out()
    options: Options = Field(default_factory=list)
    """What tells it from its sisters: items that share the names (colour, size) are one choice on the page."""


class SkuChange(Strict):
    name: Title = left_out()
    description: Description = left_out()
    usual_price: Money = left_out()
    options: Options = left_out()


class SkuView(View):
    id: Id
    sku: str
    name: str
    description: str
    usual_price: Money | None = None
    options: list[Option] = Field(default_factory=list)
    created_at: Moment


class SkusView(View):
    skus: list[SkuView]


class ItemBody(Strict):
    sku: SkuCode
    price: Money
    allotment: Allotment
    per_shopper_limit: Limit = 1


class ThrottleFields(Strict):
    rate_per_s: Rate = left_out()
    burst: Burst = left_out()
    wait_budget_ms: WaitBudget = left_out()
    repeat_window_ms: RepeatWindow = left_out()


class LinkFields(Strict):
    ttl_s: LinkTtl = left_out()
    overlap_s: Overlap = left_out()


class PaymentFields(Strict):
    required: bool = left_out()
    hold_s: Hold = left_out()


class SaleBody(Strict):
    slug: Slug
    title: Title
    opens_at: Moment
    closes_at: Moment
    time_zone: Zone = "UTC"
    lead_s: Lead = 600
    description: Description = ""
    """Markdown, shown on the page; HTML in it is text."""
    language: LanguageName = "en"
    """What the page is written in until its reader chooses another."""
    delivery_required: bool = False
    """Whether the page asks shoppers where to deliver."""
    recovery: RecoveryName = "automatic"
    durability: DurabilityName = "everysec"
    """What follows when its gate was rebuilt after a failure: the sale goes on, or waits for a resume."""
    items: Annotated[list[ItemBody], Field(min_length=1, max_length=ITEMS_MAX)]
    throttle: ThrottleFields = left_out()
    link: LinkFields = left_out()
    payment: PaymentFields = left_out()


class SaleChange(Strict):
    slug: Slug = left_out()
    title: Title = left_out()
    opens_at: Moment = left_out()
    closes_at: Moment = left_out()
    time_zone: Zone = left_out()
    lead_s: Lead = left_out()
    description: Description = left_out()
    language: LanguageName = left_out()
    delivery_required: bool = left_out()
    recovery: RecoveryName = left_out()
    durability: DurabilityName = left_out()
    items: Annotated[list[ItemBody], Field(min_length=1, max_length=ITEMS_MAX)] = left_out()
    throttle: ThrottleFields = left_out()
    link: LinkFields = left_out()
    payment: PaymentFields = left_out()


class ReasonBody(Strict):
    reason: Reason = left_out()


class RebuildBody(Strict):
    reason: Reason
    """Shown to auditors."""


class ResumeBody(Strict):
    reason: Reason = left_out()
    generation: Annotated[int, Field(ge=1, le=2**31 - 1)] = left_out()
    """Needed after a fault: the sale's ``generation`` as the 409 or the sale itself names it."""


class QuantityBody(Strict):
    sku: SkuCode
    quantity: Annotated[int, Field(ge=1, le=ALLOTMENT_MAX)]
    reason: Reason
    """Stock is money: a top-up or reduction says why (shown to auditors)."""


class ThrottleBody(ThrottleFields):
    sku: SkuCode = left_out()
    reason: Reason = left_out()

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set - {"sku", "reason"}:
            raise ValueError("Give at least one of rate_per_s, burst, wait_budget_ms, repeat_window_ms.")
        return self


class ThrottleView(View):
    rate_per_s: float
    burst: int
    wait_budget_ms: int
    repeat_window_ms: int


class ItemView(View):
    id: Id
    sku: str
    name: str
    price: Money
    allotment: int
    available: int
    reserved: int
    sold: int
    per_shopper_limit: int
    throttle: ThrottleView | None = None


class LinkView(View):
    ttl_s: int
    overlap_s: int
    epoch: int


class PaymentView(View):
    required: bool
    hold_s: int


Status = Literal["draft", "scheduled", "live", "paused", "ended", "reconciled", "cancelled"]
Phase = Literal["upcoming", "live", "paused", "sold_out", "ended", "cancelled"]


class SaleRow(View):
    id: Id
    slug: str
    title: str
    status: Status
    phase: Phase
    opens_at: Moment
    closes_at: Moment
    time_zone: str
    version: int
    items: list[ItemView]


class SalesView(View):
    sales: list[SaleRow]


class SaleView(SaleRow):
    fault: str | None = None
    generation: int | None = None
    """With a fault: what a resume has to name."""
    lead_s: int
    description: str
    language: LanguageName
    delivery_required: bool
    recovery: RecoveryName
    durability: DurabilityName
    throttle: ThrottleView
    link: LinkView
    payment: PaymentView
    published_version: int | None = None
    page_path: str | None = None
    scheduled_at: Moment | None = None
    preloaded_at: Moment | None = None
    ended_at: Moment | None = None
    created_at: Moment


class CheckView(View):
    name: str
    ok: bool
    detail: str
    action: str


class PreflightView(View):
    ready: bool
    checks: list[CheckView]


class OrderView(View):
    id: Id
    reservation_id: Id
    sku: str
    quantity: int
    status: str
    price: Money
    shopper_id: Id
    contact_masked: str
    created_at: Moment
    pay_by: Moment | None = None
    reason: str | None = None


class OrdersView(View):
    orders: list[OrderView]
    next_cursor: str | None = None


class NotificationView(View):
    id: Id
    kind: str
    order_id: UUID | None = None
    contact_masked: str
    status: str
    attempts: int
    last_error: str | None = None
    created_at: Moment
    sent_at: Moment | None = None


class NotificationsView(View):
    notifications: list[NotificationView]
    next_cursor: str | None = None


class ActivityLine(View):
    id: Id
    at: Moment
    actor: str
    kind: str
    reason: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    outcome: Literal["done", "refused", "open", "alarm"]


class ActivityView(View):
    activity: list[ActivityLine]
    next_cursor: str | None = None


class GateFigures(View):
    available: int
    held: int
    read_at: Moment


class LiveItem(View):
    sku: str
    allotment: int
    available: int
    reserved: int
    sold: int
    gate: GateFigures | None = None


class LiveAudit(View):
    checked_at: Moment
    drift: int
    oversold: int
    stranded: int
    verdict: Literal["clean", "findings"]


class LiveView(View):
    status: Status
    phase: Phase
    now: Moment
    opens_at: Moment
    closes_at: Moment
    fault: str | None = None
    view_age_ms: int
    """Age of the readings."""
    order_lag_ms: int | None = None
    """Age of the oldest journal entry that is not yet decided; unknown while the gate is down."""
    order_delay_p95_ms: int | None = None
    """From the gate's yes to the ledger's commit, of the last minute's newest orders; none when there was none."""
    gate_call_p99_ms: float | None = None
    """The gate's answer to a batch of attempts of any sale, as the API process that answers here has measured it in the
    last ten seconds; none when it had none decided."""
    gate_unanswered: int = 0
    """Attempts that got no decision in that time."""
    throttle: ThrottleView
    drift: int | None = None
    pending_releases: int
    items: list[LiveItem]
    outcomes: dict[str, int]
    backlog: int | None = None
    dependencies: dict[str, DependencyState]
    """``database``, ``gate``, ``broker``, ``workers`` and ``clock``."""
    events: list[ActivityLine]
    """The newest of the activity: what operators and the platform did, marked on the charts."""
    audit: LiveAudit | None = None


class Throughput(View):
    series: list[dict[str, Any]]
