"""Pictures through the API, the page that shows them, its versions, previews, and going back to one."""

import io
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from backend.api import AppState
from backend.models import Role
from backend.pages import UPLOAD_MAX_BYTES, due_for_publication, publish
from backend.pages.pictures import PICTURES_MAX

from .conftest import Operator
from .test_sales import SignIn


def _jpeg(colour: tuple[int, int, int] = (200, 80, 40), size: tuple[int, int] = (600, 600)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "JPEG")
    return out.getvalue()


async def send(
    operator: Operator, sku_id: str, upload: bytes, *, alt: str = "A tee", media_type: str = "image/jpeg", key: str = ""
) -> httpx.Response:
    return await operator.client.post(
        f"/api/v1/operator/skus/{sku_id}/pictures",
        params={"alt": alt},
        content=upload,
        headers={
            "Authorization": f"Bearer {operator.token}",
            "Idempotency-Key": key or f"picture-{hash((sku_id, upload, alt))}",
            "Content-Type": media_type,
        },
    )


async def _tee(owner: Operator, sku: str = "TEE-M") -> str:
    return str((await owner.ok("/skus", {"sku": sku, "name": "Tee"}))["id"])


async def _published(owner: Operator, state: AppState, slug: str) -> dict[str, Any]:
    sale: dict[str, Any] = await owner.make_sale(slug)
    await owner.ok(f"/sales/{sale['id']}/schedule")
    await publish(state.database, sale["id"], state.settings)
    return sale


def _page(state: AppState, slug: str) -> str:
    return (state.settings.pages_dir / "sales" / slug / "current" / "index.html").read_text()


async def test_a_picture_is_kept_re_encoded_and_shown(owner: Operator, state: AppState) -> None:
    sku_id = await _tee(owner)
    made = await send(owner, sku_id, _jpeg())
    assert made.status_code == 201, made.text
    picture = made.json()
    assert (picture["alt"], picture["width"], picture["height"]) == ("A tee", 600, 600)
    listed = (await owner.get(f"/skus/{sku_id}/pictures")).json()["pictures"]
    assert [one["id"] for one in listed] == [picture["id"]]
    content = await owner.get(f"/skus/{sku_id}/pictures/{picture['id']}/content")
    assert content.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(content.content)).size == (480, 480)

    await _published(owner, state, "pictured")
    html = _page(state, "pictured")
    named = set(re.findall(r"/assets/(picture\.[0-9a-f]{12}\.\w+)", html))
    assert named == {one["name"] for one in picture["files"]}
    for name in named:
        assert (state.settings.pages_dir / "assets" / name).stat().st_size > 100


async def test_a_page_gets_its_pictures_back_when_the_folder_was_lost(
    owner: Operator, state: AppState, tmp_path: Path
) -> None:
    sku_id = await _tee(owner)
    await send(owner, sku_id, _jpeg())
    sale = await _published(owner, state, "lost")
    fresh = state.settings.model_copy(update={"pages_dir": tmp_path / "fresh"})
    await publish(state.database, sale["id"], fresh)
    assert len(list((tmp_path / "fresh" / "assets").glob("picture.*"))) == 3


async def test_the_same_file_is_the_same_picture(owner: Operator) -> None:
    sku_id = await _tee(owner)
    first = await send(owner, sku_id, _jpeg(), key="one")
    assert (await send(owner, sku_id, _jpeg(), key="one")).json() == first.json()
    assert (await send(owner, sku_id, _jpeg(), key="two")).json()["id"] == first.json()["id"]
    assert (await send(owner, sku_id, _jpeg((1, 2, 3)), key="one")).json()["code"] == "KEY_REUSED"
    assert len((await owner.get(f"/skus/{sku_id}/pictures")).json()["pictures"]) == 1


async def test_pictures_have_an_order_an_end_and_may_go(owner: Operator) -> None:
    sku_id = await _tee(owner)
    made = [await send(owner, sku_id, _jpeg((shade, 0, 0))) for shade in range(0, PICTURES_MAX * 20, 20)]
    one_more = await send(owner, sku_id, _jpeg((0, 255, 0)))
    assert (one_more.status_code, one_more.json()["code"]) == (409, "CONFLICT")
    ids = [one.json()["id"] for one in made]
    gone = await owner.send("DELETE", f"/skus/{sku_id}/pictures/{ids[2]}")
    assert gone.status_code == 204
    assert (await owner.send("DELETE", f"/skus/{sku_id}/pictures/{ids[2]}")).status_code == 404
    assert (await owner.get(f"/skus/{sku_id}/pictures/{ids[2]}/content")).status_code == 404
    left = (await owner.get(f"/skus/{sku_id}/pictures")).json()["pictures"]
    assert [one["id"] for one in left] == ids[:2] + ids[3:]


