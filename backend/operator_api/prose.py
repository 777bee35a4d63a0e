"""A description as the page will show it, for whoever is writing it."""

from fastapi import APIRouter

from backend.api import AnyOperator
from backend.core.fields import Strict, View
from backend.core.http import StrictRoute
from backend.operator_api.schemas import Description
from page_renderer.prose import prose

router = APIRouter(route_class=StrictRoute)


class ProseBody(Strict):
    text: Description
    """Markdown."""


class ProseView(View):
    html: str
    """The very markup that the page will hold: HTML in the source is text, pictures and code are left out."""


@router.post("/prose")
async def post_prose(_: AnyOperator, body: ProseBody) -> ProseView:
    """Render a description. Nothing is kept, so no key is asked for."""
    return ProseView(html=str(prose(body.text)))
