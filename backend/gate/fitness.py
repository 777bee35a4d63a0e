"""Whether a store may carry a sale: it keeps what it is given, and loses no more than it says when a server dies."""

from typing import TYPE_CHECKING

from backend.core.store_address import StoreTopology
from backend.gate.cluster import SLOTS
from backend.gate.wire import GateUnavailable

if TYPE_CHECKING:
    from backend.gate.store import Store

MAX_LAG_S = 10
"""A cut-off primary sells for at most this long to whoever still reaches it."""


def fields_of(info: str) -> dict[str, str]:
    """``INFO``'s lines as a mapping."""
    pairs = (line.split(":", 1) for line in info.splitlines() if ":" in line and not line.startswith("#"))
    return {name: value.strip() for name, value in pairs}


async def faults_of(store: "Store") -> list[str]:
    """Why this store must not carry a sale; empty when it may. Raises ``GateUnavailable``."""
    faults: list[str] = []
    servers = [fields_of(info) for info in await store.everywhere("INFO", "everything")]
    replicated = store.address.topology is not StoreTopology.STANDALONE
    for server in servers:
        faults += _server_faults(server)
        replicated |= int(server.get("connected_slaves", 0)) > 0
    if replicated:
        faults += await _replication_faults(store, servers)
    if store.address.topology is StoreTopology.CLUSTER:
        faults += await _cluster_faults(store)
    return list(dict.fromkeys(faults))


def _server_faults(info: dict[str, str]) -> list[str]:
    faults = []
    if info.get("aof_enabled") != "1":
        faults.append("append-only file is off: set `appendonly yes`")
    if info.get("maxmemory", "0") != "0" and info.get("maxmemory_policy") != "noeviction":
        faults.append(f"policy {info.get('maxmemory_policy')} would evict stock: set `noeviction`")
    if info.get("aof_last_write_status", "ok") != "ok":
        faults.append("the append-only file cannot be written: is the disk full?")
    if info.get("role") == "slave":
        faults.append("this is a replica: point STAMPEDE_GATE_URL at the primary")
    return faults


async def _replication_faults(store: "Store", servers: list[dict[str, str]]) -> list[str]:
    """A primary that was cut off, or wakes after another was elected, must sell nothing."""
    # INFO has this line only while both settings are above 0, and needs no right of its own.
    if any("min_slaves_good_slaves" not in server for server in servers):
        return ["no replica is waited for: set `min-replicas-to-write 1` and `min-replicas-max-lag 5`"]
    faults = []
    if any(int(server["min_slaves_good_slaves"]) < 1 for server in servers):
        faults.append("no replica is in step: writes are refused until one is")
    try:
        answers = await store.everywhere("CONFIG", "GET", "min-replicas-max-lag")
    except GateUnavailable as error:
        if "NOPERM" not in str(error):
            raise
        faults.append("the replicas' lag cannot be read: allow the user `+config|get`")
        return faults
    lag_s = max(int(answer[1]) for answer in answers)
    if lag_s > MAX_LAG_S:
        faults.append(f"a replica may lag too far behind ({lag_s} s): set `min-replicas-max-lag 5`")
    return faults


async def _cluster_faults(store: "Store") -> list[str]:
    (facts, *_) = [fields_of(text) for text in await store.everywhere("CLUSTER", "INFO")]
    faults = []
    if facts.get("cluster_state") != "ok":
        faults.append("the cluster is down: look at `CLUSTER INFO` of its nodes")
    if int(facts.get("cluster_slots_ok", 0)) < SLOTS:
        faults.append(f"not every slot is served: {SLOTS - int(facts.get('cluster_slots_ok', 0))} are not")
    return faults
