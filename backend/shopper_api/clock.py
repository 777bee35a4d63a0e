"""``GET /clock``: the clock that opens sales."""

from fastapi import APIRouter, Response

from backend.api import State
from backend.core.errors import Code, Refused
from backend.core.fields import View
from backend.core.http import StrictRoute
from backend.gate import GateUnavailable
from backend.shopper_api.answers import DEGRADED_RETRY_MS

router = APIRouter(prefix="/api/v1", tags=["shopper"], route_class=StrictRoute)


class ClockView(View):
    now_ms: int


@router.get("/clock")
async def read_clock(state: State, response: Response) -> ClockView:
    """The gate's time (Redis TIME), asked for now: a page sets its countdown by it, so nothing else will do."""
    response.headers["Cache-Control"] = "no-store"
    try:
        return ClockView(now_ms=await state.gate.now_ms())
    except GateUnavailable:
        raise Refused(Code.DEGRADED, retry_after_ms=DEGRADED_RETRY_MS) from None
