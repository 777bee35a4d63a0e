"""What the load generator sends and reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.load.messages import Unreadable, outcome_of, read_answer, request_bytes

ANSWER = (
    b"HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\nContent-Length: 20\r\n\r\n"
    b'{"code":"SOLD_OUT"}\n'
)


def test_a_request_carries_its_length_and_ends_its_head_once():
    request = request_bytes("POST", "/buy", "shop:80", headers={"accept": "*/*"}, body=b'{"quantity":1}')
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /buy HTTP/1.1",
        b"host: shop:80",
        b"accept: */*",
        b"content-type: application/json",
        b"content-length: 14",
    ]
    assert body == b'{"quantity":1}'


def test_a_post_without_a_body_says_so():
    assert request_bytes("POST", "/link", "shop").endswith(b"content-length: 0\r\n\r\n")
    assert b"content-length" not in request_bytes("GET", "/page", "shop")


@given(cut=st.integers(min_value=0, max_value=len(ANSWER) - 1))
def test_an_answer_is_read_when_its_last_byte_has_come_and_not_before(cut):
    assert read_answer(ANSWER[:cut]) is None
    assert read_answer(ANSWER) == (409, b'{"code":"SOLD_OUT"}\n', True)


def test_a_closing_answer_is_told_from_one_that_stays():
    answer = read_answer(ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert answer == (409, b'{"code":"SOLD_OUT"}\n', False)


def test_an_answer_without_a_length_is_refused_unless_it_cannot_have_a_body():
    assert read_answer(b"HTTP/1.1 204 No Content\r\n\r\n") == (204, b"", True)
    with pytest.raises(Unreadable):
        read_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    with pytest.raises(Unreadable):
        read_answer(b"SSH-2.0-OpenSSH\r\n\r\n")


def test_outcomes_come_from_buys_problems_and_tickets():
    assert outcome_of(b'{"outcome":"RESERVED","ticket":"x"}') == "RESERVED"
    assert outcome_of(b'{"type":"about:blank","status":409,"code":"SOLD_OUT"}') == "SOLD_OUT"
    assert outcome_of(b'{"status":"queued","position":3}') == "queued"
    assert outcome_of(b"<!doctype html>") == ""
