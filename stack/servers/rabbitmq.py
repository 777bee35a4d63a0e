"""RabbitMQ from the Debian package: a broker for tests, and for who asks the local stack for it.

Its Erlang machine talks to a port mapper (epmd), which Erlang starts as a daemon that outlives everybody and is shared
by the whole machine. Here each server has a port mapper of its own, on a port of its own, as a child that ends with it.
"""

import os
import re
import signal
from pathlib import Path

from stack.binaries import find_rabbitmq
from stack.errors import StackError
from stack.files import SecretBook, make_private_dir, write_private
from stack.ports import PortBook, PortClaim
from stack.process import Process, run_to_end
from stack.servers.base import LOOPBACK, Server, tcp_answers

USER = "stampede"
_NODE = "stampede@localhost"
_VIRTUAL_HOST = "%2f"
_CONTROL_TIMEOUT_S = 20
# With an apostrophe in the path the server begins to start, and waits for ever.
_SAFE_PATH = re.compile(r"[\w /.+@=-]+")
# The application's user gets every right in the one virtual host and none of administration.
_CONFIG = """\
listeners.tcp.1 = {host}:{port}
default_user = {user}
default_pass = {password}
default_user_tags.administrator = false
log.console = true
log.console.level = warning
log.file = false
vm_memory_high_watermark.absolute = {memory}
disk_free_limit.absolute = 50MB
"""


class RabbitmqServer(Server):
    """One RabbitMQ node, not clustered, without plugins."""

    role = "broker"
    # Four seconds of processor time: on a machine that does much else that takes a while.
    start_timeout_s = 120.0
    stop_grace_s = 5.0

    def __init__(
        self, data_dir: Path, *, name: str = "rabbitmq", port: int | None = None, memory: str = "512MB"
    ) -> None:
        """Keep its data in ``data_dir/<name>``. Above ``memory`` it stops reading from whoever sends."""
        super().__init__(name, data_dir, port=port)
        self._folder = self.data_dir / name
        self._memory = memory
        secrets = SecretBook(self.data_dir)
        self._password = secrets.get(f"{name}_password")
        self._cookie = secrets.get(f"{name}_cookie")
        self._further: dict[str, PortClaim] = {}
        self._port_mapper: Process | None = None

    @property
    def url(self) -> str:
        """The broker, as the application's user."""
        return f"amqp://{USER}:{self._password}@{LOOPBACK}:{self.port}/{_VIRTUAL_HOST}"

    async def prepare(self) -> None:
        """Write configuration and cookie, and start the port mapper."""
        find_rabbitmq()  # first: its error says what to install
        if not _SAFE_PATH.fullmatch(str(self._folder)):
            msg = f"RabbitMQ's scripts cannot be told the path {self._folder}: choose another --data-dir"
            raise StackError(msg)
        make_private_dir(self._folder)
        config = _CONFIG.format(host=LOOPBACK, port=self.port, user=USER, password=self._password, memory=self._memory)
        write_private(self._folder / "rabbitmq.conf", config)
        write_private(self._folder / ".erlang.cookie", self._cookie)
        (self._folder / ".erlang.cookie").chmod(0o400)
        self._port_mapper = Process(
            [str(find_rabbitmq().port_mapper), "-port", str(self._further_port("epmd")), "-address", LOOPBACK],
            log_path=self.data_dir / "logs" / f"{self.name}-epmd.log",
            cwd=self._folder,
        )
        self._port_mapper.spawn()

    def process(self) -> Process:
        """The package's own script, which becomes the Erlang machine; SIGTERM is its clean shutdown."""
        return Process(
            [str(find_rabbitmq().server), "-noinput"],
            log_path=self.log_path,
            env=self._env(),
            cwd=self._folder,
            stop_signal=signal.SIGTERM,
        )

    async def probe(self) -> bool:
        """Accepts connections: it listens last."""
        return await tcp_answers(self.port)

    async def control(self, *arguments: str) -> None:
        """``rabbitmqctl ARGUMENTS``. StartError, with its output, when it fails."""
        process = Process(
            [str(find_rabbitmq().control), "--node", _NODE, *arguments],
            log_path=self.data_dir / "logs" / f"{self.name}-control.log",
            env=self._env(),
            cwd=self._folder,
        )
        await run_to_end(process, timeout_s=_CONTROL_TIMEOUT_S, what=f"rabbitmqctl {arguments[0]}")

    async def start(self) -> None:
        """As every server's; a failed start leaves no port mapper behind."""
        try:
            await super().start()
        except BaseException:
            self._end_port_mapper()
            raise

    async def stop(self) -> None:
        """As every server's, with the port mapper."""
        await super().stop()
        for claim in self._further.values():
            claim.release()
        self._further.clear()

    async def _end(self) -> None:
        try:
            await super()._end()
        finally:
            self._end_port_mapper()

    def kill(self) -> None:
        super().kill()
        self._end_port_mapper()

    def _end_port_mapper(self) -> None:
        if self._port_mapper is not None:
            self._port_mapper.kill()
            self._port_mapper = None

    def _further_port(self, what: str) -> int:
        if what not in self._further:
            self._further[what] = PortBook(self.data_dir).claim(f"{self.name}-{what}")
        return self._further[what].port

    def _env(self) -> dict[str, str]:
        # Whatever a developer or the package has set for another RabbitMQ must not reach this one.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
        folder = self._folder
        return {
            **inherited,
            "HOME": str(folder),  # where Erlang looks for its cookie
            "ERL_EPMD_PORT": str(self._further_port("epmd")),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            # Of every Erlang machine below: none starts a port mapper of its own.
            "ERL_ZFLAGS": "-start_epmd false",
            "RABBITMQ_NODENAME": _NODE,
            "RABBITMQ_DIST_PORT": str(self._further_port("dist")),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "config"),
            "RABBITMQ_PLUGINS_EXPAND_DIR": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            # The script becomes the server instead of waiting beside it: a signal reaches the server itself.
            "RABBITMQ_ALLOW_INPUT": "yes",
            # An idle scheduler sleeps instead of spinning; distribution listens on loopback.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
        }