async def test_a_picture_gets_another_place_and_other_words(owner: Operator, state: AppState, sign_in: SignIn) -> None:
    sku_id = await _tee(owner)
    ids = [(await send(owner, sku_id, _jpeg((shade, 0, 0)))).json()["id"] for shade in (0, 80, 160)]
    # A gap in the places, as a picture that was taken away leaves one.
    await owner.send("DELETE", f"/skus/{sku_id}/pictures/{ids.pop(1)}")
    ids.append((await send(owner, sku_id, _jpeg((0, 0, 99)))).json()["id"])
    sale = await _published(owner, state, "ordered")

    async def patch(picture_id: str, **body: Any) -> httpx.Response:
        return await owner.send("PATCH", f"/skus/{sku_id}/pictures/{picture_id}", body)

    moved = await patch(ids[2], position=0)
    assert moved.status_code == 200, moved.text
    assert [one["id"] for one in moved.json()["pictures"]] == [ids[2], ids[0], ids[1]]
    assert [str(one) for one in await due_for_publication(state.database)] == [sale["id"]]
    last = await patch(ids[2], position=PICTURES_MAX - 1, alt=" From behind ")
    listed = (await owner.get(f"/skus/{sku_id}/pictures")).json()
    assert listed == last.json()
    assert [(one["id"], one["alt"]) for one in listed["pictures"]] == [
        (ids[0], "A tee"), (ids[1], "A tee"), (ids[2], "From behind")
    ]  # fmt: skip
    await publish(state.database, sale["id"], state.settings)
    assert 'alt="From behind"' in _page(state, "ordered")

    for body in ({}, {"position": PICTURES_MAX}, {"position": -1}, {"alt": " "}, {"alt": None}, {"place": 1}):
        assert (await patch(ids[0], **body)).status_code == 422, body
    other = str((await owner.ok("/skus", {"sku": "OTHER", "name": "Other"}))["id"])
    assert (await owner.send("PATCH", f"/skus/{other}/pictures/{ids[0]}", {"position": 0})).status_code == 404
    for role, merchant, status in ((Role.AUDITOR, None, 403), (Role.OWNER, "Another", 404)):
        who = await (sign_in(role, merchant=merchant) if merchant else sign_in(role))
        answer = await who.send("PATCH", f"/skus/{sku_id}/pictures/{ids[0]}", {"position": 1})
        assert answer.status_code == status
    assert (await owner.get(f"/skus/{sku_id}/pictures")).json() == listed


@pytest.mark.parametrize(
    ("upload", "media_type", "alt", "status", "code"),
    [
        (b"not a picture", "image/jpeg", "A tee", 422, "INVALID_FIELD"),
        (b"{}", "application/json", "A tee", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"<svg/>", "image/svg+xml", "A tee", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"\0" * (UPLOAD_MAX_BYTES + 1), "image/png", "A tee", 413, "TOO_LARGE"),
        (_jpeg(), "image/jpeg", "", 422, "INVALID_FIELD"),
        (_jpeg(), "image/jpeg", "  ", 422, "INVALID_FIELD"),
        (_jpeg(), "image/jpeg", "a\0b", 422, "INVALID_FIELD"),
        (_jpeg(), "image/jpeg", "a" * 301, 422, "INVALID_FIELD"),
        (_jpeg(size=(100, 100)), "image/jpeg", "A tee", 422, "INVALID_FIELD"),
    ],
    ids=["no picture", "json", "svg", "too large", "no words", "blank words", "a null", "long words", "small"],
)
async def test_a_bad_upload_is_refused_in_words(
    owner: Operator, upload: bytes, media_type: str, alt: str, status: int, code: str
) -> None:
    sku_id = await _tee(owner)
    refused = await send(owner, sku_id, upload, alt=alt, media_type=media_type)
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
    assert (await owner.get(f"/skus/{sku_id}/pictures")).json() == {"pictures": []}


async def test_another_merchants_pictures_are_not_there(owner: Operator, sign_in: SignIn) -> None:
    sku_id = await _tee(owner)
    picture = (await send(owner, sku_id, _jpeg())).json()
    stranger = await sign_in(Role.OWNER, merchant="Another")
    auditor = await sign_in(Role.AUDITOR)
    assert (await send(stranger, sku_id, _jpeg((9, 9, 9)))).status_code == 404
    assert (await stranger.get(f"/skus/{sku_id}/pictures")).status_code == 404
    assert (await stranger.get(f"/skus/{sku_id}/pictures/{picture['id']}/content")).status_code == 404
    assert (await stranger.send("DELETE", f"/skus/{sku_id}/pictures/{picture['id']}")).status_code == 404
    assert (await send(auditor, sku_id, _jpeg((9, 9, 9)))).status_code == 403
    assert (await auditor.get(f"/skus/{sku_id}/pictures")).status_code == 200


