"""The peer's part about pages: pictures of products, a description rendered, a page's versions and previews."""

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.console.peer import Peer

WEBP = b"RIFF\x1a\x00\x00\x00WEBPVP8L"
PICTURES_MAX = 8


def answer(peer: "Peer", method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any] | None:
    """The answer to a request about pages; None for any other."""
    pieces = path.strip("/").split("/")
    if path == "/operator/prose":
        return 200, {"html": f"<p>{escape(body['text'])}</p>"}
    if pieces[1] == "skus" and len(pieces) > 3:
        return _pictures(peer, method, pieces, query, body)
    if pieces[1] == "pages":
        before = peer.page_versions[pieces[2]]
        for one in before:
            one["current"] = one["version"] == body["version"]
        return 200, {"published_version": body["version"]}
    if pieces[1] == "sales" and len(pieces) == 4 and pieces[3] == "pages":
        changes = peer.page_changes
        return 200, {"versions": peer.page_versions.get(pieces[2], []), "up_to_date": True, "changes": changes}
    if pieces[1] == "sales" and len(pieces) == 4 and pieces[3] == "preview":
        peer.previews += 1
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return 201, {"path": f"/preview/{peer.previews:032}/", "expires_at": at}
    return None


def _pictures(peer: "Peer", method: str, pieces: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
    found = peer.pictures.setdefault(pieces[2], [])
    if len(pieces) == 4 and method == "POST":
        number = sum(len(each) for each in peer.pictures.values()) + 1
        found.append({"id": f"p-{number}", "alt": query["alt"], "width": 600, "height": 600, "files": []})
        return 201, found[-1]
    if len(pieces) > 5:
        return 200 if pieces[4] != "none" else 404, {"p-1": WEBP}.get(pieces[4], {"code": "NOT_FOUND"})
    if len(pieces) > 4 and method != "GET":
        one = next(picture for picture in found if picture["id"] == pieces[4])
        if method == "DELETE":
            found.remove(one)
            return 204, None
        one["alt"] = body.get("alt", one["alt"])
        if "position" in body:
            found.insert(body["position"], found.pop(found.index(one)))
    return 200, {"pictures": found}


def version(number: int, *, current: bool = False, kept: bool = True, **changes: Any) -> dict[str, Any]:
    """A line of a page's versions."""
    return {"version": number, "published_at": "2026-12-01T10:00:00Z", "current": current, "kept": kept} | changes
