"""The platform that is measured: the local stack's own servers, without the two that no shopper waits for."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stack.errors import StackError
from stack.load import Address
from stack.local import LocalOptions, LocalStack
from stack.roles import HttpServer
from stack.servers import Server
from stack.supervisor import Stage

LEFT_OUT = frozenset({"console", "smtp"})
"""Streamlit and the mail server: idle here, and they take memory and seconds to start."""
MAIL = "STAMPEDE_NOTIFY_EMAIL_URL"
BACKLOG_MAX = 2_000_000
"""The drain is measured on journals filled beforehand; the default bound would refuse to fill them."""


class Platform(LocalStack):
    """The local stack with its servers at hand.

    No mail channel is configured: an order's outbox row is part of its price, delivering the message is not, and
    500 of them a second would run beside whatever is measured next.
    """

    def __init__(self, data_dir: Path, *, api_processes: int = 1) -> None:
        super().__init__(
            LocalOptions(
                data_dir,
                api_processes=api_processes,
                log_level="warning",
                extra_env={"STAMPEDE_BACKLOG_MAX": str(BACKLOG_MAX)},
            )
        )
        self._servers: dict[str, Server] = {}
        self._further: list[Server] = []

    def _environment(self, *servers: Any) -> dict[str, str]:
        env = super()._environment(*servers)
        del env[MAIL]
        return env

    def _stages(self) -> Sequence[Stage]:
        stages = [
            Stage([server for server in stage.servers if server.name not in LEFT_OUT], stage.after)
            for stage in super()._stages()
        ]
        self._servers = {server.name: server for stage in stages for server in stage.servers}
        return stages

    @property
    def api(self) -> list[Address]:
        """Where the API processes listen, without the edge before them."""
        return [Address(server.port) for server in self._of_role("api")]

    @property
    def edge(self) -> Address:
        """Where the edge listens."""
        return Address(self._servers["edge"].port)

    @property
    def pids(self) -> Mapping[str, list[int]]:
        """Process ids by role. Raises StackError when one does not run just now."""
        found: dict[str, list[int]] = {}
        for server in (*self._servers.values(), *self._further):
            if server.pid is None:
                raise StackError(f"{server.name} does not run; see {server.log_path}")
            found.setdefault(server.role, []).append(server.pid)
        return found

    def _of_role(self, role: str) -> list[Server]:
        return [server for server in (*self._servers.values(), *self._further) if server.role == role]

    async def add_api(self) -> Server:
        """One more API process behind nobody: for a load that spreads itself. ``remove`` it again."""
        name = f"api-further-{len(self._further) + 1}"
        env = {key: value for key, value in self.env.items() if key != "STAMPEDE_OWNER_DATABASE_URL"}
        server = HttpServer(name, "api", self.data_dir, "backend.main", env=env)
        await server.start()
        self._further.append(server)
        return server

    async def remove(self, server: Server) -> None:
        """End a process that ``add_api`` began."""
        self._further.remove(server)
        await server.stop()

    async def remove_all(self) -> None:
        """End everything that ``add_api`` began."""
        await asyncio.gather(*(self.remove(server) for server in list(self._further)))
