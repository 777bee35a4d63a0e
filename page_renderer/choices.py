"""How the items of a sale are offered: one alone, a list of products, or the variants of one."""

from dataclasses import dataclass
from itertools import groupby

from page_renderer.model import PictureView, SaleItemView
from page_renderer.text import clean

OPTIONS_MAX = 2
"""Colour and size. A third would make a table of the choice."""


@dataclass(frozen=True, slots=True)
class VariantGroup:
    """Items that share all options but the last: the sizes of one colour. `label` is empty for the only group."""

    label: str
    items: tuple[SaleItemView, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture with the items that it shows."""

    picture: PictureView
    skus: tuple[str, ...]


def variant_groups(items: tuple[SaleItemView, ...]) -> list[VariantGroup]:
    """The items as variants of one product, or nothing when they are not.

    They are when there are several, all have the same one or two options, and no two the same values.
    """
    names = {tuple(option.name for option in item.options) for item in items}
    values = {tuple(option.value for option in item.options) for item in items}
    if len(items) < 2 or len(names) != 1 or len(values) != len(items) or not 1 <= len(min(names)) <= OPTIONS_MAX:
        return []
    # groupby wants neighbours: sort by first appearance, so that the merchant's order stays.
    heads = [_head(item) for item in items]
    ordered = sorted(items, key=lambda item: heads.index(_head(item)))
    return [VariantGroup(label, tuple(group)) for label, group in groupby(ordered, key=_head)]


def _head(item: SaleItemView) -> str:
    return ", ".join(clean(option.value) for option in item.options[:-1])


def variant_label(item: SaleItemView) -> str:
    """`Navy, M`: what the button says."""
    return ", ".join(clean(option.value) for option in item.options)


def gallery(items: tuple[SaleItemView, ...]) -> list[Shown]:
    """Every picture once, with the items that have it, in the order of the items."""
    found: dict[str, tuple[PictureView, list[str]]] = {}
    for item in items:
        for picture in item.pictures:
            found.setdefault(picture.fallback.name, (picture, []))[1].append(item.sku)
    return [Shown(picture, tuple(skus)) for picture, skus in found.values()]
