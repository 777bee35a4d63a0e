"""The profiles sentinel and cluster without containers: their very commands, on loopback's many addresses.

``STAMPEDE_SHARDS_NET`` is a corner of 127.0.0.0/8 that is this test's, so every server has the address and the port
that it has in its container.
"""

import asyncio
import os
import random
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from backend.gate import Gate, GateUnavailable, LaneId
from stack.binaries import find_gate_server
from stack.process import Process, run_to_end
from stack.state import PROJECT_ROOT
from tests.deploy.entry import entrypoint
from tests.deploy.project import load, read_env_file, services
from tests.support.lane import Lane

WITHIN_S = 90
_PASSWORD = "0123456789abcdef" * 4


def _free_network() -> str:
    """Three numbers of 127.x.y that nobody listens in."""
    for _ in range(50):
        network = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}"
        with socket.socket() as probe:
            try:
                probe.bind((f"{network}.21", 6379))
            except OSError:
                continue
            return network
    raise AssertionError("no free network")


class Deployment:
    """The services of one profile, as processes."""

    def __init__(self, profile: str, folder: Path) -> None:
        self.folder = folder
        self.network = _free_network()
        environment = {**read_env_file(), "STAMPEDE_SHARDS_NET": self.network}
        example = (PROJECT_ROOT / "deploy" / "env.example").read_text().replace("172.29.71", self.network)
        (at,) = re.findall(rf"profile {profile}: redis\+{profile} .*\n#\s+(\S+)", example)
        environment |= {"STAMPEDE_GATE_SCHEME": f"redis+{profile}", "STAMPEDE_GATE_AT": at}
        self.project = load(environment)
        self.mine = {name: one for name, one in services(self.project).items() if profile in one.get("profiles", [])}
        self.processes: dict[str, Process] = {}
        (folder / "secrets").mkdir()
        (folder / "members").mkdir()
        for secret in self.project["secrets"]:
            (folder / "secrets" / secret).write_text(_PASSWORD + "\n")

    @property
    def gate_url(self) -> str:
        """What the API gets, after its entry point."""
        environment = services(self.project)["api"]["environment"]
        return entrypoint.expand({"STAMPEDE_GATE_URL": environment["STAMPEDE_GATE_URL"]}, self.folder / "secrets")[
            "STAMPEDE_GATE_URL"
        ]

    async def one_shot(self, name: str) -> None:
        """Run a service that ends."""
        command = [self._here(name, str(word)) for word in self.mine[name]["command"]]
        assert command[0] == "python"
        process = Process([sys.executable, *command[1:]], log_path=self._log(name), cwd=PROJECT_ROOT)
        await run_to_end(process, timeout_s=3 * WITHIN_S, what=name)

    def start(self, name: str) -> None:
        """Start a server as its container would."""
        (self.folder / name).mkdir(exist_ok=True)
        words = [self._here(name, str(word)) for word in self.mine[name]["entrypoint"]]
        if words[0] == "valkey-server":
            words[0] = str(find_gate_server())
        env = {
            **os.environ,
            "VALKEY_SERVER": str(find_gate_server()),
            "MEMBERS_DIR": str(self.folder / "members"),
            "SENTINEL_DIR": str(self.folder / name),
        }
        process = Process(words, log_path=self._log(name), env=env, cwd=self.folder / name)
        process.spawn()
        self.processes[name] = process

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def _here(self, name: str, word: str) -> str:
        for there, here in {
            "/run/secrets": self.folder / "secrets",
            "/etc/stampede/members": self.folder / "members",
            "/etc/stampede/sentinel.sh": PROJECT_ROOT / "deploy" / "sentinel.sh",
        }.items():
            word = word.replace(there, str(here))
        return word

    def own_folders(self, config: str) -> None:
        """Each container has a volume of its own at /data: here each rendered file gets a folder of its own."""
        for name, one in self.mine.items():
            address = one.get("environment", {}).get("ADDRESS")
            path = self.folder / "members" / f"{address}.conf"
            if address and config in str(one["volumes"]):
                text = path.read_text()
                assert 'dir "/data"' in text or "dir /data" in text, text
                path.write_text(text.replace("/data", str(self.folder / name)))

    async def sentinels_know_everybody(self) -> bool | None:
        """They learn of replicas and of each other within seconds, and write it down."""
        for name in ("sentinel-1", "sentinel-2", "sentinel-3"):
            learned = (self.folder / name / "sentinel.conf").read_text()
            if learned.count("known-replica") < 2 or learned.count("known-sentinel") < 2:
                return None
        return True

    async def stop(self) -> None:
        await asyncio.gather(*(process.stop(3) for process in self.processes.values()))


