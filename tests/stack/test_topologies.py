"""The gate store's topologies as servers: they keep their data and their primary, and leave no process behind."""

from pathlib import Path
from typing import Any

import pytest

from backend.gate.cluster import slot_of
from stack.errors import StartError
from stack.servers import ClusterGate, SentinelGate
from tests.support.topologies import cluster_admin


def alive(pids: dict[str, int | None]) -> list[str]:
    found = []
    for name, pid in pids.items():
        if pid is not None and Path(f"/proc/{pid}").exists():
            found.append(name)
    return found


async def test_sentinel_keeps_data_and_primary_over_a_failover_and_a_restart(tmp_path: Path) -> None:
    servers = SentinelGate(tmp_path)
    async with servers:
        old = await servers.primary()
        async with old.admin() as admin:
            await admin.set("kept", "1")
        await servers.wait_for_replicas()
        old.kill()
        assert servers.pids[old.name] is None
        new = await servers.wait_for_failover(old)
        await servers.restart(old)
        await servers.wait_for_replicas()
        async with new.admin() as admin:
            await admin.set("later", "2")
        pids = servers.pids
        assert len(alive(pids)) == 5
    assert alive(pids) == []
    async with servers:
        primary = await servers.primary()
        assert primary is new
        async with primary.admin() as admin:
            assert await admin.mget("kept", "later") == [b"1", b"2"]


async def test_a_cluster_keeps_data_over_a_restart(tmp_path: Path) -> None:
    servers = ClusterGate(tmp_path)
    async with servers:
        client = cluster_admin(servers)
        for number in range(30):
            await client.set(f"key:{number}", number)
        await client.aclose()
        assert {(await servers.primary_of(slot_of(f"key:{number}"))).name for number in range(30)} == {
            "gate-1", "gate-2", "gate-3",
        }  # fmt: skip
        pids = servers.pids
        assert len(alive(pids)) == 6
    assert alive(pids) == []
    async with servers:
        client = cluster_admin(servers)
        assert [await client.get(f"key:{number}") for number in range(30)] == [b"%d" % n for n in range(30)]
        await client.aclose()


@pytest.mark.parametrize("kind", [SentinelGate, ClusterGate])
async def test_frozen_members_are_ended_too(tmp_path: Path, kind: type[Any]) -> None:
    servers = kind(tmp_path)
    await servers.start()
    pids = servers.pids
    try:
        for member in servers.members:
            member.freeze()
        stat = Path(f"/proc/{servers.members[0].pid}/stat").read_text()
        assert stat.rpartition(") ")[2].startswith("T")
    finally:
        await servers.stop()
    assert alive(pids) == []


@pytest.mark.parametrize("kind", [SentinelGate, ClusterGate])
async def test_a_failed_start_leaves_nothing_running(tmp_path: Path, kind: type[Any], monkeypatch: Any) -> None:
    servers = kind(tmp_path)
    last = servers.members[-1]
    monkeypatch.setattr(last, "further_config", lambda: ["no-such-setting yes"])
    with pytest.raises(StartError):
        await servers.start()
    assert alive(servers.pids) == []
