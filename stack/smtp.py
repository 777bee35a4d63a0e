"""A real SMTP server for the local stack: ``python -m stack.smtp --port P --maildir DIR``.

Every message is kept in a Maildir, where a person or a test can read it; none leaves the machine.
"""

import argparse
import asyncio
import signal
from pathlib import Path

from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP

from stack.servers.base import LOOPBACK

# A confirmation is a few kilobytes.
_MESSAGE_LIMIT_BYTES = 1024 * 1024


async def serve(port: int, maildir: Path) -> None:
    """Accept mail until SIGTERM or SIGINT."""
    handler = Mailbox(maildir)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(
        lambda: SMTP(handler, data_size_limit=_MESSAGE_LIMIT_BYTES, hostname="localhost", ident="stampede"),
        LOOPBACK,
        port,
    )
    try:
        await stop.wait()
    finally:
        server.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--maildir", type=Path, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.maildir))


if __name__ == "__main__":
    main()
