"""Fixtures of the sales' tests."""

from tests.backend.shop import shop

__all__ = ["shop"]
