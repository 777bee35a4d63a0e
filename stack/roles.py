"""The platform's own processes, as docs/architecture.md lists them."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from stack.ports import PortBook, PortClaim
from stack.process import Process
from stack.servers.base import LOOPBACK, Server, http_status, tcp_answers
from stack.state import PROJECT_ROOT, child_env

_HTTP_OK = 200
_METRICS_VARIABLE = "STAMPEDE_METRICS_LISTEN"
# A process without a port counts as started when it has lived this long: a missing setting or a failed
# import ends it sooner.
_SETTLE_S = 1.0


class PythonServer(Server):
    """One of our processes: ``python -m MODULE ARGUMENTS`` in the project's root."""

    def __init__(
        self,
        name: str,
        role: str,
        data_dir: Path,
        module: str,
        *arguments: str,
        env: Mapping[str, str],
        measured: bool = False,
    ) -> None:
        """``env`` are all the ``STAMPEDE_*`` variables it gets; ``measured`` adds a port for its metrics."""
        super().__init__(name, data_dir)
        self.role = role
        self._module = module
        self._arguments = arguments
        self._env = env
        self._measured = measured
        self._spawned_at = 0.0
        self._metrics_claim: PortClaim | None = None

    @property
    def metrics_port(self) -> int:
        """Where it tells what it measures; claimed at first use and kept until ``stop``."""
        if self._metrics_claim is None:
            self._metrics_claim = PortBook(self.data_dir).claim(f"{self.name}-metrics")
        return self._metrics_claim.port

    async def stop(self) -> None:
        """End it, and give its ports back."""
        await super().stop()
        if self._metrics_claim is not None:
            self._metrics_claim.release()
            self._metrics_claim = None

    def arguments(self) -> list[str]:
        """The arguments after the module's name."""
        return list(self._arguments)

    def process(self) -> Process:
        """The process, with its variables and no others of ours."""
        self._spawned_at = time.monotonic()
        return Process(
            [sys.executable, "-m", self._module, *self.arguments()],
            log_path=self.log_path,
            env=child_env(self._variables()),
            cwd=PROJECT_ROOT,
        )

    def _variables(self) -> dict[str, str]:
        return {**self._env, _METRICS_VARIABLE: f"{LOOPBACK}:{self.metrics_port}"} if self._measured else {**self._env}

    async def probe(self) -> bool:
        """Has outlived its imports."""
        return time.monotonic() - self._spawned_at >= _SETTLE_S


class PortServer(PythonServer):
    """One that listens on ``--port``: ready when it accepts connections."""

    def arguments(self) -> list[str]:
        """Port first."""
        return ["--port", str(self.port), *super().arguments()]

    async def probe(self) -> bool:
        """Accepts connections."""
        return await tcp_answers(self.port)


class HttpServer(PortServer):
    """One that speaks HTTP: ready when ``health_path`` answers 200."""

    health_path = "/api/v1/health/live"

    async def probe(self) -> bool:
        """Says it lives."""
        return await http_status(self.port, self.health_path) == _HTTP_OK


class ConsoleServer(HttpServer):
    """The console answers on Streamlit's own health route."""

    health_path = "/console/_stcore/health"
