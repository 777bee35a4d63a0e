"""Where a run took place: figures mean something beside others of the same machine alone."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from stack import machine
from stack.binaries import find_gate_server, find_nginx, find_postgres

PACKAGES = ("uvicorn", "uvloop", "httptools", "fastapi", "redis", "hiredis", "asyncpg", "sqlalchemy", "dramatiq")
UNKNOWN = "unknown"


def facts() -> dict[str, str]:
    """Cores, kernel, versions of servers and packages."""
    return {
        **machine.identity(),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB",
        "Python": platform.python_version(),
        "gate store": _said(find_gate_server(), "--version"),
        "PostgreSQL": _said(find_postgres().postgres, "--version"),
        "nginx": _said(find_nginx(), "-v").removeprefix("nginx version: "),
        **{name: version(name) for name in PACKAGES},
    }


def commit() -> tuple[str, bool]:
    """The short commit of this checkout, and whether files differ from it; ``unknown`` outside of one."""
    return machine.commit() or UNKNOWN, machine.is_changed()


def _said(binary: Path, flag: str) -> str:
    done = subprocess.run([binary, flag], capture_output=True, text=True, check=False)  # noqa: S603 - found by us
    return (done.stdout or done.stderr).strip().splitlines()[0]
