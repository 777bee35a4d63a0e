"""Delivery through apprise to a real SMTP server: once, under one key, with retries, never with a contact in a log."""

import asyncio
import logging
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from aiosmtpd.smtp import SMTP

from backend.core.ids import new_id
from backend.models import Notification, NotificationKind
from backend.notifications import EmailChannel, Message, SendFailed, deliver_due
from backend.notifications.backing_off import ATTEMPTS_MAX, SENDING_AT_ONCE, backoff
from backend.settings import Settings
from tests.backend.shop import Shop


class Inbox:
    """Takes mail, or answers as it is told to."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answer = "250 OK"
        self.delay_s = 0.0
        self.open = 0
        self.open_most = 0

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        self.open += 1
        self.open_most = max(self.open_most, self.open)
        await asyncio.sleep(self.delay_s)
        self.open -= 1
        if self.answer.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return self.answer

    def to(self, contact: str) -> list[EmailMessage]:
        return [mail for mail in self.mails if mail["To"] == contact]


@pytest_asyncio.fixture(loop_scope="session")
async def inbox() -> AsyncIterator[tuple[Inbox, str]]:
    box = Inbox()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(box, hostname="localhost", ident="tests"), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    yield box, f"mailto://127.0.0.1:{port}?from=shop@example.org&name=Stampede"
    server.close()
    await server.wait_closed()


def mailing(shop: Shop, url: str) -> Settings:
    return shop.settings.model_copy(update={"notify_email_url": url, "public_url": "https://shop.example"})


async def put_code(shop: Shop, contact: str, code: str = "123456") -> UUID:
    notification_id = new_id()
    async with shop.database.transaction() as session:
        session.add(
            Notification(
                id=notification_id,
                kind=NotificationKind.SIGN_IN_CODE,
                recipient=contact,
                payload={"code": code},
                due_at=None,
            )
        )
    return notification_id


async def state(shop: Shop, notification_id: UUID) -> Any:
    (row,) = await shop.sql("SELECT *, due_at - now() AS due_in FROM notifications WHERE id = :id", id=notification_id)
    return row


async def test_a_confirmed_order_is_told_once_in_plain_words(shop: Shop, inbox: tuple[Inbox, str]) -> None:
    box, url = inbox
    stall = await shop.sale()
    shopper = await shop.shopper("ada@mail.example")
    bought = await shop.buy(stall, shopper_id=shopper)
    await shop.drain(stall)

    delivery = await deliver_due(shop.database, mailing(shop, url))
    assert (delivery.sent, delivery.failed, delivery.dead) == (1, 0, 0)
    again = await deliver_due(shop.database, mailing(shop, url))
    assert again.sent == 0

    (mail,) = box.to("ada@mail.example")
    order = await shop.order_of(bought)
    (row,) = await shop.sql("SELECT id, status, attempts, sent_at FROM notifications")
    assert (row.status, row.attempts) == ("sent", 1)
    assert row.sent_at is not None
    assert mail["X-Notification-Id"] == str(row.id)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["From"] == "Stampede <shop@example.org>"
    assert mail["Subject"] == "Your order is confirmed: Name of TEE-M"
    body = mail.get_content()
    assert "1 × Name of TEE-M" in body
    assert "€19.00" in body
    assert str(order.id) in body
    assert mail.get_content_type() == "text/plain"


async def test_a_reservation_says_until_when_in_the_sales_own_zone(shop: Shop, inbox: tuple[Inbox, str]) -> None:
    box, url = inbox
    stall = await shop.sale(payment_required=True, limit=3)
    shopper = await shop.shopper("ada@mail.example")
    await shop.buy(stall, shopper_id=shopper, quantity=3)
    await shop.drain(stall)
    await shop.sql("UPDATE orders SET pay_by = '2026-12-04T18:15:00Z'")

    await deliver_due(shop.database, mailing(shop, url))

    (mail,) = box.mails
    body = mail.get_content()
    assert "Friday 4 December 2026, 19:15 (Europe/Berlin)" in body
    assert "€57.00" in body
    assert f"https://shop.example/s/{stall.slug}/" in body


async def test_a_merchants_words_cannot_break_the_header(shop: Shop, inbox: tuple[Inbox, str]) -> None:
    box, url = inbox
    stall = await shop.sale()
    await shop.sql("UPDATE skus SET name = :name", name="Tee\r\nBcc: everybody@mail.example\r\n{{ 7 * 7 }}")
    await shop.buy(stall)
    await shop.drain(stall)

    await deliver_due(shop.database, mailing(shop, url))

    (mail,) = box.mails
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Your order is confirmed: Tee Bcc: everybody@mail.example {{ 7 * 7 }}"


async def test_a_sent_code_does_not_stay_in_the_table(shop: Shop, inbox: tuple[Inbox, str]) -> None:
    box, url = inbox
    notification_id = await put_code(shop, "ada@mail.example", "402713")

    await deliver_due(shop.database, mailing(shop, url))

    assert "402713" in box.mails[0]["Subject"]
    assert (await state(shop, notification_id)).payload == {}


async def test_a_late_code_is_not_sent_at_all(shop: Shop, inbox: tuple[Inbox, str]) -> None:
    box, url = inbox
    notification_id = await put_code(shop, "ada@mail.example")
    await shop.sql("UPDATE notifications SET created_at = now() - interval '11 minutes'")

    delivery = await deliver_due(shop.database, mailing(shop, url))

    assert (delivery.sent, delivery.dead) == (0, 1)
    assert box.mails == []
    assert (await state(shop, notification_id)).status == "dead"
    assert await shop.sql("SELECT 1 FROM dead_letters") == []


async def test_a_refused_mail_comes_again_later_under_the_same_key(shop: Shop, inbox: tuple[Inbox, str]) -> None:
    box, url = inbox
    box.answer = "451 try later"
    notification_id = await put_code(shop, "ada@mail.example")

    first = await deliver_due(shop.database, mailing(shop, url))
    row = await state(shop, notification_id)
    assert (first.failed, row.status, row.attempts) == (1, "pending", 1)
    assert 2 < row.due_in.total_seconds() <= 5
    assert "ada@mail.example" not in row.last_error
    assert (await deliver_due(shop.database, mailing(shop, url))).failed == 0, "not due yet"

    box.answer = "250 OK"
    await shop.sql("UPDATE notifications SET due_at = now()")
    second = await deliver_due(shop.database, mailing(shop, url))
    row = await state(shop, notification_id)
    assert (second.sent, row.status, row.attempts, row.last_error) == (1, "sent", 2, None)
    assert [mail["X-Notification-Id"] for mail in box.mails] == [str(notification_id)]


async def test_after_the_last_attempt_a_person_is_told(shop: Shop, inbox: tuple[Inbox, str]) -> None:
    box, url = inbox
    box.answer = "550 no such user ada@mail.example"
    stall = await shop.sale()
    await shop.buy(stall, shopper_id=await shop.shopper("ada@mail.example"))
    await shop.drain(stall)
    await shop.sql("UPDATE notifications SET attempts = :n", n=ATTEMPTS_MAX - 1)

    delivery = await deliver_due(shop.database, mailing(shop, url))

    assert delivery.dead == 1
    (row,) = await shop.sql("SELECT id, status, attempts, last_error FROM notifications")
    (letter,) = await shop.sql("SELECT * FROM dead_letters")
    assert (row.status, row.attempts) == ("dead", ATTEMPTS_MAX)
    assert (letter.source, letter.reference, letter.sale_id) == ("notification", str(row.id), stall.sale_id)
    assert "ada@mail.example" not in letter.error
    assert "ada@mail.example" not in str(letter.payload)


async def test_a_shopper_without_a_contact_is_nobodys_fault(shop: Shop, inbox: tuple[Inbox, str]) -> None:
    box, url = inbox
    stall = await shop.sale()
    await shop.buy(stall, shopper_id=new_id())
    await shop.drain(stall)

    delivery = await deliver_due(shop.database, mailing(shop, url))

    assert delivery.dead == 1
    assert box.mails == []
    (row,) = await shop.sql("SELECT status, last_error FROM notifications")
    assert (row.status, row.last_error) == ("dead", "no contact is known")
    assert await shop.sql("SELECT 1 FROM dead_letters") == []


async def test_several_senders_share_the_work_and_send_each_message_once(shop: Shop, inbox: tuple[Inbox, str]) -> None:
    box, url = inbox
    box.delay_s = 0.01
    ids = [await put_code(shop, f"shopper-{number}@mail.example") for number in range(60)]
    settings = mailing(shop, url)

    deliveries = await asyncio.gather(*(deliver_due(shop.database, settings) for _ in range(3)))

    assert sum(delivery.sent for delivery in deliveries) == 60
    assert sorted(mail["X-Notification-Id"] for mail in box.mails) == sorted(str(one) for one in ids)
    assert 1 < box.open_most <= 3 * SENDING_AT_ONCE


async def test_a_sender_that_lost_its_lease_does_not_overwrite_the_next_ones_result(
    shop: Shop, inbox: tuple[Inbox, str]
) -> None:
    """The first sender is so slow that the row is claimed again meanwhile: only the second may write."""
    _, url = inbox
    notification_id = await put_code(shop, "ada@mail.example")

    class Slow:
        async def send(self, _: Message) -> None:
            await shop.sql("UPDATE notifications SET due_at = now()")
            await deliver_due(shop.database, mailing(shop, url))
            raise SendFailed("too late")

    await deliver_due(shop.database, mailing(shop, url), channel=Slow())

    row = await state(shop, notification_id)
    assert (row.status, row.attempts, row.last_error) == ("sent", 2, None)


async def test_without_a_channel_nothing_is_claimed(shop: Shop) -> None:
    notification_id = await put_code(shop, "ada@mail.example")

    assert (await deliver_due(shop.database, shop.settings)).sent == 0

    row = await state(shop, notification_id)
    assert (row.status, row.attempts) == ("pending", 0)


async def test_a_server_that_never_answers_is_given_up(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setattr("backend.notifications.channel.SEND_TIMEOUT_S", 0.2)
    try:
        with pytest.raises(SendFailed, match="no answer"):
            await EmailChannel(f"mailto://127.0.0.1:{port}?from=shop@example.org").send(
                Message("key", "ada@mail.example", "subject", "body")
            )
    finally:
        await asyncio.sleep(2.1)
        server.close()
        await server.wait_closed()


class Heard(logging.Handler):
    """Everything that reaches the process's log."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "mail.log":  # the test's own mail server
            self.lines.append(record.getMessage())