async def test_what_a_page_shows_is_published_again_when_it_changes(owner: Operator, state: AppState) -> None:
    sku_id = await _tee(owner)
    sale = await _published(owner, state, "changing")

    async def versions() -> dict[str, Any]:
        found: dict[str, Any] = (await owner.get(f"/sales/{sale['id']}/pages")).json()
        return found

    async def catch_up() -> None:
        (due,) = await due_for_publication(state.database)
        assert str(due) == sale["id"]
        assert not (await versions())["up_to_date"]
        await publish(state.database, due, state.settings)
        assert await due_for_publication(state.database) == []
        assert (await versions())["up_to_date"]

    assert await due_for_publication(state.database) == []
    await send(owner, sku_id, _jpeg())
    await catch_up()
    await owner.send("PATCH", f"/skus/{sku_id}", {"name": "Better tee"})
    await catch_up()
    read = await owner.get(f"/sales/{sale['id']}")
    await owner.send("PATCH", f"/sales/{sale['id']}", {"description": "*New*"}, If_Match=read.headers["ETag"])
    await catch_up()
    assert "<em>New</em>" in _page(state, "changing")
    shown = (await versions())["versions"]
    assert [(one["version"], one["current"], one["kept"]) for one in shown] == [
        (4, True, True),
        (3, False, True),
        (2, False, True),
        (1, False, True),
    ]
    # Who changed it is who published it; the first was the clock's.
    assert [one.get("published_by") for one in shown] == [owner.email] * 3 + [None]


async def test_going_back_to_an_earlier_page_and_on_again(owner: Operator, state: AppState) -> None:
    sale = await _published(owner, state, "back")
    read = await owner.get(f"/sales/{sale['id']}")
    await owner.send("PATCH", f"/sales/{sale['id']}", {"title": "Wrong"}, If_Match=read.headers["ETag"])
    await publish(state.database, sale["id"], state.settings)
    assert "Wrong" in _page(state, "back")

    # A change that is still waiting to be published does not undo what the operator asks for now.
    read = await owner.get(f"/sales/{sale['id']}")
    await owner.send("PATCH", f"/sales/{sale['id']}", {"title": "Worse"}, If_Match=read.headers["ETag"])
    path = f"/pages/{sale['id']}/rollback"
    assert await owner.ok(path, {"version": 1, "reason": "a slip"}) == {"published_version": 1}
    assert "Wrong" not in _page(state, "back")
    # The clock leaves it so, until something changes or somebody publishes.
    assert await due_for_publication(state.database) == []
    shown = (await owner.get(f"/sales/{sale['id']}/pages")).json()["versions"]
    assert [(one["version"], one["current"]) for one in shown] == [(2, False), (1, True)]
    assert await publish(state.database, sale["id"], state.settings) == 3
    assert "Worse" in _page(state, "back")

    for body, status in (
        ({"version": 9, "reason": "x"}, 404),
        ({"version": 0, "reason": "x"}, 422),
        ({"version": 1}, 422),
    ):
        assert (await owner.post(path, body)).status_code == status
    activity = (await owner.get(f"/sales/{sale['id']}/activity")).json()["activity"]
    (line,) = [one for one in activity if one["kind"] == "sale.page_rolled_back" and one["outcome"] == "done"]
    assert (line["before"], line["after"]) == ({"published_version": 2}, {"published_version": 1})


