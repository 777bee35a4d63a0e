"""The shop and the lane that these tests share."""

from tests.backend.shop import shop
from tests.support.fixtures import admin, gate, lane

__all__ = ["admin", "gate", "lane", "shop"]
