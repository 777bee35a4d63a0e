"""Benchmarks of the hot path, each beside its references: ``python -m bench`` (see docs/performance.md)."""
