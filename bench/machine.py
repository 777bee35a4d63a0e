"""Where a run took place: figures mean something beside others of the same machine alone."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from stack.binaries import find_gate_server, find_nginx, find_postgres
from stack.state import PROJECT_ROOT

PACKAGES = ("uvicorn", "uvloop", "httptools", "fastapi", "redis", "hiredis", "asyncpg", "sqlalchemy", "dramatiq")
UNKNOWN = "unknown"


def facts() -> dict[str, str]:
    """Cores, kernel, versions of servers and packages."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "gate store": _said(find_gate_server(), "--version"),
        "PostgreSQL": _said(find_postgres().postgres, "--version"),
        "nginx": _said(find_nginx(), "-v").removeprefix("nginx version: "),
        **{name: version(name) for name in PACKAGES},
    }


def commit() -> tuple[str, bool]:
    """The short commit of this checkout, and whether files differ from it; ``unknown`` outside of one."""
    short = _git("rev-parse", "--short=10", "HEAD")
    return short or UNKNOWN, bool(_git("status", "--porcelain", "--untracked-files=no"))


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            ["git", *arguments],  # noqa: S607 - whichever git there is
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _said(binary: Path, flag: str) -> str:
    done = subprocess.run([binary, flag], capture_output=True, text=True, check=False)  # noqa: S603 - found by us
    return (done.stdout or done.stderr).strip().splitlines()[0]
