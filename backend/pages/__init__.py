"""Published pages: what shoppers see without asking the API, and the markers that spare it their questions."""

from backend.pages.catalogue import CataloguedItem, CataloguedSale, PublishedSales
from backend.pages.markers import clear_sold_out
from backend.pages.publication import due_for_publication, publish, publish_index
from backend.pages.states import write_states

__all__ = [
    "CataloguedItem",
    "CataloguedSale",
    "PublishedSales",
    "clear_sold_out",
    "due_for_publication",
    "publish",
    "publish_index",
    "write_states",
]
