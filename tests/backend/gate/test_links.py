"""Links and tickets: genuine ones read back, everything else does not, whichever bit is off."""

from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.core.encoding import from_base64url, to_base64url
from backend.gate import (
    EntryId,
    LaneId,
    Ticket,
    Tickets,
    is_genuine,
    issue_link,
    parse_link,
    reservation_id,
)
from backend.gate.links import LINK_CHARS
from tests.support.lane import SECRET

ITEM, SHOPPER = uuid4(), uuid4()
SECRETS = {4: SECRET, 5: SECRET[::-1]}
EXPIRES = 1_795_361_416_047
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _link(epoch: int = 4) -> str:
    return issue_link(SECRETS[epoch], item_id=ITEM, shopper_id=SHOPPER, epoch=epoch, expires_at_ms=EXPIRES)


def _accepted(text: str) -> bool:
    link = parse_link(text)
    return link is not None and is_genuine(link, SHOPPER.bytes, SECRETS)


def test_a_link_says_what_it_was_made_with() -> None:
    text = _link()
    link = parse_link(text)
    assert link is not None
    assert len(text) == LINK_CHARS
    assert (link.item, link.epoch, link.expires_at_ms) == (ITEM.bytes, 4, EXPIRES)
    assert _accepted(text)
    assert _accepted(_link(5))


def test_no_two_links_are_the_same() -> None:
    assert len({_link() for _ in range(1_000)}) == 1_000


def test_every_flipped_bit_is_found() -> None:
    raw = from_base64url(_link())
    assert raw is not None
    for at in range(len(raw)):
        for bit in range(8):
            forged = bytearray(raw)
            forged[at] ^= 1 << bit
            assert not _accepted(to_base64url(bytes(forged))), (at, bit)


def test_every_replaced_character_is_found() -> None:
    text = _link()
    for at in range(len(text)):
        for char in ALPHABET:
            if char != text[at]:
                assert not _accepted(text[:at] + char + text[at + 1 :]), (at, char)


def test_another_shopper_or_another_secret() -> None:
    link = parse_link(_link())
    assert link is not None
    assert not is_genuine(link, uuid4().bytes, SECRETS)
    assert not is_genuine(link, SHOPPER.bytes, {4: SECRETS[5], 5: SECRETS[4]})
    assert not is_genuine(link, SHOPPER.bytes, {5: SECRETS[5]})
    assert not is_genuine(link, SHOPPER.bytes, {})


@pytest.mark.parametrize("spelling", [lambda t: t[:-1], lambda t: t + "A", lambda t: t + "=", lambda t: " " + t[1:],
                                      lambda t: t[:-1] + "\n", lambda t: t[:-1] + "ß", lambda t: "", lambda t: t + t,
                                      lambda t: t[:-1] + "\ud800", lambda t: t[:-1] + "\0"])  # fmt: skip
def test_only_the_canonical_spelling_is_a_link(spelling) -> None:
    assert not _accepted(spelling(_link()))


def test_plus_and_slash_are_no_spelling_of_minus_and_underscore() -> None:
    """base64 decoders take both; then a link would have many spellings."""
    seen = 0
    while seen < 20:
        text = _link()
        if "-" in text or "_" in text:
            seen += 1
            assert not _accepted(text.replace("-", "+").replace("_", "/"))


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=90))
def test_no_text_is_an_error(text: str) -> None:
    assert not _accepted(text)
    assert Tickets(SECRET).read(text, SHOPPER) is None


TICKET = Ticket(LaneId(ITEM, 3), uuid4(), EntryId(2, 2**40), EXPIRES)


def test_a_ticket_reads_back_and_is_always_the_same_text() -> None:
    tickets = Tickets(SECRET)
    text = tickets.sign(TICKET, SHOPPER)
    assert tickets.read(text, SHOPPER) == TICKET
    assert Tickets(SECRET).sign(TICKET, SHOPPER) == text
    assert tickets.read(text, uuid4()) is None
    assert Tickets(SECRET[::-1]).read(text, SHOPPER) is None


def test_every_flipped_bit_of_a_ticket_is_found() -> None:
    tickets = Tickets(SECRET)
    raw = from_base64url(tickets.sign(TICKET, SHOPPER))
    assert raw is not None
    for at in range(len(raw)):
        for bit in range(8):
            forged = bytearray(raw)
            forged[at] ^= 1 << bit
            assert tickets.read(to_base64url(bytes(forged)), SHOPPER) is None, (at, bit)


def test_every_truncation_is_found() -> None:
    tickets, link = Tickets(SECRET), _link()
    text = tickets.sign(TICKET, SHOPPER)
    for length in range(len(text)):
        assert tickets.read(text[:length], SHOPPER) is None
    for length in range(len(link)):
        assert not _accepted(link[:length])


def test_a_reservation_is_its_shopper_item_and_key() -> None:
    first = reservation_id(SHOPPER, ITEM, "key")
    assert first == reservation_id(SHOPPER, ITEM, "key")
    others = [
        reservation_id(uuid4(), ITEM, "key"),
        reservation_id(SHOPPER, uuid4(), "key"),
        reservation_id(SHOPPER, ITEM, "Key"),
        reservation_id(ITEM, SHOPPER, "key"),
    ]
    assert len({first, *others}) == 5
