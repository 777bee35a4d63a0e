"""Pictures, variants, descriptions, and what others show of a page."""

import json
import re
from dataclasses import replace

import pytest

from page_renderer import OptionView, PictureFile, PictureView, SaleItemView, SalePage, render_sale
from page_renderer.choices import gallery, variant_groups
from page_renderer.prose import plain, prose

_PICTURE = PictureView(
    "A tee, folded",
    (PictureFile("picture.0123456789ab.webp", 960, 640), PictureFile("picture.0123456789ac.webp", 480, 320)),
    PictureFile("picture.0123456789ad.jpg", 960, 640),
)


def _variant(tee: SaleItemView, **options: str) -> SaleItemView:
    return replace(
        tee, sku="-".join(options.values()) or "X", options=tuple(OptionView(*one) for one in options.items())
    )


def _html(page: SalePage) -> str:
    return render_sale(page).files["index.html"].decode()


# -- descriptions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "markup"),
    [
        ("**sewn** in *Porto*", "<p><strong>sewn</strong> in <em>Porto</em></p>\n"),
        ("# Made of", "<h2>Made of</h2>\n"),
        ("###### small", "<h2>small</h2>\n"),
        ("### a\n\n# b\n\n### c\n\n##### d", "<h2>a</h2>\n<h2>b</h2>\n<h3>c</h3>\n<h4>d</h4>\n"),
        ("- one\n- two", "<ul>\n<li>one</li>\n<li>two</li>\n</ul>\n"),
        ("[care](https://a.test/b)", '<p><a href="https://a.test/b" rel="nofollow noopener noreferrer">care</a></p>\n'),
        ("[mail](mailto:a@b.test)", '<p><a href="mailto:a@b.test" rel="nofollow noopener noreferrer">mail</a></p>\n'),
    ],
)
def test_markdown(source: str, markup: str) -> None:
    assert prose(source) == markup


@pytest.mark.parametrize(
    "source",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "[x](//evil.test/)",
        "[x](/s/other/)",
        '<https://evil.test/"onmouseover=alert(1)>',
        "![x](https://evil.test/pixel.png)",
        "[x]: javascript:alert(1)\n\n[x]",
        "```\n<script>\n```",
        "<style>body{display:none}</style>",
        "</section></main><!--",
    ],
)
def test_markdown_makes_nothing_that_runs_loads_or_leads_astray(source: str) -> None:
    markup = prose(source)
    tags = set(re.findall(r"<\s*/?\s*([a-zA-Z!][a-z0-9]*)", markup))
    assert tags <= {"p", "a", "em", "strong", "code", "pre"}, markup
    for attribute in re.findall(r"<[^>]*>", markup):
        assert not re.search(r"\s(on\w+|src|style|id|class)\s*=", attribute), markup
    for href in re.findall(r'href="([^"]*)"', markup):
        assert href.startswith(("https://", "http://", "mailto:")), markup


def test_markdown_without_its_walls_is_caught_by_the_same_look() -> None:
    # The check above must be able to fail: the parser as it comes lets a script through.
    from markdown_it import MarkdownIt

    open_parser = MarkdownIt("commonmark")
    assert "<script>" in open_parser.render("<script>alert(1)</script>")
    assert "<img" in open_parser.render("![x](https://evil.test/pixel.png)")


def test_a_deep_nest_is_bounded() -> None:
    assert len(prose("> " * 5_000 + "deep")) < 50_000


def test_the_summary_has_no_marks() -> None:
    assert plain("First *run*,\n**sewn** [here](https://a.test).\n\n- wool") == "First run, sewn here. wool"


# -- pictures --------------------------------------------------------------------------------------


def test_a_picture_keeps_its_place_and_says_what_it_shows(page: SalePage, tee: SaleItemView) -> None:
    html = _html(replace(page, items=(replace(tee, pictures=(_PICTURE, replace(_PICTURE, alt="Its back"))),)))
    (first,) = re.findall(r"<img src=\"/assets/picture[^>]*>", html)  # the same files are one picture
    assert 'alt="A tee, folded"' in first
    assert 'width="960" height="640"' in first
    assert 'fetchpriority="high"' in first
    assert "/assets/picture.0123456789ab.webp 960w, /assets/picture.0123456789ac.webp 480w" in html


def test_later_pictures_wait_until_they_are_looked_at(page: SalePage, tee: SaleItemView) -> None:
    other = replace(_PICTURE, fallback=PictureFile("picture.0123456789ae.jpg", 960, 640), alt="Its back")
    html = _html(replace(page, items=(replace(tee, pictures=(_PICTURE, other)),)))
    images = re.findall(r"<img src=\"/assets/picture[^>]*>", html)
    assert ['loading="lazy"' in image for image in images] == [False, True]


def test_a_picture_of_several_items_is_shown_once(tee: SaleItemView) -> None:
    items = tuple(replace(tee, sku=sku, pictures=(_PICTURE,)) for sku in "AB")
    (shown,) = gallery(items)
    assert shown.skus == ("A", "B")


