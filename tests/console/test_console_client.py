"""The API client over real HTTP."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from console.client import ApiClient
from console.errors import ApiError, SessionEnded, Unreachable, explain
from tests.console.conftest import free_port
from tests.console.peer import Peer, make_sale

TOKEN = "token-owner"
PROBLEM = {"type": "about:blank", "title": "Degraded", "status": 503, "code": "DEGRADED"}


@pytest.fixture
def client(peer: Peer) -> Iterator[ApiClient]:
    with closing(ApiClient(peer.origin)) as opened:
        yield opened


def test_a_read_is_tried_again_after_a_passing_fault(peer: Peer, client: ApiClient) -> None:
    peer.fail[("GET", "/me")] = (503, PROBLEM)
    assert client.get("/operator/me", TOKEN).data["role"] == "owner"
    assert len(peer.sent("GET", "/me")) == 2


def test_a_read_is_not_tried_again_after_a_verdict(peer: Peer, client: ApiClient) -> None:
    with pytest.raises(ApiError) as caught:
        client.get("/operator/sales/none", TOKEN)
    assert (caught.value.status, caught.value.code) == (404, "NOT_FOUND")
    assert len(peer.sent("GET", "/none")) == 1


def test_reads_end_after_three_tries() -> None:
    with closing(ApiClient(f"http://127.0.0.1:{free_port()}")) as client, pytest.raises(Unreachable):
        client.get("/operator/me", TOKEN)


def test_a_change_is_sent_once_and_carries_its_key(peer: Peer, client: ApiClient) -> None:
    peer.add(make_sale("1", "live"))
    peer.drop.add(("POST", "/pause"))
    with pytest.raises(Unreachable):
        client.send("POST", "/operator/sales/1/pause", TOKEN, idempotency_key="k1", body={})
    assert len(peer.sent("POST", "/pause")) == 1
    # Asked for again with the same key: the first answer, and no second action.
    client.send("POST", "/operator/sales/1/pause", TOKEN, idempotency_key="k1", body={})
    assert peer.acted == ["POST /operator/sales/1/pause"]
    assert [s.headers["Idempotency-Key"] for s in peer.sent("POST", "/pause")] == ["k1", "k1"]


def test_a_change_answered_by_a_fault_is_not_sent_again(peer: Peer, client: ApiClient) -> None:
    peer.add(make_sale("1", "live"))
    peer.fail[("POST", "/pause")] = (503, PROBLEM)
    with pytest.raises(ApiError) as caught:
        client.send("POST", "/operator/sales/1/pause", TOKEN, idempotency_key="k1", body={})
    assert not caught.value.settled
    assert len(peer.sent("POST", "/pause")) == 1


def test_if_match_and_etag(peer: Peer, client: ApiClient) -> None:
    peer.add(make_sale("1"))
    etag = client.get("/operator/sales/1", TOKEN).etag
    assert etag == '"3"'
    client.send("PATCH", "/operator/sales/1", TOKEN, idempotency_key="a", body={"title": "A"}, if_match=etag)
    with pytest.raises(ApiError) as caught:
        client.send("PATCH", "/operator/sales/1", TOKEN, idempotency_key="b", body={"title": "B"}, if_match=etag)
    assert caught.value.code == "STALE"
    assert "Load the current version" in explain(caught.value).advice


def test_no_token_is_the_end_of_the_session(client: ApiClient) -> None:
    with pytest.raises(SessionEnded):
        client.get("/operator/me", "nonsense")


def test_field_errors_and_further_members_are_kept(peer: Peer, client: ApiClient) -> None:
    peer.add(make_sale("1"))
    peer.fail[("POST", "/schedule")] = (
        409,
        {
            "title": "x", "status": 409, "code": "PREFLIGHT_FAILED", "checks": [{"name": "page", "ok": False}],
            "errors": [{"field": "opens_at", "message": "is past"}],
        },
    )  # fmt: skip
    with pytest.raises(ApiError) as caught:
        client.send("POST", "/operator/sales/1/schedule", TOKEN, idempotency_key="k", body={})
    assert caught.value.extra["checks"] == [{"name": "page", "ok": False}]
    assert (caught.value.fields[0].field, caught.value.fields[0].message) == ("opens_at", "is past")


def test_an_answer_that_is_no_problem_document_still_has_a_code(peer: Peer, client: ApiClient) -> None:
    peer.fail[("GET", "/me")] = (403, {})
    with pytest.raises(ApiError) as caught:
        client.get("/operator/me", TOKEN)
    assert caught.value.code == "HTTP_403"


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        held: list[socket.socket] = []
        threading.Thread(target=lambda: held.append(silent.accept()[0]), daemon=True).start()
        started = time.monotonic()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with closing(ApiClient(address)) as client, pytest.raises(Unreachable):
            client.get("/operator/me", TOKEN, timeout=httpx.Timeout(0.3), attempts=1)
        assert time.monotonic() - started < 2
        for connection in held:
            connection.close()
