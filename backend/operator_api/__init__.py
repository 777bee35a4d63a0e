"""The operators' API, under ``/api/v1/operator``."""

from fastapi import APIRouter

from backend.operator_api import (
    accounts,
    channels,
    defaults,
    home,
    lists,
    live,
    orders,
    pages,
    people,
    pictures,
    prose,
    replay,
    sales,
    skus,
    steering,
    stock,
)

router = APIRouter(prefix="/api/v1/operator", tags=["operator"])
_PARTS = (
    accounts, home, skus, pictures, prose, pages, sales, steering, stock, live, replay, orders, lists, people,
    defaults, channels,
)  # fmt: skip
for _part in _PARTS:
    router.include_router(_part.router)

__all__ = ["router"]
