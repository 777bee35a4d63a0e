"""The operators' API, under ``/api/v1/operator``."""

from fastapi import APIRouter

from backend.operator_api import accounts, lists, live, sales, skus, steering, stock

router = APIRouter(prefix="/api/v1/operator", tags=["operator"])
for _part in (accounts, skus, sales, steering, stock, live, lists):
    router.include_router(_part.router)

__all__ = ["router"]
