"""What a data folder says about the stack in it: who owns it, which processes, which environment.

``load_env`` is the door for commands that talk to a running stack.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from stack.errors import DataDirInUseError, StackError, StackNotRunningError
from stack.files import make_private_dir, read_json, write_private_json

PROJECT_ROOT = Path(__file__).parents[1]
ENV_PREFIX = "STAMPEDE_"
# A look from outside holds the lock for microseconds; a supervisor holds it for its life.
_LOCK_ATTEMPTS = 10
_LOCK_RETRY_S = 0.05


@dataclass(frozen=True)
class ProcessRow:
    """One running process of the stack."""

    role: str
    name: str
    pid: int


def default_data_dir() -> Path:
    """``data`` in the project's root."""
    return PROJECT_ROOT / "data"


@contextlib.contextmanager
def own_data_dir(data_dir: Path) -> Iterator[None]:
    """Be the only supervisor in the folder; the kernel ends that with the process.

    Raises DataDirInUseError, naming the other one.
    """
    make_private_dir(data_dir)
    descriptor = os.open(_lock_path(data_dir), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for attempt in range(_LOCK_ATTEMPTS):
            if _try_lock(descriptor):
                break
            if attempt + 1 == _LOCK_ATTEMPTS:
                owner = os.read(descriptor, 32).decode().strip()
                msg = f"a stack (process {owner}) already runs in {data_dir}: stop it, or choose another --data-dir"
                raise DataDirInUseError(msg)
            time.sleep(_LOCK_RETRY_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_running(data_dir: Path) -> bool:
    """Whether a supervisor owns the folder."""
    try:
        descriptor = os.open(_lock_path(data_dir), os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def save_env(data_dir: Path, env: Mapping[str, str]) -> None:
    """Keep the stack's environment for commands (mode 0600: it holds passwords)."""
    write_private_json(_env_path(data_dir), dict(env))


def load_env(data_dir: Path) -> dict[str, str]:
    """The ``STAMPEDE_*`` variables of the stack that runs in the folder. StackNotRunningError if none does."""
    _require_running(data_dir)
    env: dict[str, str] | None = read_json(_env_path(data_dir), default=None)
    if env is None:
        msg = f"the stack in {data_dir} is still starting: try again in a moment"
        raise StackNotRunningError(msg)
    return env


def command_env(data_dir: Path | None) -> dict[str, str]:
    """The ``STAMPEDE_*`` variables a command works with.

    A named folder means the stack that runs there. Otherwise the process's own environment counts when it
    names a database (that is production), and the default folder's stack when it does not.
    """
    own = {key: value for key, value in os.environ.items() if key.startswith(ENV_PREFIX)}
    if data_dir is None and {"STAMPEDE_DATABASE_URL", "STAMPEDE_OWNER_DATABASE_URL"} & own.keys():
        return own
    return load_env(data_dir or default_data_dir())


def adopt_env(env: Mapping[str, str]) -> None:
    """Put a stack's variables in place of this process's own, for code that reads settings."""
    for key in [key for key in os.environ if key.startswith(ENV_PREFIX)]:
        del os.environ[key]
    os.environ.update(env)


def save_processes(data_dir: Path, rows: list[ProcessRow]) -> None:
    """Write the list that ``stampede ps`` reads."""
    write_private_json(_processes_path(data_dir), [asdict(row) for row in rows])


def load_processes(data_dir: Path) -> list[ProcessRow]:
    """The processes of the stack that runs in the folder. StackNotRunningError if none does."""
    _require_running(data_dir)
    return [ProcessRow(**row) for row in read_json(_processes_path(data_dir), default=[])]


def forget(data_dir: Path) -> None:
    """Remove what is true of a running stack alone."""
    for path in (_env_path(data_dir), _processes_path(data_dir)):
        path.unlink(missing_ok=True)


def child_env(env: Mapping[str, str]) -> dict[str, str]:
    """A child's whole environment: ours without any ``STAMPEDE_*``, then exactly these.

    So that what a developer has exported for one stack never leaks into another.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(ENV_PREFIX)}
    return {**inherited, "PYTHONUNBUFFERED": "1", **env}


def _require_running(data_dir: Path) -> None:
    if not is_running(data_dir):
        msg = f"no stack runs in {data_dir}: start one with `stampede up --data-dir {data_dir}`"
        raise StackNotRunningError(msg)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        msg = "the data folder's file system has no locks: choose another --data-dir"
        raise StackError(msg) from error
    return True


def _lock_path(data_dir: Path) -> Path:
    return data_dir / "lock"


def _env_path(data_dir: Path) -> Path:
    return data_dir / "env.json"


def _processes_path(data_dir: Path) -> Path:
    return data_dir / "processes.json"
