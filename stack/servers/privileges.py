"""How to run PostgreSQL, which refuses to run as root, when we are root.

First choice: a user namespace in which root has another name. The files stay root's, so any data folder
will do, also below a home that only root may enter. Where namespaces are closed (many containers), the user
``nobody``, who keeps one capability of root's: to pass folders and read files that are not his. A plain
user needs neither.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stack.errors import StackError

# `nobody` and `nogroup`: initdb wants a user that exists in the password file.
_NOBODY = 65534
_NAMESPACE = ("unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}")
_TRIAL_TIMEOUT_S = 10


@dataclass(frozen=True)
class Unprivileged:
    """``wrapper`` goes before the command; its files belong to ``uid`` and ``gid`` on disk."""

    wrapper: tuple[str, ...]
    uid: int
    gid: int

    def take_over(self, path: Path) -> None:
        """Make a file or a whole folder belong to the user that PostgreSQL will run as."""
        if os.geteuid() != 0 or path.stat().st_uid == self.uid:
            return
        inside = [Path(folder, name) for folder, names, files in os.walk(path) for name in (*names, *files)]
        for item in (*inside, path):  # the folder itself last: it marks the work as done
            os.chown(item, self.uid, self.gid, follow_symlinks=False)


@cache
def find_unprivileged() -> Unprivileged:
    """The way that works on this machine, tried once."""
    if os.geteuid() != 0:
        return Unprivileged((), os.geteuid(), os.getegid())
    if _works(_NAMESPACE):
        return Unprivileged(_NAMESPACE, 0, 0)
    try:
        nobody = pwd.getpwuid(_NOBODY)
    except KeyError:
        nobody = None
    if nobody is not None and _works(drop := _drop_to(nobody.pw_uid, nobody.pw_gid)):
        return Unprivileged(drop, nobody.pw_uid, nobody.pw_gid)
    msg = (
        "PostgreSQL does not run as root, and neither user namespaces (unshare) nor a change to "
        "the user nobody (setpriv) work here: start the stack as a plain user"
    )
    raise StackError(msg)


def _drop_to(uid: int, gid: int) -> tuple[str, ...]:
    keep = "-all,+dac_override"
    return (
        "setpriv",
        f"--reuid={uid}",
        f"--regid={gid}",
        "--clear-groups",
        f"--inh-caps={keep}",
        f"--ambient-caps={keep}",
        f"--bounding-set={keep}",
    )


def _works(wrapper: tuple[str, ...]) -> bool:
    if shutil.which(wrapper[0]) is None:
        return False
    trial = subprocess.run(  # noqa: S603 - fixed words
        [*wrapper, "true"], capture_output=True, timeout=_TRIAL_TIMEOUT_S, check=False
    )
    return trial.returncode == 0
