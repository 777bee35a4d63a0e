"""What one API process holds open, in one typed object."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from backend.accounts import SHOPPER_TOKEN_LABEL, CodeKey, Hashing, SealKey, ShopperTokens, ShopTokens
from backend.core.metrics import watch_circuit
from backend.core.shared import SharedAnswers
from backend.core.signing import derive_key
from backend.gate import TICKET_KEY_LABEL, Gate, LaneViews, Tickets
from backend.jobs import Enqueue, Enqueuer, make_broker
from backend.models import Database, make_engine
from backend.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class AppState:
    """One per process. ``request.app.state.stampede`` holds it, see ``backend.api.access.State``."""

    settings: Settings
    database: Database
    gate: Gate
    views: LaneViews
    enqueue: Enqueue
    """``await enqueue(contracts.RELAY)``; never raises."""
    hashing: Hashing
    shopper_token_key: bytes
    shopper_tokens: ShopperTokens
    code_key: CodeKey
    seal_key: SealKey
    """For the heads of the activity log."""
    tickets: Tickets
    shop_tokens: ShopTokens | None
    """None when no issuer of a shop's own tokens is configured."""
    shared: SharedAnswers
    """Live figures, computed once for all viewers."""


@asynccontextmanager
async def open_state(settings: Settings) -> AsyncIterator[AppState]:
    """Open pools (they connect when first used, so a dependency that is down does not keep us from starting)."""
    database = Database(make_engine(settings, role="api"))
    gate = Gate.connect(settings.gate_url, timeout_s=settings.gate_timeout_s, name="api")
    enqueuer = Enqueuer(make_broker(settings.broker_url))
    watch_circuit("ledger", lambda: database.circuit)
    watch_circuit("gate", lambda: gate.circuit)
    watch_circuit("broker", lambda: enqueuer.circuit)
    key = derive_key(settings.secret_key, SHOPPER_TOKEN_LABEL)
    try:
        yield AppState(
            settings=settings,
            database=database,
            gate=gate,
            views=LaneViews(gate),
            enqueue=enqueuer,
            hashing=Hashing(),
            shopper_token_key=key,
            shopper_tokens=ShopperTokens(key),
            code_key=CodeKey.of(settings),
            seal_key=SealKey.of(settings.secret_key),
            shop_tokens=ShopTokens.of(settings),
            shared=SharedAnswers(),
            tickets=Tickets(derive_key(settings.secret_key, TICKET_KEY_LABEL)),
        )
    finally:
        enqueuer.close()
        await gate.close()
        await database.close()
