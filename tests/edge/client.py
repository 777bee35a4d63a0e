"""Requests byte for byte, for what no HTTP client would send; and pages as the publisher leaves them."""

import asyncio
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.servers import EdgeServer

_ANSWER_TIMEOUT_S = 15


@dataclass
class Answer:
    """What came back for one request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self) -> tuple[int, str]:
        """Status and code, after a look at the form of the problem."""
        assert self.headers["content-type"].split(";")[0] == "application/problem+json"
        value = self.json
        assert value["type"] == "about:blank"
        assert value["title"]
        assert value["status"] == self.status
        return self.status, value["code"]

    def echoed(self, name: str) -> list[str]:
        """All values of a header that the upstream received."""
        return [value for key, value in self.json["headers"] if key == name]


async def exchange(port: int, request: bytes) -> Answer:
    """Send bytes, read one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await asyncio.wait_for(_read(reader), _ANSWER_TIMEOUT_S)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").strip().split("\r\n")
    headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines[1:])}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(lines[0].split()[1]), headers, body)


async def request(
    edge: EdgeServer,
    target: str,
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
) -> Answer:
    """One request whose target reaches the edge exactly as written."""
    lines = {"Host": f"127.0.0.1:{edge.port}", "Connection": "close", **(headers or {})}
    if body or method in ("POST", "PUT", "PATCH"):
        lines.setdefault("Content-Length", str(len(body)))
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in lines.items())
    return await exchange(edge.port, head.encode("latin-1") + b"\r\n" + body)


def publish(pages: Path, slug: str, version: int, html: str) -> None:
    """Publish a page as docs/architecture.md says: a new folder, then one rename."""
    folder = pages / "sales" / slug / "versions" / str(version)
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(html)
    (folder / "index.html.gz").write_bytes(gzip.compress(html.encode()))
    link = folder.parents[1] / "next"
    link.symlink_to(f"versions/{version}")
    link.replace(folder.parents[1] / "current")
