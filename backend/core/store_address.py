"""Where the gate store is: one address says which topology it has.

    redis://user:password@host:6379/0                                                              standalone
    redis+sentinel://user:password@host:26379,host:26379,host:26379/service?db=0&sentinel_username=…&sentinel_password=…
    redis+cluster://user:password@host:6379,host:6379,host:6379

``rediss`` in place of ``redis`` asks for TLS, with ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``,
``ssl_cert_reqs`` and ``ssl_check_hostname`` in the query. ``acks=N`` (default 1) is how many replicas of a primary must
have a write before a sale with durability ``acknowledged`` answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self
from urllib.parse import parse_qsl, unquote

HostPort = tuple[str, int]

_SENTINEL_PORT = 26379
_REDIS_PORT = 6379
_ACKS_MAX = 5
_TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})
_SENTINEL_OPTIONS = frozenset({"db", "sentinel_username", "sentinel_password", "acks"})
_FORMS = "use redis://host:port/0, redis+sentinel://host:port,host:port/service or redis+cluster://host:port,host:port"


class StoreTopology(StrEnum):
    """How the gate store is kept."""

    STANDALONE = "standalone"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A parsed address. ``hosts`` are the server, the sentinels, or some nodes of the cluster."""

    topology: StoreTopology
    hosts: tuple[HostPort, ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    service: str = ""
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: Mapping[str, str] | None = None
    """The query's TLS options; None for a plain connection."""
    acks: int = 1

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read an address. Raises ValueError, whose text says what is wrong and holds no password."""
        scheme, _, rest = url.partition("://")
        base, _, kind = scheme.partition("+")
        if base not in ("redis", "rediss") or kind not in ("", "sentinel", "cluster") or not rest:
            raise ValueError(_FORMS)
        rest, _, query = rest.partition("?")
        authority, _, path = rest.partition("/")
        credentials, _, hosts = authority.rpartition("@")
        username, _, password = credentials.partition(":")
        topology = StoreTopology(kind or "standalone")
        options = _options(query, topology, tls=base == "rediss")
        path = unquote(path)
        return cls(
            topology,
            _hosts(hosts, _SENTINEL_PORT if topology is StoreTopology.SENTINEL else _REDIS_PORT, topology),
            username=unquote(username) or None,
            password=unquote(password) or None,
            database=_database(topology, path, options),
            service=_service(topology, path),
            sentinel_username=options.get("sentinel_username") or None,
            sentinel_password=options.get("sentinel_password") or None,
            tls={name: value for name, value in options.items() if name in _TLS_OPTIONS} if base == "rediss" else None,
            acks=_number("acks", options.get("acks", "1"), 1, _ACKS_MAX),
        )


def _options(query: str, topology: StoreTopology, *, tls: bool) -> dict[str, str]:
    allowed = _TLS_OPTIONS if tls else frozenset()
    if topology is StoreTopology.SENTINEL:
        allowed |= _SENTINEL_OPTIONS
    else:
        allowed |= {"acks", "db"} if topology is StoreTopology.STANDALONE else {"acks"}
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - allowed)
    if unknown:
        raise ValueError(f"a {topology} address takes no option {', '.join(unknown)[:100]}")
    return options


def _hosts(text: str, default_port: int, topology: StoreTopology) -> tuple[HostPort, ...]:
    hosts = tuple(_host(one, default_port) for one in text.split(","))
    if topology is StoreTopology.STANDALONE and len(hosts) > 1:
        raise ValueError("redis:// takes one host; several are for redis+sentinel:// and redis+cluster://")
    if len(set(hosts)) < len(hosts):
        raise ValueError("a host stands twice in the list")
    return hosts


def _host(text: str, default_port: int) -> HostPort:
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError("an IPv6 address ends with ]")
        port = port[1:]
    else:
        host, _, port = text.partition(":")
    if not host or any(character.isspace() for character in host):
        raise ValueError(f"a host is missing: {_FORMS}")
    return host, _number("port", port, 1, 65_535) if port else default_port


def _database(topology: StoreTopology, path: str, options: Mapping[str, str]) -> int:
    if topology is StoreTopology.STANDALONE:
        return _number("database", path or options.get("db", "0"), 0, 15)
    return _number("db", options.get("db", "0"), 0, 15)


def _service(topology: StoreTopology, path: str) -> str:
    if topology is StoreTopology.SENTINEL:
        if not path or "/" in path:
            raise ValueError("name the service after the sentinels: redis+sentinel://host:port,host:port/service")
        return path
    if topology is StoreTopology.CLUSTER and path not in ("", "0"):
        raise ValueError("a cluster has database 0 alone")
    return ""


def _number(name: str, text: str, low: int, high: int) -> int:
    # isascii: int() takes other scripts' digits too.
    if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
        raise ValueError(f"{name} is a number from {low} to {high}")
    return int(text)