@pytest.mark.parametrize(
    "name", ["../x.webp", "picture.xyz.webp", "picture.0123456789ab.svg", "a/picture.0123456789ab.jpg"]
)
def test_a_bad_name_of_a_picture_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a picture's name"):
        PictureFile(name, 1, 1)


def test_a_picture_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="what it shows"):
        replace(_PICTURE, alt="  ")


# -- variants --------------------------------------------------------------------------------------


def test_items_with_the_same_options_are_one_choice(page: SalePage, tee: SaleItemView) -> None:
    items = tuple(_variant(tee, Colour=colour, Size=size) for size in "SM" for colour in ("Navy", "Sand"))
    groups = variant_groups(items)
    assert [(group.label, [item.sku for item in group.items]) for group in groups] == [
        ("Navy", ["Navy-S", "Navy-M"]),
        ("Sand", ["Sand-S", "Sand-M"]),
    ]
    html = _html(replace(page, items=items))
    assert html.count('class="item chip"') == 4
    assert html.count('id="buy"') == 1
    assert re.findall(r'data-label="([^"]*)"', html) == ["Navy, S", "Navy, M", "Sand, S", "Sand, M"]


@pytest.mark.parametrize(
    "options",
    [
        [{}, {}],
        [{"Size": "S"}, {}],
        [{"Size": "S"}, {"Colour": "Navy"}],
        [{"Size": "S"}, {"Size": "S"}],
        [{"Size": "S"}],
        [{"A": "1", "B": "2", "C": "3"}, {"A": "1", "B": "2", "C": "4"}],
    ],
    ids=["none", "one without", "different", "equal", "alone", "three"],
)
def test_items_that_are_no_variants_are_a_list(tee: SaleItemView, options: list[dict[str, str]]) -> None:
    items = tuple(replace(_variant(tee, **one), sku=f"SKU-{at}") for at, one in enumerate(options))
    assert variant_groups(items) == []


# -- cards -----------------------------------------------------------------------------------------


def _data(html: str) -> dict[str, object]:
    (text,) = re.findall(r'<script type="application/ld\+json">(.*?)</script>', html, re.DOTALL)
    found: dict[str, object] = json.loads(text)
    return found


def test_search_engines_are_told_what_is_offered(page: SalePage, tee: SaleItemView) -> None:
    shown = replace(
        page, base_url="https://shop.test", description="Soft *cotton*.", items=(replace(tee, pictures=(_PICTURE,)),)
    )
    assert _data(_html(shown)) == {
        "@context": "https://schema.org",
        "@type": "Product",
        "name": "Friday tee",
        "brand": {"@type": "Organization", "name": "Northwind Supply"},
        "description": "Soft cotton.",
        "image": ["https://shop.test/assets/picture.0123456789ad.jpg"],
        "offers": [
            {
                "@type": "Offer",
                "url": "https://shop.test/s/friday-tee/",
                "sku": "TEE-M",
                "name": "Tee, size M",
                "price": "19.00",
                "priceCurrency": "EUR",
                "availabilityStarts": "2026-12-04T18:00:00Z",
                "availabilityEnds": "2026-12-04T19:00:00Z",
                "priceValidUntil": "2026-12-04T19:00:00Z",
            }
        ],
    }


@pytest.mark.parametrize("hostile", ["</script><script>alert(1)</script>", "<!--<script>", "]]>", "\u2028"])
def test_words_cannot_leave_the_data_block(page: SalePage, hostile: str) -> None:
    html = _html(replace(page, title=f"x{hostile}y", merchant_name=f"x{hostile}y", description=hostile))
    name = _data(html)["name"]
    assert isinstance(name, str)
    assert name.startswith("x")
    assert name.endswith("y")
    assert html.count("<script") == 2


def test_a_shared_address_has_a_card(page: SalePage, tee: SaleItemView) -> None:
    shown = replace(page, base_url="https://shop.test", items=(replace(tee, pictures=(_PICTURE,)),))
    html = _html(shown)
    for line in (
        '<meta property="og:title" content="Friday tee">',
        '<meta property="og:url" content="https://shop.test/s/friday-tee/">',
        '<meta property="og:image" content="https://shop.test/assets/picture.0123456789ad.jpg">',
        '<meta property="og:image:alt" content="A tee, folded">',
        '<meta property="product:price:amount" content="19.00">',
        '<meta name="twitter:card" content="summary_large_image">',
    ):
        assert line in html
    assert 'content="summary">' in _html(page)


def test_a_long_description_is_cut_between_words(page: SalePage) -> None:
    html = _html(replace(page, description="wool " * 100))
    (text,) = re.findall(r'<meta name="description" content="([^"]*)">', html)
    assert len(text) <= 160
    assert text.endswith("wool…")


@pytest.mark.parametrize("base", ["shop.test", "https://shop.test/path", "javascript:alert(1)", "https://a b"])
def test_a_bad_base_address_is_refused(page: SalePage, base: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        replace(page, base_url=base)
