"""The mail server of the local stack takes a message and keeps it."""

import asyncio
import mailbox
import smtplib
from email.message import EmailMessage
from pathlib import Path

from stack.roles import PortServer


async def test_message_is_kept(tmp_path: Path) -> None:
    maildir = tmp_path / "the mail"
    server = PortServer("smtp", "smtp", tmp_path / "data", "stack.smtp", "--maildir", str(maildir), env={})
    async with server:
        await asyncio.to_thread(_send, server.port)
        kept = list(mailbox.Maildir(maildir, create=False))
    assert [message["subject"] for message in kept] == ["Your order"]
    assert "Größe M" in kept[0].get_payload(decode=True).decode()  # type: ignore[union-attr]


def _send(port: int) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@example.org", "ada@example.org", "Your order"
    message.set_content("Größe M\n")
    with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
        client.send_message(message)
