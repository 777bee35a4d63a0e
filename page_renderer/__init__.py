"""Static pages of a sale: a typed context in, files out.

Knows HTML and one folder, nothing else: no database, no settings, no clock of its own. The same
context gives the same bytes, so a page may be rendered again anywhere and compared.

Three steps, each usable alone:

* describe: `SalePage`, `IndexPage`, `SaleState` (frozen, checked when made);
* render:   `render_sale`, `render_index`, `render_state`, `assets`;
* publish:  `publish` (or `write_version` and `activate` one by one), `write_assets`, `write_state`,
  `set_sold_out`. The layout of the folder is in docs/architecture.md.

`clean`, `money` and `local_time` put merchants' words, amounts and times the same way into messages
that are not pages.
"""

from page_renderer.assets import assets
from page_renderer.model import (
    AvailableHint,
    IndexEntry,
    IndexPage,
    ItemPhase,
    ItemState,
    Money,
    OptionView,
    PictureFile,
    PictureView,
    RenderedPage,
    SaleItemView,
    SalePage,
    SalePhase,
    SaleState,
)
from page_renderer.publish import (
    Published,
    Target,
    VersionTakenError,
    activate,
    current_version,
    missing_files,
    publish,
    set_sold_out,
    versions,
    write_assets,
    write_files,
    write_preview,
    write_state,
    write_version,
)
from page_renderer.render import render_index, render_preview, render_sale, render_state
from page_renderer.text import clean, local_time, money

__all__ = [
    "AvailableHint",
    "IndexEntry",
    "IndexPage",
    "ItemPhase",
    "ItemState",
    "Money",
    "OptionView",
    "PictureFile",
    "PictureView",
    "Published",
    "RenderedPage",
    "SaleItemView",
    "SalePage",
    "SalePhase",
    "SaleState",
    "Target",
    "VersionTakenError",
    "activate",
    "assets",
    "clean",
    "current_version",
    "local_time",
    "missing_files",
    "money",
    "publish",
    "render_index",
    "render_preview",
    "render_sale",
    "render_state",
    "set_sold_out",
    "versions",
    "write_assets",
    "write_files",
    "write_preview",
    "write_state",
    "write_version",
]
