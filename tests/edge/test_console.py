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


async def test_a_picture_of_ten_megabytes_reaches_the_console_and_no_larger_one(edge: EdgeServer) -> None:
    upload, own = "/console/_stcore/upload_file/a-1/b-2", {"Origin": f"http://127.0.0.1:{edge.port}"}
    body = b"x" * (10 * 1024 * 1024 + 1_000)
    taken = await request(edge, upload, method="PUT", headers=own, body=body)
    assert taken.json["body_bytes"] == len(body)
    larger = await request(edge, upload, method="PUT", headers=own | {"Content-Length": str(12 * 1024 * 1024)})
    assert larger.problem() == (413, "TOO_LARGE")
    elsewhere = await request(edge, "/console/sign-in", method="POST", headers=own | {"Content-Length": "2000000"})
    assert elsewhere.problem() == (413, "TOO_LARGE")
    foreign = await request(edge, upload, method="PUT", headers={"Origin": "http://evil.example"}, body=b"x")
    assert foreign.problem() == (403, "FORBIDDEN")


async def test_console_is_no_other_sites_frame(edge: EdgeServer) -> None:
    headers = (await request(edge, "/console/")).headers
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["x-content-type-options"] == "nosniff"


async def test_console_in_the_path_is_not_enough(edge: EdgeServer) -> None:
    assert (await request(edge, "/consoles")).status == 404
