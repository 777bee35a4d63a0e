"""What Prometheus is told of the sales as a whole: read from ledger and gate when it asks."""

from backend.monitoring.collector import SalesCollector
from backend.monitoring.snapshot import Snapshot, take_snapshot

__all__ = ["SalesCollector", "Snapshot", "take_snapshot"]
