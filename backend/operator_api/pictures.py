"""Pictures of SKUs: sent as they are, kept re-encoded."""

from hashlib import sha256
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, StringConstraints, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import Done
from backend.api import AnyOperator, Calls, Session
from backend.core.errors import Code, Refused
from backend.core.fields import Id, Moment, Strict, View
from backend.core.http import StrictRoute
from backend.jobs import contracts
from backend.operator_api.schemas import left_out
from backend.pages import (
    PICTURES_MAX,
    UPLOAD_MAX_BYTES,
    PictureRow,
    add_picture,
    change_picture,
    encode_upload,
    pictures_of_sku,
    remove_picture,
    small_file,
    want_pages,
)
from backend.sales import edit_sku, get_sku

router = APIRouter(prefix="/skus/{sku_id}/pictures", route_class=StrictRoute)

MEDIA_TYPES = ("image/jpeg", "image/png", "image/webp")
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {name: {"schema": {"type": "string", "format": "binary"}} for name in MEDIA_TYPES},
    }
}

AltText = Annotated[str, StringConstraints(min_length=1, max_length=300, strip_whitespace=True, pattern=r"^[^\x00]*$")]
Alt = Annotated[AltText, Query(description="What the picture shows, for those who cannot see it")]


class PictureChange(Strict):
    alt: AltText = left_out()
    position: Annotated[int, Field(ge=0, lt=PICTURES_MAX)] = left_out()
    """Its place among the SKU's pictures, 0 for the first; beyond the last it becomes the last."""

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("Give alt or position.")
        return self


class PictureFileView(View):
    name: str
    width: int
    height: int


class PictureView(View):
    id: Id
    alt: str
    width: int
    height: int
    files: list[PictureFileView]
    """Below ``/assets/`` once a page with them is published."""
    created_at: Moment


class PicturesView(View):
    pictures: list[PictureView]


def _view(row: PictureRow) -> PictureView:
    picture = row.picture
    return PictureView(
        id=picture.id,
        alt=picture.alt,
        width=picture.width,
        height=picture.height,
        files=[PictureFileView(name=one.name, width=one.width, height=one.height) for one in row.files],
        created_at=picture.created_at,
    )


async def _upload(request: Request) -> bytes:
    """The body, bounded. Raises ``UNSUPPORTED_MEDIA_TYPE``, ``TOO_LARGE``."""
    name = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if name not in MEDIA_TYPES:
        raise Refused(Code.UNSUPPORTED_MEDIA_TYPE, "Send a picture as image/jpeg, image/png or image/webp.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > UPLOAD_MAX_BYTES:
            raise Refused(Code.TOO_LARGE, f"Send at most {UPLOAD_MAX_BYTES // 1024 // 1024} MB.")
    return bytes(body)


@router.get("")
async def read_pictures(session: Session, actor: AnyOperator, sku_id: UUID) -> PicturesView:
    """A SKU's pictures, in the order in which pages show them."""
    sku = await get_sku(session, actor.merchant_id, sku_id)
    return PicturesView(pictures=[_view(row) for row in await pictures_of_sku(session, sku.id)])


@router.post("", status_code=201, response_model=PictureView, openapi_extra=_UPLOAD)
async def post_picture(call: Calls, request: Request, sku_id: UUID, alt: Alt) -> Response:
    """Add a picture as the SKU's last: JPEG, PNG or WebP, at most 10 MB, re-encoded without what else was in the file.

    Published pages with this SKU are published again.
    """
    merchant_id = call.actor.merchant_id
    async with call.state.database.transaction() as session:
        await get_sku(session, merchant_id, sku_id)
    upload = await _upload(request)
    encoded = await encode_upload(upload)

    async def action(session: AsyncSession, _: UUID) -> Done:
        await edit_sku(session, merchant_id, sku_id, {})
        row = await add_picture(session, sku_id, upload=upload, alt=alt, encoded=encoded)
        await want_pages(session, sku_id=sku_id, by=call.actor.operator_id)
        view = _view(row).model_dump(mode="json")
        return Done(view, 201, after={"sku_id": str(sku_id), "picture_id": view["id"], "alt": alt})

    call.after_commit(lambda: call.state.enqueue(contracts.TRANSITIONS))
    condition = {"sku_id": str(sku_id), "alt": alt, "sha256": sha256(upload).hexdigest()}
    return await call.run("sku.picture", action, condition=condition)


@router.get("/{picture_id}/content", response_class=Response, responses={200: {"content": {"image/webp": {}}}})
async def read_content(session: Session, actor: AnyOperator, sku_id: UUID, picture_id: UUID) -> Response:
    """The smallest file of a picture, also while no page shows it."""
    sku = await get_sku(session, actor.merchant_id, sku_id)
    found = await small_file(session, sku.id, picture_id)
    return Response(found.content, media_type="image/webp" if found.name.endswith(".webp") else "image/jpeg")


@router.patch("/{picture_id}", response_model=PicturesView)
async def patch_picture(call: Calls, sku_id: UUID, picture_id: UUID, body: PictureChange) -> Response:
    """Change a picture's words or its place; all pictures, in their new order.

    Published pages with this SKU are published again.
    """

    async def action(session: AsyncSession, _: UUID) -> Done:
        await edit_sku(session, call.actor.merchant_id, sku_id, {})
        sent = body.model_dump(exclude_unset=True)
        before = await change_picture(session, sku_id, picture_id, **sent)
        await want_pages(session, sku_id=sku_id, by=call.actor.operator_id)
        rows = await pictures_of_sku(session, sku_id)
        view = PicturesView(pictures=[_view(row) for row in rows]).model_dump(mode="json")
        named = {"sku_id": str(sku_id), "picture_id": str(picture_id)}
        return Done(view, before={**named, **{name: before[name] for name in sent}}, after={**named, **sent})

    call.after_commit(lambda: call.state.enqueue(contracts.TRANSITIONS))
    condition = {"sku_id": str(sku_id), "picture_id": str(picture_id)}
    return await call.run("sku.picture_changed", action, body=body, condition=condition)


@router.delete("/{picture_id}", status_code=204, response_class=Response)
async def remove(call: Calls, sku_id: UUID, picture_id: UUID) -> Response:
    """Take a picture away. Published pages with this SKU are published again."""

    async def action(session: AsyncSession, _: UUID) -> Done:
        await edit_sku(session, call.actor.merchant_id, sku_id, {})
        await remove_picture(session, sku_id, picture_id)
        await want_pages(session, sku_id=sku_id, by=call.actor.operator_id)
        return Done({}, 204, before={"sku_id": str(sku_id), "picture_id": str(picture_id)})

    call.after_commit(lambda: call.state.enqueue(contracts.TRANSITIONS))
    condition = {"sku_id": str(sku_id), "picture_id": str(picture_id)}
    return await call.run("sku.picture_removed", action, condition=condition)
