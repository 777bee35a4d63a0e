"""Published pages: what shoppers see without asking the API, and the markers that spare it their questions."""

from backend.pages.catalogue import CataloguedItem, CataloguedSale, PublishedSales
from backend.pages.encoding import UPLOAD_MAX_BYTES, EncodedPicture
from backend.pages.markers import clear_sold_out
from backend.pages.pictures import (
    PICTURES_MAX,
    add_picture,
    change_picture,
    encode_upload,
    pictures_of_sku,
    remove_picture,
    small_file,
)
from backend.pages.publication import due_for_publication, publish, publish_index
from backend.pages.repository import want_pages
from backend.pages.repository_pictures import PictureRow
from backend.pages.states import write_states
from backend.pages.versions import Preview, ShownVersion, page_versions, preview, roll_back

__all__ = [
    "PICTURES_MAX",
    "UPLOAD_MAX_BYTES",
    "CataloguedItem",
    "CataloguedSale",
    "EncodedPicture",
    "PictureRow",
    "Preview",
    "PublishedSales",
    "ShownVersion",
    "add_picture",
    "change_picture",
    "clear_sold_out",
    "due_for_publication",
    "encode_upload",
    "page_versions",
    "pictures_of_sku",
    "preview",
    "publish",
    "publish_index",
    "remove_picture",
    "roll_back",
    "small_file",
    "want_pages",
    "write_states",
]
