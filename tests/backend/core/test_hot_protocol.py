"""The short way through uvicorn's protocol, on real sockets and both event loops: what we rely on of its internals."""

import asyncio
import gc
import weakref
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest

from backend.core.strict_json import MAX_BODY_BYTES
from tests.support.hot_door import BIG_BYTES, serving_door
from tests.support.loops import on_both_loops, turns
from tests.support.raw_http import Answer, Peer, calling, chunked, in_pieces, request

KEEP_ALIVE_S = 60.0


def numbered(number: int, path: str = "/hot/echo", body: bytes = b"") -> bytes:
    return request("POST" if body else "GET", path, body=body, headers=[("X-Number", str(number))])


def numbers(answers: list[Answer]) -> list[object]:
    return [one.json().get("number", one.json().get("answer")) for one in answers]


@on_both_loops
async def test_one_connection_carries_many_requests_and_each_gets_its_own_answer() -> None:
    async with serving_door() as door, calling(door.port) as peer:
        for number in range(50):
            body = b"b" * number
            path = f"/hot/echo/{number}"
            answer = await peer.ask(numbered(number, path, body))
            assert answer.status == 200
            assert answer.json() == {
                "method": "POST" if body else "GET", "path": path, "body": body.decode(), "number": str(number)
            }  # fmt: skip
            assert answer.header(b"connection") is None
        assert door.ways == ["hot"] * 50
        assert len(door.connections) == 1
        assert door.server.server_state.total_requests == 50
        assert not door.tasks


@on_both_loops
async def test_a_request_may_come_byte_by_byte() -> None:
    data = numbered(7, "/hot/echo/bytes", b'{"quantity": 1}')
    async with serving_door() as door, calling(door.port) as peer:
        for sent in range(len(data)):
            await peer.send(data[sent : sent + 1])
            await door.heard(sent + 1)
        answer = await peer.answer()
        assert answer.json()["body"] == '{"quantity": 1}'
        assert (answer.json()["path"], answer.json()["number"]) == ("/hot/echo/bytes", "7")
        assert door.ways == ["hot"]


@pytest.mark.parametrize("seed", range(8))
@on_both_loops
async def test_pipelined_requests_of_all_kinds_cut_anywhere_are_answered_in_order(seed: int) -> None:
    stream = [
        numbered(0),
        numbered(1, body=b"one"),
        numbered(2, "/usual/echo"),
        chunked("POST", "/hot/echo", b"th", b"ree", headers=[("X-Number", "3")]),
        numbered(4, "/hot/echo?why=not"),
        numbered(5, body=b"five" * 100),
        numbered(6),
    ]
    async with serving_door() as door, calling(door.port) as peer:
        heard = 0
        for piece in in_pieces(b"".join(stream), seed):
            await peer.send(piece)
            heard += len(piece)
        answers = [await peer.answer() for _ in stream]
        assert numbers(answers) == [str(number) for number in range(7)]
        assert answers[3].json()["body"] == "three"
        assert len(door.ways) == 7
        assert await peer.ask(numbered(8)), "and the connection goes on"
        assert door.ways[-1] == "hot"


@pytest.mark.parametrize("path", ["/hot", "/usual"])
@pytest.mark.parametrize("behind", [["/hot/echo"], ["/hot/echo", "/usual/echo"], ["/usual/echo", "/hot/echo"]])
@on_both_loops
async def test_whoever_is_pipelined_behind_a_slow_request_waits_for_it(path: str, behind: list[str]) -> None:
    async with serving_door() as door, calling(door.port) as peer:
        await peer.send(numbered(0, f"{path}/held") + b"".join(numbered(1 + at, one) for at, one in enumerate(behind)))
        held = await door.held.get()
        assert door.ways == [path[1:]], "nothing behind it has begun"
        held.answer("first")
        answers = [await peer.answer() for _ in range(1 + len(behind))]
        assert numbers(answers) == ["first", *(str(1 + at) for at in range(len(behind)))]
        assert len(door.ways) == 1 + len(behind)
        await peer.ask(numbered(9))
        assert door.ways[-1] == "hot", "the connection is back on the short way"


