"""Pictures of products, streamed from the API to the browser with the operator's own token.

Through Streamlit they would be held in this process's memory and served to whoever knows the address; so a picture
is seen by those whom the API shows it to, and the browser keeps it.
"""

import re
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from console.client import ApiClient
from console.errors import ApiError, Unreachable
from console.guard import SESSION_COOKIE
from console.settings import BASE_PATH

_PREFIX = f"{BASE_PATH}/download/pictures"
_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
_TYPES = frozenset({"image/webp", "image/jpeg"})
CONTENT_LIMIT_BYTES = 1024 * 1024
"""The smallest file of a picture is 480 pixels wide: tens of kilobytes."""
KEPT_S = 3_600
"""A picture never changes under its id. An hour: after signing out it is not to stay for days."""


def thumbnail_href(sku_id: str, picture_id: str) -> str:
    """Address of a picture's smallest file."""
    return f"{_PREFIX}/{quote(sku_id, safe='')}/{quote(picture_id, safe='')}"


class Thumbnails:
    """The route of the pictures."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def routes(self) -> list[Route]:
        return [Route(f"{_PREFIX}/{{sku_id}}/{{picture_id}}", self.show, methods=["GET"])]

    async def show(self, request: Request) -> Response:
        sku_id, picture_id = request.path_params["sku_id"], request.path_params["picture_id"]
        token = request.cookies.get(SESSION_COOKIE)
        if not _ID.fullmatch(sku_id) or not _ID.fullmatch(picture_id):
            return PlainTextResponse("Not found", status_code=404)
        if not token:
            return PlainTextResponse("Signed out", status_code=401)
        try:
            content, media_type = await run_in_threadpool(self._read, sku_id, picture_id, token)
        except ApiError as error:
            return PlainTextResponse("Not shown", status_code=error.status)
        except Unreachable:
            return PlainTextResponse("Not shown", status_code=503)
        return Response(content, media_type=media_type, headers={"Cache-Control": f"private, max-age={KEPT_S}"})

    def _read(self, sku_id: str, picture_id: str, token: str) -> tuple[bytes, str]:
        path = f"/operator/skus/{sku_id}/pictures/{picture_id}/content"
        content = bytearray()
        with self._client.download(path, token, "image/*") as upstream:
            media_type = upstream.headers.get("content-type", "")
            if media_type not in _TYPES:
                raise Unreachable("not a picture")
            for chunk in upstream.iter_bytes():
                content += chunk
                if len(content) > CONTENT_LIMIT_BYTES:
                    raise Unreachable("longer than any small picture")
        return bytes(content), media_type
