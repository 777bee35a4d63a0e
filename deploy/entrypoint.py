"""Put secrets that are files into the settings, then become the command: ``entrypoint.py COMMAND...``.

    STAMPEDE_DATABASE_URL=postgresql+asyncpg://stampede_app:{secret:postgres_app_password}@postgres:5432/stampede

``{secret:NAME}`` in a ``STAMPEDE_*`` variable becomes what ``/run/secrets/NAME`` holds, without the line end. So a
secret stands in one file, and neither in ``compose.yaml`` nor in what ``inspect`` shows of a container. A variable
whose secret is empty is left out, as if it had not been set: a channel that is not configured. Inside a longer value
a secret may only have characters that mean nothing in a URL.

Exit status 78 (EX_CONFIG), and one line without any value, when a secret is missing or unusable.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

PREFIX = "STAMPEDE_"
SECRETS_DIR = Path("/run/secrets")
EXIT_CONFIG = 78
SECRET_MAX_BYTES = 16_384

_PLACEHOLDER = re.compile(r"\{secret:([a-z0-9_]+)\}")
# RFC 3986's unreserved characters: the same text in a URL's password, in SQL and in a configuration file.
_URL_SAFE = re.compile(r"[A-Za-z0-9._~-]+")


class SecretError(Exception):
    """A secret is missing or unusable. The text names it and never shows it."""


def read_secret(name: str, folder: Path) -> str:
    """What the file holds, without the line end that editors add. SecretError unless it is one line of text."""
    try:
        with (folder / name).open("rb") as file:
            raw = file.read(SECRET_MAX_BYTES + 1)
    except OSError as error:
        raise SecretError(f"secret {name}: {error.strerror}") from None
    try:
        text = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SecretError(f"secret {name}: not UTF-8") from None
    if len(raw) > SECRET_MAX_BYTES or not text.isprintable():
        raise SecretError(f"secret {name}: must be one printable line of at most {SECRET_MAX_BYTES} bytes")
    return text


def expand(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment with every ``{secret:NAME}`` of a ``STAMPEDE_*`` variable replaced. Raises SecretError."""
    expanded = {}
    for variable, value in environment.items():
        if not variable.startswith(PREFIX) or "{secret:" not in value:
            expanded[variable] = value
            continue
        whole = _PLACEHOLDER.fullmatch(value)
        text = read_secret(whole[1], folder) if whole else _inserted(variable, value, folder)
        if text:
            expanded[variable] = text
    return expanded


def _inserted(variable: str, value: str, folder: Path) -> str:
    def secret(match: re.Match[str]) -> str:
        text = read_secret(match[1], folder)
        if not _URL_SAFE.fullmatch(text):
            raise SecretError(f"secret {match[1]}: empty, or with characters that mean something in a URL")
        return text

    text = _PLACEHOLDER.sub(secret, value)
    if "{secret:" in text:
        raise SecretError(f"{variable}: a secret's name has small letters, digits and underscores alone")
    return text


def become(argv: list[str], environment: dict[str, str]) -> NoReturn:
    os.execvpe(argv[0], argv, environment)  # noqa: S606 - becoming the command is the purpose


def main(argv: list[str]) -> int:
    if not argv:
        sys.stderr.write("entrypoint: no command\n")
        return EXIT_CONFIG
    try:
        environment = expand(os.environ, SECRETS_DIR)
    except SecretError as error:
        sys.stderr.write(f"entrypoint: {error}\n")
        return EXIT_CONFIG
    become(argv, environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
