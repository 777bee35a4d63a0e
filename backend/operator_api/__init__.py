"""The operators' API, under ``/api/v1/operator``."""

from fastapi import APIRouter

from backend.operator_api import (
    accounts,
    home,
    lists,
    live,
    orders,
    pages,
    people,
    pictures,
    replay,
    sales,
    skus,
    steering,
    stock,
)

router = APIRouter(prefix="/api/v1/operator", tags=["operator"])
for _part in (accounts, home, skus, pictures, pages, sales, steering, stock, live, replay, orders, lists, people):
    router.include_router(_part.router)

__all__ = ["router"]
