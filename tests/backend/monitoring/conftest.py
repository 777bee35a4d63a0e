"""The shop that these tests share."""

from tests.backend.shop import shop

__all__ = ["shop"]