@on_both_loops
async def test_a_slow_request_in_the_middle_holds_only_what_is_behind_it() -> None:
    async with serving_door() as door, calling(door.port) as peer:
        await peer.send(numbered(0) + numbered(1, "/hot/held") + numbered(2) + numbered(3, "/hot/held") + numbered(4))
        assert numbers([await peer.answer()]) == ["0"]
        (await door.held.get()).answer("one")
        (await door.held.get()).answer("three")
        assert numbers([await peer.answer() for _ in range(4)]) == ["one", "2", "three", "4"]


@on_both_loops
async def test_slow_requests_of_many_connections_are_answered_in_any_order() -> None:
    async with serving_door() as door, AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(calling(door.port)) for _ in range(20)]
        for number, peer in enumerate(peers):
            await peer.send(numbered(number, f"/hot/held/{number}"))
        held = [await door.held.get() for _ in peers]
        for one in reversed(held):
            one.answer(one.request.path)
        assert numbers([await peer.answer() for peer in peers]) == [f"/hot/held/{at}" for at in range(20)]


@pytest.mark.parametrize(
    ("data", "method", "expected"),
    [
        (chunked("POST", "/hot/echo", b"in ", b"parts"), "POST", {"body": "in parts"}),
        (request("PUT", body=b"put"), "PUT", {"method": "PUT", "body": "put"}),
        (request(path="/hot/echo/a%20b"), "GET", {"path": "/hot/echo/a b"}),
        (request(path="/hot/echo?a=b"), "GET", {"path": "/hot/echo"}),
        (request(path="/usual/echo"), "GET", {"path": "/usual/echo"}),
        (request(headers=[("Connection", "Upgrade"), ("Upgrade", "h2c")]), "GET", {"path": "/hot/echo"}),
    ],
    ids=["chunked", "put", "percent", "query", "cold", "upgrade"],
)
@on_both_loops
async def test_what_is_unusual_goes_the_usual_way_and_is_answered(
    data: bytes, method: str, expected: dict[str, str]
) -> None:
    async with serving_door() as door, calling(door.port) as peer:
        answer = await peer.ask(data, method)
        assert answer.status == 200
        assert expected.items() <= answer.json().items()
        assert door.ways == ["usual"]