@asynccontextmanager
async def deployed(profile: str, folder: Path) -> AsyncIterator[Deployment]:
    one = Deployment(profile, folder)
    try:
        await one.one_shot(f"{profile}-config")
        one.own_folders(f"{profile}-config")
        for name, service in one.mine.items():
            if service.get("restart") != "no":
                one.start(name)
        yield one
    finally:
        await one.stop()


async def eventually(what: str, look: Callable[[], Awaitable[Any]]) -> Any:
    until = time.monotonic() + WITHIN_S
    while True:
        try:
            if (found := await look()) is not None:
                return found
        except (GateUnavailable, OSError, TimeoutError) as error:
            what = f"{what.partition(' (')[0]} ({error})"
        assert time.monotonic() < until, f"{what}: not within {WITHIN_S} s"
        await asyncio.sleep(0.2)


async def _fit(gate: Gate) -> bool | None:
    faults = await gate.fitness()
    return True if not faults else None


async def _sells(gate: Gate) -> None:
    """Load a lane and sell a unit of it: every script that a sale begins with."""
    lane = Lane(gate, None)
    lane.lane_id = LaneId(uuid4())
    await lane.load(3)
    assert (await gate.read(lane.lane_id)).available == 3


@pytest.mark.parametrize("profile", ["sentinel", "cluster"])
async def test_it_is_fit_for_a_sale_and_survives_its_primary(profile: str, tmp_path: Path) -> None:
    async with deployed(profile, tmp_path) as one:
        if profile == "cluster":
            await one.one_shot("cluster-join")
            await one.one_shot("cluster-join")  # safe to repeat
        gate = Gate.connect(one.gate_url, timeout_s=5.0, name="tests")
        try:
            await eventually("readiness", lambda: _fit(gate))
            await _sells(gate)
            if profile == "sentinel":
                await eventually("sentinels that know everybody", one.sentinels_know_everybody)
            first = "store-1" if profile == "sentinel" else "node-1"
            one.processes[first].kill()

            async def sells_again() -> bool:
                await _sells(gate)
                return True

            await eventually("a lane after the primary's death", sells_again)
            one.start(first)
            await eventually("readiness with everybody back", lambda: _fit(gate))
            if profile == "cluster":
                await one.one_shot("cluster-join")  # as every `docker compose up` does
        finally:
            await gate.close()


def test_addresses_in_the_example_are_those_of_the_services() -> None:
    """What somebody copies from env.example reaches every sentinel, and every node."""
    example = (PROJECT_ROOT / "deploy" / "env.example").read_text()
    known = services(load())
    for profile, kind in (("sentinel", "sentinel-"), ("cluster", "node-")):
        (at,) = re.findall(rf"profile {profile}: redis\+{profile} .*\n#\s+(\S+)", example)
        named = re.findall(r"(172\.29\.71\.\d+):", at)
        assert named == [
            one["networks"]["shards"]["ipv4_address"] for name, one in known.items() if re.fullmatch(rf"{kind}\d", name)
        ]


def test_every_member_is_rendered_and_listens_where_it_is() -> None:
    known = services(load())
    for profile in ("sentinel", "cluster"):
        words = " ".join(known[f"{profile}-config"]["command"])
        rendered = re.findall(r"--(?:member|sentinel)=(\S+)", words)
        mine = [
            one
            for one in known.values()
            if profile in one.get("profiles", []) and "ADDRESS" in one.get("environment", {})
        ]
        assert rendered == [one["networks"]["shards"]["ipv4_address"] for one in mine]
        assert rendered == [one["environment"]["ADDRESS"] for one in mine]
        for one in mine:
            assert one["environment"]["ADDRESS"] in " ".join(one["entrypoint"])