async def test_what_has_changed_since_the_page_that_is_shown(owner: Operator, state: AppState, sign_in: SignIn) -> None:
    sku_id = await _tee(owner)
    picture = (await send(owner, sku_id, _jpeg())).json()["id"]
    sale = await _published(owner, state, "told")

    async def changes() -> list[tuple[str, str]]:
        found = (await owner.get(f"/sales/{sale['id']}/pages")).json()["changes"]
        return [(one["kind"], one["actor"]) for one in found]

    assert await changes() == []
    other = str((await owner.ok("/skus", {"sku": "OTHER", "name": "Not in this sale"}))["id"])
    await owner.send("PATCH", f"/skus/{other}", {"name": "Still not"})
    await send(owner, other, _jpeg())
    stranger = await sign_in(Role.OWNER, merchant="Another")
    strange = str((await stranger.ok("/skus", {"sku": "TEE-M", "name": "Theirs"}))["id"])
    await stranger.send("PATCH", f"/skus/{strange}", {"name": "Still theirs"})
    assert await changes() == []

    await owner.send("PATCH", f"/sales/{sale['id']}", {"title": "New"}, If_Match=f'"{sale["version"] + 9}"')
    auditor = await sign_in(Role.AUDITOR)
    forbidden = await auditor.send("PATCH", f"/sales/{sale['id']}", {"title": "New"}, If_Match=f'"{sale["version"]}"')
    assert forbidden.status_code == 403
    assert await changes() == [], "what was refused changed nothing"
    read = await owner.get(f"/sales/{sale['id']}")
    await owner.send("PATCH", f"/sales/{sale['id']}", {"title": "New"}, If_Match=read.headers["ETag"])
    await owner.send("PATCH", f"/skus/{sku_id}", {"name": "Better tee"})
    await owner.send("PATCH", f"/skus/{sku_id}/pictures/{picture}", {"alt": "Better words"})
    await send(owner, sku_id, _jpeg((1, 2, 3)))
    await owner.send("DELETE", f"/skus/{sku_id}/pictures/{picture}")
    kinds = ["sku.picture_removed", "sku.picture", "sku.picture_changed", "sku.edit", "sale.edit"]
    assert await changes() == [(kind, owner.email) for kind in kinds]
    assert await publish(state.database, sale["id"], state.settings) == 2
    assert await changes() == []
    await owner.ok(f"/pages/{sale['id']}/rollback", {"version": 1, "reason": "a slip"})
    assert [kind for kind, _ in await changes()] == kinds, "the earlier page does not show them"


async def test_a_description_is_rendered_as_the_page_will(owner: Operator, sign_in: SignIn) -> None:
    text = "# Warm\n\n**Wool** <b>x</b> ![p](http://evil.test/p.png) [no](javascript:alert(1))"
    auditor = await sign_in(Role.AUDITOR)
    html = (await auditor.ok("/prose", {"text": text}))["html"]
    assert "<h2>Warm</h2>" in html
    assert "<strong>Wool</strong> &lt;b&gt;" in html
    for forbidden in ("<b>", "<img", 'href="javascript'):
        assert forbidden not in html
    assert (await owner.post("/prose", {"text": "x" * 10_001})).json()["code"] == "INVALID_FIELD"
    assert (await owner.post("/prose", {})).status_code == 422
    nobody = Operator(owner.client, "")
    assert (await nobody.post("/prose", {"text": "x"})).status_code == 401


async def test_a_draft_has_nothing_to_go_back_to(owner: Operator) -> None:
    draft = await owner.make_sale("draft")
    refused = await owner.post(f"/pages/{draft['id']}/rollback", {"version": 1, "reason": "x"})
    assert (refused.status_code, refused.json()["code"]) == (409, "WRONG_STATE")


async def test_a_draft_can_be_looked_at(owner: Operator, state: AppState, sign_in: SignIn) -> None:
    draft = await owner.make_sale("look", description="Still *secret*.", language="de")
    first = await owner.ok(f"/sales/{draft['id']}/preview")
    second = await owner.ok(f"/sales/{draft['id']}/preview")
    assert first["path"] != second["path"]
    assert re.fullmatch(r"/preview/[A-Za-z0-9_-]{32}/", first["path"])
    folder = state.settings.pages_dir / first["path"].strip("/")
    assert {path.name for path in folder.iterdir()} == {"index.html", "index.en.html", "index.ar.html", "preview.html"}
    assert "<em>secret</em>" in (folder / "index.html").read_text()
    assert not (state.settings.pages_dir / "sales" / "look").exists()
    stranger = await sign_in(Role.OWNER, merchant="Another")
    assert (await stranger.post(f"/sales/{draft['id']}/preview")).status_code == 404


async def test_options_words_and_language_are_kept(owner: Operator) -> None:
    options = [{"name": "Colour", "value": "Navy"}, {"name": "Size", "value": "M"}]
    made = await owner.ok("/skus", {"sku": "TEE-M", "name": "Tee", "options": options})
    assert made["options"] == options
    sale = await owner.make_sale("words", description="**Hi**", language="ar", delivery_required=True)
    assert (sale["description"], sale["language"], sale["delivery_required"]) == ("**Hi**", "ar", True)
    changed = await owner.send("PATCH", f"/skus/{made['id']}", {"options": []})
    assert changed.json()["options"] == []
    three = {"sku": "X", "name": "x", "options": [*options, {"name": "Cut", "value": "Slim"}]}
    assert (await owner.post("/skus", three)).json()["code"] == "INVALID_FIELD"
    bad = await owner.send("PATCH", f"/sales/{sale['id']}", {"language": "xx"}, If_Match='"1"')
    assert bad.json()["code"] == "INVALID_FIELD"
