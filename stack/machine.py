"""Which machine this is, and which commit of the project: figures mean something beside others of the same alone."""

import os
import platform
import subprocess
from pathlib import Path

from stack.state import PROJECT_ROOT


def identity() -> dict[str, str]:
    """What tells one machine from another."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
    }


def commit() -> str:
    """The short commit of this checkout, empty outside of one."""
    return _git("rev-parse", "--short=10", "HEAD")


def is_changed() -> bool:
    """Whether files of this checkout differ from its commit."""
    return bool(_git("status", "--porcelain", "--untracked-files=no"))


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
