"""Fixtures of the gate's tests."""

from tests.support.fixtures import admin, gate, lane

__all__ = ["admin", "gate", "lane"]
