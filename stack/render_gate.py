"""``python -m stack.render_gate``: the gate store's configuration for a deployment, the local stack's own.

Users, rights and durability come from ``stack.servers.gate``; here stand only the address, the folder and the size.
Passwords are read from files.
"""

import argparse
import re
import sys
from pathlib import Path

from stack.render_edge import replace_file
from stack.servers.gate import gate_config

# What a password may consist of to be the same in a URL and here (deploy/entrypoint.py holds to it, too).
_PASSWORD = re.compile(r"[A-Za-z0-9._~-]{32,}")
_SIZE = re.compile(r"[1-9][0-9]*(?:mb|gb)")


def password_file(file: str) -> str:
    """An option's value: the password that the file holds."""
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{file}: {error.strerror}") from None
    if not _PASSWORD.fullmatch(text):
        raise argparse.ArgumentTypeError("needs 32 characters or more, none that means something in a URL")
    return text


def size(text: str) -> str:
    """An option's value: an amount of memory."""
    if not _SIZE.fullmatch(text):
        raise argparse.ArgumentTypeError("such as 512mb or 2gb")
    return text


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m stack.render_gate", description=__doc__)
    options.add_argument("--output", type=Path, required=True, help="the file to write")
    options.add_argument("--host", default="*", help="address to listen on")
    options.add_argument("--port", type=int, default=6379)
    options.add_argument("--dir", required=True, help="where the server keeps its append-only file")
    options.add_argument("--maxmemory", type=size, required=True)
    options.add_argument("--admin-password-file", dest="admin_password", type=password_file, required=True)
    options.add_argument("--app-password-file", dest="app_password", type=password_file, required=True)
    return options


def main(argv: list[str]) -> int:
    """Render; wrong options end the process with exit status 2."""
    options = parser().parse_args(argv)
    text = gate_config(
        host=options.host,
        port=options.port,
        folder=options.dir,
        maxmemory=options.maxmemory,
        admin_password=options.admin_password,
        app_password=options.app_password,
    )
    replace_file(options.output, text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
