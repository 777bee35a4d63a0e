"""The pages' style, scripts and mark under names that carry their content's hash.

A name never comes to mean other bytes, so browsers may keep it for a year and an old version of a
page goes on working next to a new one. The scripts are plain ES modules without a build step: an
import of `./clock.js` is rewritten to `./clock.<hash>.js`, in the order of dependence, so that a
change in one module renames everything that leads to it. (An import map would do this for us, but
the pages' CSP allows no inline script, and browsers take no import map from a file.)
"""

import json
import re
from functools import cache
from graphlib import TopologicalSorter
from hashlib import sha256
from importlib.resources import files

from page_renderer.words import LANGUAGES, words

_IMPORT = re.compile(r"""(?P<head>\b(?:from|import)\s*["'])\./(?P<name>[a-z_]+\.js)(?P<tail>["'])""")
_SUFFIXES = (".css", ".js", ".svg")
# 12 hex digits: 48 bits, ample for the few hundred contents that one installation ever serves.
_HASH_DIGITS = 12


def hashed_name(name: str, content: bytes) -> str:
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{sha256(content).hexdigest()[:_HASH_DIGITS]}.{suffix}"


def words_name(language: str) -> str:
    """The module with what the scripts say in a language. A page imports its own, by the name on its root."""
    return f"words_{language}.js"


def _words_module(language: str) -> str:
    # JSON is an expression of JavaScript.
    return f"export default {json.dumps(words(language).script(), ensure_ascii=False, separators=(',', ':'))};\n"


def _imports(source: str) -> list[str]:
    return [match["name"] for match in _IMPORT.finditer(source)]


@cache
def _built() -> tuple[dict[str, str], dict[str, bytes]]:
    """Plain name -> hashed name, and hashed name -> content. Read once, on first use."""
    folder = files("page_renderer") / "static"
    sources = {
        entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.name.endswith(_SUFFIXES)
    }
    sources |= {words_name(language): _words_module(language) for language in LANGUAGES}
    names: dict[str, str] = {}
    contents: dict[str, bytes] = {}
    # static_order raises on a cycle, and the lookup below on an unknown module: both are faults of
    # this package, found by its first test.
    order = TopologicalSorter({name: _imports(text) for name, text in sorted(sources.items())})
    for name in order.static_order():
        rewritten = _IMPORT.sub(lambda match: f"{match['head']}./{names[match['name']]}{match['tail']}", sources[name])
        content = rewritten.encode()
        names[name] = hashed_name(name, content)
        contents[names[name]] = content
    return names, contents


def assets() -> dict[str, bytes]:
    """Every asset by its hashed name."""
    return dict(_built()[1])


def asset_path(name: str) -> str:
    """`/assets/sale.<hash>.js` for `sale.js`; KeyError for a name that is not there."""
    return f"/assets/{_built()[0][name]}"


def module_paths(entry: str) -> list[str]:
    """Paths of a script and all it imports, for `modulepreload`: one round trip instead of one per
    level of imports, on the page that everybody loads in the same minute."""
    names, contents = _built()
    plain = {hashed: name for name, hashed in names.items()}
    found: list[str] = []
    waiting = [names[entry]]
    while waiting:
        hashed = waiting.pop()
        if hashed not in found:
            found.append(hashed)
            text = contents[hashed].decode()
            waiting += [other for other in plain if f'"./{other}"' in text]
    return [f"/assets/{hashed}" for hashed in sorted(found)]
