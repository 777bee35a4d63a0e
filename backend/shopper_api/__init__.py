"""The shoppers' HTTP surface: sales, sign-in, links, attempts, tickets, claims, orders, payments."""

from fastapi import APIRouter

from backend.shopper_api import claims, clock, delivery, hot_routes, orders, payments, sales, shoppers
from backend.shopper_api.hot_routes import HotEndpoints

router = APIRouter()
for _part in (clock, sales, shoppers, hot_routes, claims, delivery, orders, payments):
    router.include_router(_part.router)

__all__ = ["HotEndpoints", "router"]
