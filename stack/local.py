"""The whole platform on this machine: which processes, in which order, with which settings."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from stack.errors import StartError
from stack.files import SecretBook
from stack.process import Process, run_to_end
from stack.roles import ConsoleServer, HttpServer, PortServer, PythonServer
from stack.servers import EdgeServer, GateServer, PostgresServer, RabbitmqServer, Server
from stack.servers.base import LOOPBACK, http_status
from stack.state import PROJECT_ROOT, child_env, save_env
from stack.supervisor import Stage, Supervisor

_T = TypeVar("_T")
DEFAULT_PORT = 8080
READY_PATH = "/api/v1/health/ready"
_LEAST_API_PROCESSES = 2
_MOST_API_PROCESSES = 8
_MIGRATION_TIMEOUT_S = 120
_READY_TIMEOUT_S = 60
_READY_INTERVAL_S = 0.05
_HTTP_OK = 200
# Slow messages must not delay orders: the two kinds of queues have a process each.
_WORKER_QUEUES = {"worker-orders": "orders,release,control", "worker-notify": "notify,pages"}
# What the console may know: it speaks HTTP alone.
_CONSOLE_VARIABLES = ("STAMPEDE_ENVIRONMENT", "STAMPEDE_API_URL", "STAMPEDE_PUBLIC_URL", "STAMPEDE_LOG_LEVEL")


def default_api_processes() -> int:
    """One per core; two even on one core, so that the other answers while one is restarted."""
    return min(max(len(os.sched_getaffinity(0)), _LEAST_API_PROCESSES), _MOST_API_PROCESSES)


@dataclass(frozen=True)
class LocalOptions:
    """What can be chosen. ``port`` None: the port of last time, else 8080, else a free one."""

    data_dir: Path
    port: int | None = None
    api_processes: int = field(default_factory=default_api_processes)
    log_level: str = "info"
    # Where jobs go: the gate store's second database, or a RabbitMQ of the stack's own (Debian's package).
    broker: Literal["redis", "rabbitmq"] = "redis"
    # Further STAMPEDE_* variables for API, workers and clock.
    extra_env: Mapping[str, str] = field(default_factory=dict)


class LocalStack:
    """The platform in one data folder; ``run`` is its whole life.

    ``url``, ``env``, ``maildir`` and ``pages_dir`` may be used by what ``run`` is given to do.
    """

    url: str
    env: dict[str, str]

    def __init__(self, options: LocalOptions) -> None:
        """Describe; nothing runs and no port is taken yet."""
        self.options = options
        self.data_dir = options.data_dir.absolute()
        self.pages_dir = self.data_dir / "pages"
        self.maildir = self.data_dir / "mail"

    async def run(self, body: Callable[[], Awaitable[_T]]) -> _T | None:
        """Start, run ``body`` once the stack is ready, stop. See ``Supervisor.run``."""
        return await Supervisor(self.data_dir, self._stages).run(body, ready=self._wait_ready)

    def _stages(self) -> Sequence[Stage]:
        """All servers, in order. Called once the data folder is ours: it claims the ports."""
        postgres = PostgresServer(self.data_dir)
        gate = GateServer(self.data_dir)
        rabbitmq = RabbitmqServer(self.data_dir) if self.options.broker == "rabbitmq" else None
        smtp = PortServer("smtp", "smtp", self.data_dir, "stack.smtp", "--maildir", str(self.maildir), env={})
        # The environment names the edge's port, and the edge is told the ports of what stands behind it:
        # descriptions first, addresses second.
        env: dict[str, str] = {}
        api = [
            HttpServer(f"api-{number}", "api", self.data_dir, "backend.main", env=env, measured=True)
            for number in range(1, self.options.api_processes + 1)
        ]
        console_env: dict[str, str] = {}
        console = ConsoleServer("console", "console", self.data_dir, "console", env=console_env)
        edge = EdgeServer(
            self.data_dir,
            api_ports=tuple(server.port for server in api),
            console_port=console.port,
            pages_dir=self.pages_dir,
            port=self.options.port,
            preferred_port=DEFAULT_PORT,
        )
        env.update(self._environment(postgres, gate, smtp, edge))
        if rabbitmq is not None:
            env["STAMPEDE_BROKER_URL"] = rabbitmq.url
        console_env.update({key: env[key] for key in _CONSOLE_VARIABLES})
        self.url = edge.url
        self.env = {**env, "STAMPEDE_OWNER_DATABASE_URL": postgres.owner_url}
        self._edge_port = edge.port
        workers = [
            PythonServer(name, "worker", self.data_dir, "workers", "--queues", queues, env=env, measured=True)
            for name, queues in _WORKER_QUEUES.items()
        ]
        clock = PythonServer("clock", "clock", self.data_dir, "workers.clock", env=env, measured=True)
        services: list[Server] = [smtp, *api, *workers, clock, console]
        stores: list[Server] = [postgres, gate, *([rabbitmq] if rabbitmq else [])]
        return [Stage(stores, after=self._migrate), Stage(services), Stage([edge])]

    def _environment(
        self, postgres: PostgresServer, gate: GateServer, smtp: Server, edge: EdgeServer
    ) -> dict[str, str]:
        return {
            "STAMPEDE_ENVIRONMENT": "local",
            "STAMPEDE_SECRET_KEY": SecretBook(self.data_dir).get("secret_key"),
            "STAMPEDE_DATABASE_URL": postgres.app_url,
            "STAMPEDE_GATE_URL": gate.url,
            "STAMPEDE_BROKER_URL": gate.broker_url,
            "STAMPEDE_PUBLIC_URL": edge.url,
            "STAMPEDE_API_URL": edge.url,
            "STAMPEDE_PAGES_DIR": str(self.pages_dir),
            "STAMPEDE_NOTIFY_EMAIL_URL": f"mailto://{LOOPBACK}:{smtp.port}?from=shop@example.org",
            "STAMPEDE_LOG_LEVEL": self.options.log_level,
            **self.options.extra_env,
        }

    async def _migrate(self) -> None:
        """Bring the database to the newest revision, before anything of ours looks at it."""
        save_env(self.data_dir, self.env)
        process = Process(
            [sys.executable, "-m", "migrations"],
            log_path=self.data_dir / "logs" / "migrations.log",
            env=child_env(self.env),
            cwd=PROJECT_ROOT,
        )
        await run_to_end(process, timeout_s=_MIGRATION_TIMEOUT_S, what="python -m migrations")

    async def _wait_ready(self) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        status = 0
        while time.monotonic() < deadline:
            try:
                status = await http_status(self._edge_port, READY_PATH)
            except OSError:
                status = 0
            if status == _HTTP_OK:
                return
            await asyncio.sleep(_READY_INTERVAL_S)
        msg = f"{READY_PATH} still answers {status} after {_READY_TIMEOUT_S} s; see {self.data_dir / 'logs'}"
        raise StartError(msg)
