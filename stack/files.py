"""Small files of the data folder: private, and replaced in one step."""

import json
import os
import secrets
from pathlib import Path
from typing import Any


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; readers see the old text or the new one, never half."""
    scratch = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    scratch.replace(path)


def write_private_json(path: Path, value: Any) -> None:
    """``write_private`` of a JSON value."""
    write_private(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path, *, default: Any) -> Any:
    """The JSON value of a file, or ``default`` when there is no file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default


def make_private_dir(path: Path) -> Path:
    """Make a folder (and its parents) that only its owner may enter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    return path


class SecretBook:
    """Passwords made at first use and kept in ``data_dir/secrets.json`` (mode 0600)."""

    def __init__(self, data_dir: Path) -> None:
        """Use the folder's book; it is written at the first new secret."""
        self._path = data_dir / "secrets.json"

    def get(self, name: str) -> str:
        """The secret of that name: 256 random bits, safe in a URL and in a configuration file."""
        book: dict[str, str] = read_json(self._path, default={})
        if name not in book:
            book[name] = secrets.token_hex(32)
            write_private_json(self._path, book)
        return book[name]
