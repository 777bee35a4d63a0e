"""The gate's Lua, one operation a file, ``name-<number of KEYS>.lua``; read once, called by hash."""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources

_FILE_NAME = re.compile(r"(?P<name>[a-z]+)-(?P<keys>\d+)\.lua")


@dataclass(frozen=True, slots=True)
class Script:
    """One file of Lua."""

    name: str
    keys: int
    source: str
    sha: str


def _read_all() -> dict[str, Script]:
    found = {}
    for file in resources.files(__name__).iterdir():
        match = _FILE_NAME.fullmatch(file.name)
        if match is None:
            continue
        source = file.read_text(encoding="utf-8")
        # Redis names a script by the SHA-1 of its text; nothing is secured by it.
        sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        found[match["name"]] = Script(match["name"], int(match["keys"]), source, sha)
    return found


SCRIPTS = _read_all()
