"""Fixtures of the ledger's tests."""

from tests.support.fixtures import admin, database, gate, settings, shop

__all__ = ["admin", "database", "gate", "settings", "shop"]
