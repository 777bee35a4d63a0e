"""Small file systems that a drill fills and heals; in a mount namespace of the harness's own, so none outlives it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

MARK = "STAMPEDE_FAULTS_NAMESPACE"
"""Set in the process that runs inside the namespace; it has no meaning to the product."""
_TIMEOUT_S = 10
_FILLER = "filler"
_BLOCK_BYTES = 4_096


def enter_namespace(module: str) -> None:
    """Begin again inside a mount namespace, where the machine allows that. Returns where it does not, or inside."""
    if MARK in os.environ or os.geteuid() != 0 or shutil.which("unshare") is None:
        return
    wrapper = ["unshare", "--mount", "--propagation", "private"]
    trial = subprocess.run([*wrapper, "true"], capture_output=True, timeout=_TIMEOUT_S, check=False)
    if trial.returncode == 0:
        os.environ[MARK] = "1"
        os.execvp(wrapper[0], [*wrapper, sys.executable, "-m", module, *sys.argv[1:]])


def can_mount() -> bool:
    """Whether small disks can be had here."""
    return MARK in os.environ


class SmallDisk:
    """One tmpfs of a fixed size."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    @property
    def mounted(self) -> bool:
        """Whether ``mount`` was called."""
        return self._folder is not None

    def mount(self, folder: Path, size_bytes: int) -> None:
        """Put an empty file system over a folder."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "tmpfs", str(folder))
        self._folder = folder

    def fill(self) -> None:
        """Write until there is no block left."""
        assert self._folder is not None
        with (self._folder / _FILLER).open("ab", buffering=0) as file:
            for size in (2**20, _BLOCK_BYTES):
                block = bytes(size)
                try:
                    while True:
                        file.write(block)
                except OSError:
                    continue

    def heal(self) -> None:
        """Give the space back."""
        assert self._folder is not None
        (self._folder / _FILLER).unlink(missing_ok=True)

    def unmount(self) -> None:
        """Copy what is there beside it (a failed drill's data is evidence), then take it away."""
        if self._folder is None:
            return
        self.heal()
        kept = self._folder.with_name(f"{self._folder.name}.kept")
        shutil.copytree(self._folder, kept, dirs_exist_ok=True, ignore_dangling_symlinks=True)
        _run("umount", "--lazy", str(self._folder))
        self._folder = None


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
