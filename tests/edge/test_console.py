"""The console's way through the edge: its websocket, and who may open it."""

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from stack.servers import EdgeServer
from tests.edge.client import request

STREAM = "/console/_stcore/stream"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_websocket_from_our_own_page(edge: EdgeServer, name: str) -> None:
    url = f"ws://{name}:{edge.port}{STREAM}"
    async with connect(url, origin=f"http://{name}:{edge.port}", proxy=None) as socket:  # type: ignore[arg-type]
        await socket.send("hello")
        assert await socket.recv() == "hello"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1"])
async def test_websocket_from_another_site_is_refused(edge: EdgeServer, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"ws://127.0.0.1:{edge.port}{STREAM}", origin=origin, proxy=None):  # type: ignore[arg-type]
            pass
    assert refused.value.response.status_code == 403


async def test_console_may_not_be_posted_to_by_another_site(edge: EdgeServer) -> None:
    answer = await request(edge, "/console/sign-in", method="POST", headers={"Origin": "http://evil.example"})
    assert answer.problem() == (403, "FORBIDDEN")
    own = await request(edge, "/console/sign-in", method="POST", headers={"Origin": f"http://127.0.0.1:{edge.port}"})
    assert own.status == 200
    assert own.echoed("host") == [f"127.0.0.1:{edge.port}"]


async def test_console_is_no_other_sites_frame(edge: EdgeServer) -> None:
    headers = (await request(edge, "/console/")).headers
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["x-content-type-options"] == "nosniff"


async def test_console_in_the_path_is_not_enough(edge: EdgeServer) -> None:
    assert (await request(edge, "/consoles")).status == 404
