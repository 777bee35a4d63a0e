"""Become another program that dies with its parent: ``python -I -S launch.py PARENT SIGNAL COMMAND...``.

``PR_SET_PDEATHSIG`` makes the kernel send SIGNAL to this process when its parent ends, even by ``kill -9``:
nothing of the stack outlives its supervisor. It survives ``execve`` but not a change of user, therefore this
file runs last, after ``unshare`` or ``setpriv``. ``setpriv --pdeathsig`` alone has a gap: a parent that
dies before the call is never noticed; the look at the parent afterwards closes it.

Limits: the signal is bound to the parent's *thread* (``stack.process`` spawns from the main thread only),
and reaches this process, not its children (the chosen signal makes PostgreSQL and nginx end theirs).
Imports are few on purpose: this costs about 15 ms at each start.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_EXIT_ORPHANED = 125


def main(argv: list[str]) -> None:
    """Tie this process to its parent and replace it by the command."""
    parent_pid, death_signal, command = int(argv[0]), int(argv[1]), argv[2:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:
        sys.exit(_EXIT_ORPHANED)
    os.execvp(command[0], command)  # noqa: S606 - becoming another program is the purpose


if __name__ == "__main__":
    main(sys.argv[1:])
