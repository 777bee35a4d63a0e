"""A context in, bytes out. Nothing here reads a clock, a setting or a file but its templates."""

import json
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from page_renderer import cards, choices, prose, text
from page_renderer.assets import asset_path, module_paths, words_name
from page_renderer.model import IndexPage, Money, RenderedPage, SalePage, SaleState
from page_renderer.words import DEFAULT, LANGUAGES, words


@cache
def _environment() -> Environment:
    # Autoescape is on for every name, whatever its suffix: merchants' words are data. They only
    # ever come in as variables, never as template source, so `{{7*7}}` in a title stays `{{7*7}}`.
    environment = Environment(
        loader=PackageLoader("page_renderer"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "clean": text.clean,
        "decimal": text.decimal,
        "epoch_ms": text.epoch_ms,
        "machine_time": text.machine_time,
        "plain": prose.plain,
        "prose": prose.prose,
        "variant_label": choices.variant_label,
    }
    environment.tests |= {"below": text.is_below}
    environment.globals |= {
        "asset": asset_path,
        "languages": [words(language) for language in LANGUAGES],
        "modules": module_paths,
        "saved": _saved,
    }
    return environment


def _saved(price: Money, usual: Money) -> Money:
    return Money(usual.amount_minor - price.amount_minor, price.currency)


def _in_every_language(template: str, own: str, context: dict[str, Any]) -> RenderedPage:
    """`index.html` in the page's own language, and `index.<language>.html` in each of the others."""
    found = _environment().get_template(template)
    pages = {}
    for language in LANGUAGES:
        said = words(language)
        forms = {
            "say": said,
            "money": lambda value, said=said: text.money(value, said),
            "wall_time": lambda at, zone, said=said: text.wall_time(at, zone, said),
            "local_time": lambda at, zone, said=said: text.local_time(at, zone, said),
            "every": lambda ms, said=said: text.every(ms, said),
            "duration": lambda seconds, said=said: text.duration(seconds, said),
            "words_module": asset_path(words_name(language)),
        }
        name = "index.html" if language == own else f"index.{language}.html"
        pages[name] = found.render(**context, **forms).encode()
    return RenderedPage(pages)


def render_sale(page: SalePage) -> RenderedPage:
    """The page of one sale. It depends on nothing that changes while the sale runs: phase and stock
    come from `state.json`, so a page is published once and not again at opening."""
    context = {
        "page": page,
        "groups": choices.variant_groups(page.items),
        "gallery": choices.gallery(page.items),
        "address": cards.address(page),
        "summary": cards.summary(page),
        "share_picture": cards.share_picture(page),
        "structured_data": cards.structured_data(page),
    }
    return _in_every_language("sale.html.j2", page.language, context)


def render_index(page: IndexPage) -> RenderedPage:
    """The list of sales, by opening time and then by slug."""
    sales = sorted(page.sales, key=lambda sale: (sale.opens_at, sale.slug))
    return _in_every_language("index.html.j2", DEFAULT, {"page": page, "sales": sales})


def render_preview(title: str) -> RenderedPage:
    """The frame around a preview: the page beside itself, as a phone and as a desktop show it."""
    html = _environment().get_template("preview.html.j2").render(title=title)
    return RenderedPage({"preview.html": html.encode()})


def render_state(state: SaleState) -> bytes:
    """`state.json`, compact: every shopper who looks fetches it every few seconds."""
    body = {
        "phase": state.phase,
        "opens_at_ms": text.epoch_ms(state.opens_at),
        "closes_at_ms": text.epoch_ms(state.closes_at),
        "at_ms": text.epoch_ms(state.at),
        "items": {item.sku: {"phase": item.phase, "available_hint": item.available_hint} for item in state.items},
    }
    return json.dumps(body, separators=(",", ":")).encode()
