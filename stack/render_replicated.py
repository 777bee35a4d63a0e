"""``python -m stack.render_replicated``: configurations of a replicated gate store, from the local stack's templates.

One file for each member, and for each sentinel, named after its address. What differs from the local stack stands in
the options: each has an address of its own, and all of them the same ports.
"""

import argparse
import sys
from pathlib import Path

from stack.render_edge import replace_file
from stack.render_gate import password_file, size
from stack.servers.cluster import MIN_REPLICAS_MAX_LAG_S, node_config
from stack.servers.gate import REPLICATED_RULES, gate_config, replication_config
from stack.servers.sentinel import sentinel_config, steering_config

PORT, BUS_PORT, SENTINEL_PORT = 6379, 16_379, 26_379
NODE_TIMEOUT_MS = 2_000
"""Silence after which a member counts as dead: the local stack's second is short for a network."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m stack.render_replicated", description=__doc__)
    options.add_argument("--topology", choices=["sentinel", "cluster"], required=True)
    options.add_argument("--output", type=Path, required=True, help="the folder to write to")
    options.add_argument("--member", action="append", required=True, metavar="ADDRESS", help="the first is the primary")
    options.add_argument("--sentinel", action="append", default=[], metavar="ADDRESS")
    options.add_argument("--dir", required=True, help="where each keeps its files")
    options.add_argument("--maxmemory", type=size, required=True)
    for name in ("admin", "app", "replica", "sentinel"):
        options.add_argument(f"--{name}-password-file", dest=f"{name}_password", type=password_file, required=True)
    return options


def main(argv: list[str]) -> int:
    """Render; wrong options end the process with exit status 2."""
    options = parser().parse_args(argv)
    for address in options.member:
        replace_file(options.output / f"{address}.conf", _member(options, address))
    for address in options.sentinel:
        text = sentinel_config(
            host=address,
            port=SENTINEL_PORT,
            folder=options.dir,
            primary=(options.member[0], PORT),
            down_after_ms=NODE_TIMEOUT_MS,
            app_password=options.app_password,
            sentinel_password=options.sentinel_password,
        )
        replace_file(options.output / f"{address}.conf", f"{text}sentinel announce-ip {address}\n")
    return 0


def _member(options: argparse.Namespace, address: str) -> str:
    further = replication_config(options.replica_password, min_replicas_max_lag_s=MIN_REPLICAS_MAX_LAG_S)
    if options.topology == "cluster":
        further += node_config(announce=address, bus_port=BUS_PORT, node_timeout_ms=NODE_TIMEOUT_MS)
    else:
        # Said, not guessed from where a connection comes: that may be another of the machine's addresses.
        further += [steering_config(options.sentinel_password), f"replica-announce-ip {address}"]
        if address != options.member[0]:
            further.append(f"replicaof {options.member[0]} {PORT}")
    return gate_config(
        host=address,
        port=PORT,
        folder=options.dir,
        maxmemory=options.maxmemory,
        admin_password=options.admin_password,
        app_password=options.app_password,
        rules=REPLICATED_RULES,
        further=further,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
