"""uvicorn's HTTP protocol with a short way for hot requests.

uvicorn makes a scope, a cycle, an event, a task and two messages for each request, and looks through every header of
the answer with two regular expressions. None of that is done here, with the same
parser (llhttp) and the same loop. Everything out of the ordinary goes the usual way, through ASGI.
"""

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from backend.core.hot import HotEndpoint, HotRequest, Reply
from backend.core.strict_json import MAX_BODY_BYTES

_METHODS = {b"GET": "GET", b"POST": "POST"}


class _NobodyWaits:
    """Where uvicorn looks for the event that wakes an ASGI application: here there is none."""

    def set(self) -> None:
        """Nothing to wake."""


class _HotCycle:
    """One hot request under way, with what uvicorn's protocol wants to know of it."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "protocol", "response_complete")

    def __init__(self, protocol: "HotProtocol") -> None:
        self.protocol = protocol
        self.disconnected = False
        self.keep_alive = True  # uvicorn clears it at a shutdown
        self.response_complete = False
        self.message_event = _NOBODY_WAITS

    def reply(self, reply: Reply) -> None:
        """Write the answer, unless the client has gone."""
        if self.response_complete or self.disconnected:
            return
        self.response_complete = True
        transport = self.protocol.transport
        if transport.is_closing():
            return
        transport.write(reply.wire(close=not self.keep_alive))
        if not self.keep_alive:
            transport.close()
        self.protocol.on_response_complete()


_NOBODY_WAITS = _NobodyWaits()


class HotProtocol(HttpToolsProtocol):
    """Asks ``find`` for the hot endpoint of a method and path before it goes the usual way."""

    find: Callable[[str, str], HotEndpoint | None]
    _hot: HotEndpoint | None = None

    def on_message_begin(self) -> None:
        # uvicorn makes the request's scope here; it is made below, for requests that need one.
        self.url = b""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        endpoint = self._find()
        self._hot = endpoint
        if endpoint is None:
            self._the_usual_way()
        else:
            self._hot_body = b""
            self.cycle = _HotCycle(self)  # type: ignore[assignment]  # what uvicorn asks it for, it has

    def on_body(self, body: bytes) -> None:
        if self._hot is None:
            super().on_body(body)
        else:
            self._hot_body += body

    def on_message_complete(self) -> None:
        if self._hot is None:
            super().on_message_complete()
            return
        cycle: Any = self.cycle
        self._hot(HotRequest(self._method, self._path, self._fields, self.headers, self._hot_body), cycle.reply)

    def _find(self) -> HotEndpoint | None:
        """The endpoint, if this request is as simple as nearly all are."""
        method = _METHODS.get(self.parser.get_method())
        if method is None or b"%" in self.url or b"?" in self.url or b"#" in self.url:
            return None
        path = self.url.decode("latin-1")
        endpoint = self.find(method, path)
        if endpoint is None:
            return None
        fields = dict(self.headers)
        if (
            b"transfer-encoding" in fields
            or int(fields.get(b"content-length", b"0")) > MAX_BODY_BYTES
            or b"expect" in fields
            or self.parser.get_http_version() != "1.1"
            or not self.parser.should_keep_alive()
            or self.parser.should_upgrade()
            or self._busy()
            # The client does not read: uvicorn waits for it.
            or self.flow.write_paused
            or (self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency)
        ):
            return None
        self._method, self._path, self._fields = method, path, fields
        return endpoint

    def _busy(self) -> bool:
        """Whether this one is pipelined behind a request under way: uvicorn keeps the order of the answers."""
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _the_usual_way(self) -> None:
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()

    # One timer a connection, looked at when it fires: uvicorn makes and cancels one for each request.

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._quiet_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self.transport.is_closing():
            return
        left_s = self._quiet_since + self.timeout_keep_alive - self.loop.time()
        if self._busy():
            self._look_again_in(self.timeout_keep_alive)
        elif left_s > 0:
            self._look_again_in(left_s)
        else:
            self.transport.close()

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        # uvicorn calls this for whatever arrives: a head that comes in pieces is not cut off between them.
        self._quiet_since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None


def hot_protocol(find: Callable[[str, str], HotEndpoint | None]) -> type[HotProtocol]:
    """The protocol class for ``uvicorn.Config(http=…)``, with its own endpoints."""
    return type("HotProtocol", (HotProtocol,), {"find": staticmethod(find)})
