"""Free loopback ports, claimed for as long as their owner lives and remembered across restarts.

Between "this port is free" and the moment a server binds it, another stack may take it. A claim closes that
gap without a file: it binds the UDP port of the same number, which nobody else of ours can bind at the same
time and which the kernel gives back at the owner's death. Ports come from below 32768, where Linux begins to
hand out ports to outgoing connections, so that no stray connection sits on one after a restart.
"""

import random
import socket
from pathlib import Path

from stack.errors import StackError
from stack.files import read_json, write_private_json

_LOWEST = 20_000
_HIGHEST = 32_000
_ATTEMPTS = 200
_LOOPBACK = "127.0.0.1"


class PortClaim:
    """One port of this process; ``release`` or the end of the process gives it back."""

    def __init__(self, port: int, holder: socket.socket) -> None:
        """Keep the socket that holds the claim."""
        self.port = port
        self._holder = holder

    def release(self) -> None:
        """Let others claim the port."""
        self._holder.close()


class PortBook:
    """The ports of one data folder: the same name gets the same port again while that is free."""

    def __init__(self, data_dir: Path) -> None:
        """Remember ports in ``data_dir/ports.json``."""
        self._path = data_dir / "ports.json"

    def claim(self, name: str, *, wanted: int | None = None, preferred: int | None = None) -> PortClaim:
        """Claim a port for ``name``.

        ``wanted`` is taken or the claim fails with StackError; without it the remembered port, then
        ``preferred``, then any free one.
        """
        if wanted:
            claim = _try_claim(wanted)
            if claim is None:
                msg = f"port {wanted} is in use: choose another with --port, or leave it out"
                raise StackError(msg)
        else:
            claim = self._claim_any(name, preferred)
        try:
            self._remember(name, claim.port)
        except OSError:
            claim.release()
            raise
        return claim

    def _claim_any(self, name: str, preferred: int | None) -> PortClaim:
        remembered = read_json(self._path, default={}).get(name)
        candidates = [port for port in (remembered, preferred) if isinstance(port, int)]
        candidates += [random.randint(_LOWEST, _HIGHEST) for _ in range(_ATTEMPTS)]  # noqa: S311 - no secret
        for port in candidates:
            claim = _try_claim(port)
            if claim is not None:
                return claim
        msg = f"no free port between {_LOWEST} and {_HIGHEST} after {_ATTEMPTS} attempts"
        raise StackError(msg)

    def _remember(self, name: str, port: int) -> None:
        ports = read_json(self._path, default={})
        if ports.get(name) != port:
            write_private_json(self._path, {**ports, name: port})


def _try_claim(port: int) -> PortClaim | None:
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        holder.bind((_LOOPBACK, port))
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # The servers set it too: connections in TIME_WAIT do not make a port busy.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_LOOPBACK, port))
    except OSError:
        holder.close()
        return None
    return PortClaim(port, holder)
