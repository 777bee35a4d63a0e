"""The edge: nginx on ``deploy/nginx.conf.j2``, the one template for the local stack and for production."""

import math
import os
import resource
import signal
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from stack.binaries import find_nginx
from stack.errors import StackError
from stack.files import make_private_dir, write_private
from stack.process import Process
from stack.servers.base import LOOPBACK, Server, tcp_answers

_TEMPLATE = Path(__file__).parents[2] / "deploy" / "nginx.conf.j2"
# A proxied request holds two descriptors; more connections than that cannot be served anyway.
_MOST_DESCRIPTORS = 65_536
_DESCRIPTORS_PER_CONNECTION = 2
# A path with one of these would be read by nginx as something else than a path.
_UNQUOTABLE = frozenset('$"\\\n\r')


@dataclass(frozen=True)
class EdgeLimits:
    """Limits for one client address (an IPv6 /64 counts as one).

    Rates are per second, a burst is served at once. They stop a flood, not a crowd: many shoppers share an
    address behind one gateway, and fairness between shoppers is the gate's work.
    """

    buy_rate: int = 50
    buy_burst: int = 100
    link_rate: int = 50
    link_burst: int = 100
    # Guessing passwords and codes, and each code costs a message.
    sign_in_rate: int = 2
    sign_in_burst: int = 20
    api_rate: int = 100
    api_burst: int = 200
    connections: int = 256
    header_timeout_s: int = 5
    body_timeout_s: int = 5
    body_bytes: int = 65_536


@dataclass(frozen=True)
class EdgeConfig:
    """What the template needs to know.

    ``hosts`` are the names the edge answers to, without port; ``public_port`` is the port that browsers see
    (None for the scheme's own). ``trusted_proxies`` are networks of load balancers in front, whose
    ``X-Forwarded-For`` is believed; from anybody else it is overwritten.
    """

    listen: tuple[str, ...]
    hosts: tuple[str, ...]
    api: tuple[str, ...]
    console: str
    pages_dir: Path
    public_scheme: str = "http"
    public_port: int | None = None
    exempt_loopback: bool = False
    trusted_proxies: tuple[str, ...] = ()
    user: str | None = None
    worker_processes: int = 2
    access_log: Path | None = None
    limits: EdgeLimits = field(default_factory=EdgeLimits)

    @property
    def authorities(self) -> dict[str, str]:
        """Host as it stands in a browser's address line, by the name in a request."""
        suffix = f":{self.public_port}" if self.public_port else ""
        return {host: f"{host}{suffix}" for host in self.hosts}

    @property
    def origins(self) -> list[str]:
        """Origins from which the console may be used."""
        return [f"{self.public_scheme}://{authority}" for authority in self.authorities.values()]


def render_edge_config(config: EdgeConfig) -> str:
    """nginx's configuration. StackError for a path that nginx cannot be told."""
    for path in (config.pages_dir, config.access_log):
        unquotable = _UNQUOTABLE & set(str(path))
        if unquotable:
            msg = f"nginx cannot be told the path {path}: it contains {sorted(unquotable)}"
            raise StackError(msg)
    environment = jinja2.Environment(  # noqa: S701 - the output is no HTML
        loader=jinja2.FileSystemLoader(_TEMPLATE.parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    descriptors = _MOST_DESCRIPTORS if hard_limit == resource.RLIM_INFINITY else min(hard_limit, _MOST_DESCRIPTORS)
    return environment.get_template(_TEMPLATE.name).render(
        edge=config,
        limits=config.limits,
        retry_after_s=2,
        descriptors=descriptors,
        connections=math.floor(descriptors / _DESCRIPTORS_PER_CONNECTION),
    )


class EdgeServer(Server):
    """nginx on the public port, in the foreground, all of its files under ``data_dir/<name>``."""

    role = "edge"
    stop_grace_s = 1.0  # its fast shutdown waits for nobody

    def __init__(
        self,
        data_dir: Path,
        *,
        api_ports: tuple[int, ...],
        console_port: int,
        pages_dir: Path,
        name: str = "edge",
        port: int | None = None,
        preferred_port: int | None = None,
        hosts: tuple[str, ...] = (LOOPBACK, "localhost"),
        exempt_loopback: bool = True,
        trusted_proxies: tuple[str, ...] = (),
        limits: EdgeLimits | None = None,
    ) -> None:
        """Serve ``pages_dir``, and pass requests on to these loopback ports.

        ``exempt_loopback=False`` and ``trusted_proxies`` let a test on this machine be a stranger.
        """
        super().__init__(name, data_dir, port=port, preferred_port=preferred_port)
        self._folder = self.data_dir / name
        self._api_ports = api_ports
        self._console_port = console_port
        self._pages_dir = pages_dir.absolute()
        self._hosts = hosts
        self._exempt_loopback = exempt_loopback
        self._trusted_proxies = trusted_proxies
        self._limits = limits or EdgeLimits()

    @property
    def url(self) -> str:
        """The public origin, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def access_log(self) -> Path:
        """One JSON line per request."""
        return self.data_dir / "logs" / f"{self.name}-access.log"

    @property
    def config(self) -> EdgeConfig:
        """The template's input."""
        return EdgeConfig(
            listen=(f"{LOOPBACK}:{self.port}",),
            hosts=self._hosts,
            api=tuple(f"{LOOPBACK}:{port}" for port in self._api_ports),
            console=f"{LOOPBACK}:{self._console_port}",
            pages_dir=self._pages_dir,
            public_port=self.port,
            exempt_loopback=self._exempt_loopback,
            trusted_proxies=self._trusted_proxies,
            # As root, workers must stay root to read a data folder below a root-only home.
            user="root" if os.geteuid() == 0 else None,
            worker_processes=min(os.cpu_count() or 1, 4),
            access_log=self.access_log,
            limits=self._limits,
        )

    async def prepare(self) -> None:
        """Write the configuration and make the folders it names."""
        make_private_dir(self._folder)
        make_private_dir(self._folder / "temp")
        self.access_log.parent.mkdir(parents=True, exist_ok=True)
        self._pages_dir.mkdir(parents=True, exist_ok=True)
        write_private(self._folder / "nginx.conf", render_edge_config(self.config))

    def process(self) -> Process:
        """The master. SIGTERM ends its workers at once; so does being orphaned."""
        return Process(
            [
                str(find_nginx()),
                *("-p", f"{self._folder}/"),
                *("-c", str(self._folder / "nginx.conf")),
                *("-e", "stderr", "-g", "daemon off;"),
            ],
            log_path=self.log_path,
            cwd=self._folder,
            stop_signal=signal.SIGTERM,
            orphan_signal=signal.SIGTERM,
        )

    async def probe(self) -> bool:
        """Accepts connections."""
        return await tcp_answers(self.port)
