"""HTTP/1.1 as far as a load generator needs it: requests made once, answers read by their length."""

from collections.abc import Mapping

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "
_CLOSE = b"\r\nconnection: close"
# What tells one answer from another: the outcome of a buy, a problem's code, a ticket's state.
_MARKS = (b'"outcome":"', b'"code":"', b'"status":"')
_MARKED_BYTES = 400
"""The marks stand in front; a page's whole body is not searched for them."""
_NO_BODY = (204, 304)


class Unreadable(Exception):
    """The other side sends something that is not HTTP as we know it."""


def request_bytes(
    method: str, path: str, authority: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    """One request, ready to be written."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {authority}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append("content-type: application/json")
    if body or method == "POST":
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + _HEAD_END + body


def read_answer(data: bytes) -> tuple[int, bytes, bool] | None:
    """Status, body, and whether the connection stays open; None while some of it is still to come.

    Raises ``Unreadable`` for an answer without a length: none of ours is chunked.
    """
    head_end = data.find(_HEAD_END)
    if head_end < 0:
        return None
    head = data[:head_end].lower()
    try:
        status = int(head[9:12])
        at = head.find(_LENGTH)
        if at < 0:
            if status in _NO_BODY:
                return status, b"", _CLOSE not in head
            raise Unreadable(f"an answer {status} without content-length")
        at += len(_LENGTH)
        line_end = head.find(b"\r\n", at)
        length = int(head[at:] if line_end < 0 else head[at:line_end])
    except ValueError:
        raise Unreadable(head[:80].decode("latin-1")) from None
    start = head_end + len(_HEAD_END)
    if len(data) - start < length:
        return None
    return status, data[start : start + length], _CLOSE not in head


def outcome_of(body: bytes) -> str:
    """The word that an answer's body is known by, such as ``RESERVED``; empty when it has none."""
    for mark in _MARKS:
        at = body.find(mark, 0, _MARKED_BYTES)
        if at >= 0:
            at += len(mark)
            return body[at : body.find(b'"', at)].decode("latin-1")
    return ""
