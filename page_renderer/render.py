"""A context in, bytes out. Nothing here reads a clock, a setting or a file but its templates."""

import json
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from page_renderer import text
from page_renderer.assets import asset_path, module_paths
from page_renderer.model import IndexPage, RenderedPage, SalePage, SaleState


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
        "duration": text.duration,
        "epoch_ms": text.epoch_ms,
        "every": text.every,
        "local_time": text.local_time,
        "machine_time": text.machine_time,
        "money": text.money,
        "paragraphs": text.paragraphs,
        "wall_time": text.wall_time,
    }
    environment.tests |= {"below": text.is_below}
    environment.globals |= {
        "asset": asset_path,
        "modules": module_paths,
    }
    return environment


def render_sale(page: SalePage) -> RenderedPage:
    """The page of one sale. It depends on nothing that changes while the sale runs: phase and stock
    come from `state.json`, so a page is published once and not again at opening."""
    html = _environment().get_template("sale.html.j2").render(page=page)
    return RenderedPage({"index.html": html.encode()})


def render_index(page: IndexPage) -> RenderedPage:
    """The list of sales, by opening time and then by slug."""
    sales = sorted(page.sales, key=lambda sale: (sale.opens_at, sale.slug))
    html = _environment().get_template("index.html.j2").render(page=page, sales=sales)
    return RenderedPage({"index.html": html.encode()})


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
