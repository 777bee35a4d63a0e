"""What others show of a page: the card of a shared address (Open Graph) and search results (schema.org)."""

import json
from typing import Any

from markupsafe import Markup

from page_renderer.model import PictureView, SalePage
from page_renderer.prose import plain
from page_renderer.text import clean, decimal, machine_time

SUMMARY_MAX = 160
"""Search results and cards cut longer ones off themselves."""


def address(page: SalePage) -> str:
    """Where the page stands, absolute when the renderer was told the host."""
    return f"{page.base_url}/s/{page.slug}/"


def summary(page: SalePage) -> str:
    """The description's first words, on one line."""
    text = plain(page.description) or next((found for item in page.items if (found := plain(item.description))), "")
    return text if len(text) <= SUMMARY_MAX else text[: SUMMARY_MAX - 1].rsplit(" ", 1)[0] + "…"


def share_picture(page: SalePage) -> PictureView | None:
    """The first picture of the first item that has one."""
    return next((item.pictures[0] for item in page.items if item.pictures), None)


def structured_data(page: SalePage) -> Markup:
    """schema.org's Product with an Offer for each item, as the text of a data block.

    An offer says when it may be bought, not whether it can be now: a page is rendered once, and stock moves.
    """
    pictures = [f"{page.base_url}/assets/{picture.fallback.name}" for item in page.items for picture in item.pictures]
    product: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": "Product",
        "name": clean(page.title),
        "brand": {"@type": "Organization", "name": clean(page.merchant_name)},
        "offers": [
            {
                "@type": "Offer",
                "url": address(page),
                "sku": item.sku,
                "name": clean(item.name),
                "price": decimal(item.price),
                "priceCurrency": item.price.currency,
                "availabilityStarts": machine_time(page.opens_at),
                "availabilityEnds": machine_time(page.closes_at),
                "priceValidUntil": machine_time(page.closes_at),
            }
            for item in page.items
        ],
    }
    if text := summary(page):
        product["description"] = text
    if pictures:
        product["image"] = list(dict.fromkeys(pictures))
    text = json.dumps(product, ensure_ascii=False, separators=(",", ":"))
    # A data block ends at "</script", and "<!--" changes how it is read: without "<" there is neither.
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704
