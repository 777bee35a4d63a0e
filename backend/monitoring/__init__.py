"""How the platform is: what Prometheus is told of the sales as a whole, and the console of what they depend on."""

from backend.monitoring.collector import SalesCollector
from backend.monitoring.dependencies import BEAT_EVERY_S, DependencyState, dependencies
from backend.monitoring.snapshot import Snapshot, take_snapshot

__all__ = ["BEAT_EVERY_S", "DependencyState", "SalesCollector", "Snapshot", "dependencies", "take_snapshot"]