async def test_no_log_line_names_a_contact(
    shop: Shop, inbox: tuple[Inbox, str], capfd: pytest.CaptureFixture[str]
) -> None:
    """apprise says "Sent Email to …" and "Sending email to … failed": neither may reach a log."""
    box, url = inbox
    heard, root = Heard(), logging.getLogger()
    level = root.level
    root.addHandler(heard)
    root.setLevel(logging.DEBUG)
    try:
        for answer in ("250 OK", "550 no"):
            box.answer = answer
            await put_code(shop, "ada@mail.example")
            await deliver_due(shop.database, mailing(shop, url))
    finally:
        root.removeHandler(heard)
        root.setLevel(level)
    written = capfd.readouterr()
    assert heard.lines or written.out or written.err, "the check must be able to hear something"
    assert not any("ada@mail.example" in line for line in (*heard.lines, written.out, written.err))


def test_a_url_that_is_none_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="no e-mail URL") as refused:
        EmailChannel("nonsense://user:topsecret@nowhere")
    assert "topsecret" not in str(refused.value)


def test_the_waits_double_and_are_bounded() -> None:
    for attempts, full_s in ((1, 5), (2, 10), (4, 40), (12, 900)):
        waits = [backoff(attempts).total_seconds() for _ in range(50)]
        assert full_s / 2 <= min(waits) <= max(waits) <= full_s