@on_both_loops
async def test_head_has_headers_and_no_body() -> None:
    async with serving_door() as door, calling(door.port) as peer:
        answer = await peer.ask(request("HEAD"), "HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.header(b"content-length") or 0) > 0
        assert numbers([await peer.ask(numbered(1))]) == ["1"], "no body that would be taken for the next answer"
        assert door.ways == ["usual", "hot"]


@on_both_loops
async def test_a_client_that_expects_100_gets_it_before_it_sends_the_body() -> None:
    head = request("POST", headers=[("Expect", "100-continue"), ("Content-Length", "4")])
    async with serving_door() as door, calling(door.port) as peer:
        assert (await peer.ask(head, "POST")).status == 100
        answer = await peer.ask(b"body", "POST")
        assert (answer.status, answer.json()["body"]) == (200, "body")
        assert door.ways == ["usual"]


@pytest.mark.parametrize(
    "data",
    [
        request(version="1.0"),
        request(version="1.0", headers=[("Connection", "keep-alive")]),
        request(headers=[("Connection", "close")]),
        request("POST", body=b"body", headers=[("Connection", "close")]),
    ],
)
@on_both_loops
async def test_a_client_that_wants_one_answer_gets_it_and_the_end(data: bytes) -> None:
    async with serving_door() as door, calling(door.port) as peer:
        answer = await peer.ask(data)
        assert answer.status == 200
        assert answer.header(b"connection") == b"close"
        assert await peer.rest() == b""
        assert door.ways == ["usual"]


@on_both_loops
async def test_a_body_at_the_limit_is_hot_and_one_above_it_refused_without_losing_the_connection() -> None:
    async with serving_door() as door, calling(door.port) as peer:
        answer = await peer.ask(request("POST", body=b"x" * MAX_BODY_BYTES), "POST")
        assert len(str(answer.json()["body"])) == MAX_BODY_BYTES
        assert door.ways == ["hot"]
        for too_large in (
            request("POST", body=b"x" * (MAX_BODY_BYTES + 1)),
            chunked("POST", "/hot/echo", *[b"x" * 10_000] * 7),
        ):
            answer = await peer.ask(too_large, "POST")
            assert (answer.status, answer.json()["code"]) == (413, "TOO_LARGE")
            assert (await peer.ask(request())).status == 200
        assert door.ways == ["hot", "usual", "hot", "usual", "hot"]


SMUGGLED = [
    request("POST", headers=[("Content-Length", "4"), ("Content-Length", "4")]) + b"body",
    request("POST", headers=[("Content-Length", "4"), ("Content-Length", "0")]) + b"body",
    request("POST", headers=[("Content-Length", "4"), ("Transfer-Encoding", "chunked")]) + b"0\r\n\r\n",
    request("POST", headers=[("Transfer-Encoding", "chunked"), ("Content-Length", "4")]) + b"0\r\n\r\n",
    request("POST", headers=[("Transfer-Encoding", "chunked, identity")]) + b"0\r\n\r\n",
    request("POST", headers=[("Content-Length", "+4")]) + b"body",
    request("POST", headers=[("Content-Length", "-1")]),
    request("POST", headers=[("Content-Length", "4 4")]) + b"body",
    request("POST", headers=[("Content-Length", "0x4")]) + b"body",
    request("POST", headers=[("Content-Length", "9" * 40)]),
    request("POST", headers=[("Content-Length ", "4")]) + b"body",
]
MALFORMED = [
    b"not http at all\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET /hot/echo HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET /hot/echo HTTP/1.1\r\nX: a\x00b\r\n\r\n",
    b"GET /hot/echo HTTP/1.1\nX: \rb\n\n",
    b"GET /hot/echo HTTP/7.7\r\n\r\n",
    b"GET  HTTP/1.1\r\n\r\n",
]


@on_both_loops
async def test_bytes_that_could_be_read_in_two_ways_or_in_none_are_refused_exactly_as_uvicorn_does() -> None:
    async with serving_door() as door, serving_door(hot=False) as plain:
        for data in (*SMUGGLED, *MALFORMED):
            said = []
            for port in (door.port, plain.port):
                async with calling(port) as peer:
                    await peer.send(data)
                    said.append(await peer.rest())
            assert said[0] == said[1], data
            assert said[0].startswith(b"HTTP/1.1 400 "), data
            assert b"connection: close" in said[0], data
        assert (door.ways, plain.ways) == ([], [])
        assert not door.connections


@on_both_loops
async def test_after_good_requests_a_bad_one_ends_the_connection() -> None:
    async with serving_door() as door, calling(door.port) as peer:
        await peer.send(numbered(0) + numbered(1) + b"\x00\x00\r\n\r\n")
        assert numbers([await peer.answer(), await peer.answer()]) == ["0", "1"]
        assert (await peer.rest()).startswith(b"HTTP/1.1 400 ")
        assert door.ways == ["hot", "hot"]


@pytest.mark.parametrize("behind", [0, 2])
@pytest.mark.parametrize("farewell", ["leave", "hang_up"])
@on_both_loops
async def test_a_client_that_leaves_before_its_answer_leaves_nothing_behind(farewell: str, behind: int) -> None:
    async with serving_door() as door, calling(door.port) as peer:
        await peer.ask(request())
        await peer.send(numbered(0, "/hot/held"))
        held = await door.held.get()
        if behind:
            await peer.send(numbered(1) * behind)
            await door.heard(len(request() + numbered(0, "/hot/held") + numbered(1) * behind))
            # A paused transport does not see its client go: uvicorn reads on when the answer has been written.
        getattr(peer, farewell)()
        if not behind:
            await door.lost(1)
        protocol = weakref.ref(next(iter(door.connections))) if door.connections else None
        held.answer()
        await door.lost(1)
        held.answer("again")
        assert not door.connections
        assert not door.timers.waiting
        await turns()
        assert not door.tasks
        del held
        await turns()
        gc.collect()
        assert protocol is None or protocol() is None


@on_both_loops
async def test_the_protocol_of_a_client_that_left_is_freed_with_its_answer() -> None:
    async with serving_door() as door, calling(door.port) as peer:
        await peer.send(numbered(0, "/hot/held"))
        held = await door.held.get()
        protocol = weakref.ref(next(iter(door.connections)))
        peer.leave()
        await door.lost(1)
        held.answer()
        del held
        await turns()
        gc.collect()
        assert protocol() is None


@on_both_loops
async def test_half_a_request_is_never_carried_out() -> None:
    halves = [
        request("POST", headers=[("Content-Length", "15")]) + b'{"quantity":',
        request("POST", headers=[("Transfer-Encoding", "chunked")]),
        request("POST", headers=[("Transfer-Encoding", "chunked")]) + b"5\r\n{\"qua",
        request("POST", headers=[("Expect", "100-continue"), ("Content-Length", "15")]),
    ]  # fmt: skip
    for number, half in enumerate(halves):
        async with serving_door() as door, calling(door.port) as peer:
            await peer.send(half)
            await door.heard(len(half))
            peer.leave()
            await door.lost(1)
            while door.tasks:
                await asyncio.wait(door.tasks)
            assert door.asked == 0, number


@on_both_loops
async def test_an_idle_connection_is_closed_after_the_time_out() -> None:
    async with serving_door() as door, calling(door.port) as peer:
        await peer.ask(request())
        door.timers.advance(KEEP_ALIVE_S - 1)
        await peer.ask(request())
        door.timers.advance(KEEP_ALIVE_S - 1)
        assert (await peer.ask(request())).status == 200, "the time runs from the last answer"
        assert door.timers.waiting == 1
        door.timers.advance(KEEP_ALIVE_S + 1)
        assert await peer.rest() == b""
        await door.lost(1)
        assert door.timers.waiting == 0
        assert door.ways == ["hot"] * 3


@on_both_loops
async def test_on_the_real_clock_too() -> None:
    async with serving_door(timeout_keep_alive=0.05) as door:
        door.timers = asyncio.get_running_loop()  # type: ignore[assignment]
        async with calling(door.port) as peer:
            await peer.ask(request())
            assert await peer.rest() == b""


@pytest.mark.parametrize("path", ["/hot/held", "/usual/held"])
@on_both_loops
async def test_a_busy_connection_is_not_closed_and_its_time_runs_from_the_answer(path: str) -> None:
    async with serving_door() as door, calling(door.port) as peer:
        await peer.ask(request())
        await peer.send(request(path=path))
        held = await door.held.get()
        door.timers.advance(KEEP_ALIVE_S * 10.5)
        held.answer("late")
        assert numbers([await peer.answer()]) == ["late"]
        door.timers.advance(KEEP_ALIVE_S - 1)
        assert (await peer.ask(request())).status == 200
        door.timers.advance(KEEP_ALIVE_S + 1)
        assert await peer.rest() == b""


@pytest.mark.parametrize("cut", [5, -2])
@on_both_loops
async def test_a_request_that_is_coming_in_is_not_cut_off(cut: int) -> None:
    data = numbered(1)
    async with serving_door() as door, calling(door.port) as peer:
        await peer.ask(request())
        door.timers.advance(KEEP_ALIVE_S - 1)
        await peer.send(data[:cut])
        await door.heard(len(request() + data[:cut]))
        door.timers.advance(KEEP_ALIVE_S - 1)
        await peer.send(data[cut:])
        assert numbers([await peer.answer()]) == ["1"]
        door.timers.advance(KEEP_ALIVE_S + 1)
        assert await peer.rest() == b""


@on_both_loops
async def test_a_body_that_is_coming_in_is_not_cut_off() -> None:
    data = numbered(1, body=b"body")
    async with serving_door() as door, calling(door.port) as peer:
        await peer.ask(request())
        await peer.send(data[:-2])
        await door.heard(len(request() + data[:-2]))
        door.timers.advance(KEEP_ALIVE_S * 5)
        await peer.send(data[-2:])
        assert (await peer.answer()).json()["body"] == "body"
        assert door.ways == ["hot", "hot"]


@pytest.mark.parametrize("path", ["/hot/held", "/usual/held"])
@on_both_loops
async def test_a_graceful_stop_closes_idle_connections_and_lets_the_others_finish(path: str) -> None:
    async with serving_door() as door, calling(door.port) as idle, calling(door.port) as busy:
        await idle.ask(request())
        await busy.send(request(path=path))
        held = await door.held.get()
        door.server.gracefully = True
        door.server.leave.set()
        assert await idle.rest() == b""
        assert len(door.connections) == 1
        held.answer("finished")
        answer = await busy.answer()
        assert (answer.status, answer.json()) == (200, {"answer": "finished"})
        assert answer.header(b"connection") == b"close"
        assert await busy.rest() == b""


@on_both_loops
async def test_above_the_limit_of_connections_there_is_a_503() -> None:
    async with serving_door(limit_concurrency=2) as door, calling(door.port) as first:
        assert (await first.ask(request())).status == 200
        async with calling(door.port) as second:
            answer = await second.ask(request())
            assert (answer.status, answer.header(b"connection")) == (503, b"close")
            assert await second.rest() == b""
        await door.lost(1)
        assert (await first.ask(request())).status == 200
        assert door.ways == ["hot", "hot"]


@on_both_loops
async def test_an_endpoint_that_replies_twice_sends_one_answer() -> None:
    async with serving_door() as door, calling(door.port) as peer:
        assert numbers([await peer.ask(numbered(0, "/hot/twice"))]) == ["0"]
        await peer.send(numbered(1, "/hot/held"))
        held = await door.held.get()
        held.answer("once")
        assert numbers([await peer.answer()]) == ["once"]
        await peer.send(numbered(2, "/hot/held"))
        other = await door.held.get()
        held.answer("a late second one, while another request is under way")
        other.answer("its own")
        assert numbers([await peer.answer()]) == ["its own"]
        assert door.server.server_state.total_requests == 3


@on_both_loops
async def test_a_client_that_does_not_read_is_waited_for() -> None:
    """Forty answers of 1 MiB fit into no socket's buffer: from some request on, uvicorn holds them back."""
    count = 40
    async with serving_door() as door, calling(door.port) as peer:
        await peer.send(request(path="/hot/big") * count)
        await door.heard(len(request(path="/hot/big")) * count)
        buffered = [one.transport.get_write_buffer_size() for one in door.connections]
        assert sum(buffered) < 5 * BIG_BYTES
        for _ in range(count):
            assert (await peer.answer()).body == b"x" * BIG_BYTES
        assert (door.ways[0], door.ways[-1], len(door.ways)) == ("hot", "usual", count)
        assert sum(one != other for one, other in pairwise(door.ways)) == 1
        assert (await peer.ask(request())).status == 200


@on_both_loops
async def test_other_peers_are_not_held_up() -> None:
    async with serving_door() as door, calling(door.port) as waiting, calling(door.port) as quick:
        await waiting.send(request(path="/hot/held"))
        held = await door.held.get()
        assert [await _number(quick, number) for number in range(20)] == [str(number) for number in range(20)]
        held.answer("at last")
        assert numbers([await waiting.answer()]) == ["at last"]


async def _number(peer: Peer, number: int) -> object:
    return (await peer.ask(numbered(number))).json()["number"]
