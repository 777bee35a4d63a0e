"""Dramatiq actors and the clock."""
