"""Names that carry their content, and imports that find each other by them."""

import gzip
import re
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256

import pytest

from page_renderer import SalePage, assets, render_sale
from page_renderer.assets import asset_path, module_paths
from page_renderer.words import LANGUAGES

_NAME = re.compile(r"[a-z_]+\.([0-9a-f]{12})\.(?:css|js|svg)")
_IMPORT = re.compile(r"""(?:from|import)\s*["']([^"']+)["']""")


def test_a_name_carries_the_hash_of_its_content() -> None:
    for name, content in assets().items():
        match = _NAME.fullmatch(name)
        assert match, name
        assert sha256(content).hexdigest().startswith(match[1])


def test_scripts_import_each_other_by_hashed_names() -> None:
    scripts = {name: text.decode() for name, text in assets().items() if name.endswith(".js")}
    imports = {name: _IMPORT.findall(text) for name, text in scripts.items()}
    assert sum(map(len, imports.values())) > 10
    for name, found in imports.items():
        for path in found:
            assert path.startswith("./"), f"{name} imports {path}"
            assert path.removeprefix("./") in scripts, f"{name} imports {path}"


def test_preloads_are_all_that_the_page_will_import() -> None:
    scripts = assets()

    def reached(name: str) -> Iterator[str]:
        yield name
        for path in _IMPORT.findall(scripts[name].decode()):
            yield from reached(path.removeprefix("./"))

    for entry in ("sale.js", "index.js"):
        first = asset_path(entry).removeprefix("/assets/")
        assert module_paths(entry) == sorted({f"/assets/{name}" for name in reached(first)})


def test_scripts_make_no_markup_and_run_no_text() -> None:
    for name, text in assets().items():
        if name.endswith(".js"):
            assert not re.search(
                rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc", text
            ), name


def test_nothing_asks_another_origin() -> None:
    for name, text in assets().items():
        found = set(re.findall(rb"(?:https?:)?//[a-z][a-z0-9.-]+\.[a-z]+", text))
        assert found <= {b"http://www.w3.org"}, name  # the name of SVG, not an address
        assert b"@import" not in text
        assert b"url(" not in text


def test_a_caller_cannot_change_the_assets() -> None:
    assets().clear()
    assert assets()


def test_an_unknown_asset_is_an_error() -> None:
    with pytest.raises(KeyError):
        asset_path("nothing.js")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_with_all_its_files_stays_light(page: SalePage, language: str) -> None:
    long = replace(page, description="A long word on it, with *emphasis*.\n\n" * 100, language=language)
    html = render_sale(long).files["index.html"]
    named = set(re.findall(rb"/assets/([a-z_]+\.[0-9a-f]{12}\.(?:css|js|svg))", html))
    sizes = {name.decode(): len(gzip.compress(assets()[name.decode()], 9)) for name in named}
    assert len(sizes) > 10
    # What a browser loads before the first picture and the first question to the API.
    assert len(gzip.compress(html, 9)) + sum(sizes.values()) < 60_000, sizes
