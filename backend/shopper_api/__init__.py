"""The shoppers' HTTP surface: sales, sign-in, links, tickets, orders, payments, and the buy endpoint."""

from fastapi import APIRouter

from backend.shopper_api import clock, links, orders, payments, sales, shoppers, tickets
from backend.shopper_api.buy import BuyEndpoint

router = APIRouter()
for _part in (clock, sales, shoppers, links, tickets, orders, payments):
    router.include_router(_part.router)

__all__ = ["BuyEndpoint", "router"]
