"""``python -m stack.join_cluster``: make one Redis Cluster of nodes that know nothing of each other yet.

The first half become primaries with equal shares of the slots, the second half their replicas. Safe to repeat and to
cut off anywhere: each step looks at what is there first, and a cluster that is whole is left alone.
"""

import argparse
import asyncio
import sys
import time

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from stack.errors import StackError
from stack.render_gate import password_file
from stack.render_replicated import PORT
from stack.servers.cluster import SLOTS
from stack.servers.gate import ADMIN_USER, ask

WITHIN_S = 120.0
_AGAIN_S = 0.2
_ANSWER_TIMEOUT_S = 5.0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m stack.join_cluster", description=__doc__)
    options.add_argument("--node", action="append", required=True, metavar="ADDRESS")
    options.add_argument("--admin-password-file", dest="admin_password", type=password_file, required=True)
    return options


async def join(nodes: list[str], password: str) -> None:
    """Join ``nodes``, by address. Raises StackError when it is not done within ``WITHIN_S``."""
    clients = {
        node: redis.Redis(
            host=node,
            port=PORT,
            username=ADMIN_USER,
            password=password,
            socket_timeout=_ANSWER_TIMEOUT_S,
            socket_connect_timeout=_ANSWER_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        for node in nodes
    }
    deadline = time.monotonic() + WITHIN_S
    try:
        while True:
            try:
                if await _step(clients):
                    return
                trouble = "not whole yet"
            except (redis.RedisError, OSError) as error:  # not started, or it has not heard of the others yet
                trouble = f"{type(error).__name__}: {str(error)[:200]}"
            if time.monotonic() > deadline:
                raise StackError(f"the nodes did not join within {WITHIN_S:.0f} s: {trouble}")
            await asyncio.sleep(_AGAIN_S)
    finally:
        for client in clients.values():
            await client.aclose()


async def _step(clients: dict[str, redis.Redis]) -> bool:
    """Do what is missing; whether nothing was."""
    nodes = list(clients)
    half = len(nodes) // 2
    first = clients[nodes[0]]
    if await _is_whole(clients):
        return True
    for number, node in enumerate(nodes):
        facts = await _facts(clients[node])
        if facts["cluster_my_epoch"] == "0" and facts["cluster_known_nodes"] == "1":
            await ask(clients[node], "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        if number < half and not await _own_slots(clients[node]):
            low, high = SLOTS * number // half, SLOTS * (number + 1) // half - 1
            await ask(clients[node], "CLUSTER", "ADDSLOTSRANGE", low, high)
        if number:
            await ask(first, "CLUSTER", "MEET", node, PORT)
    for number in range(half, len(nodes)):
        role, *_ = await ask(clients[nodes[number]], "ROLE")
        if role == b"master":
            primary = (await ask(clients[nodes[number - half]], "CLUSTER", "MYID")).decode()
            await ask(clients[nodes[number]], "CLUSTER", "REPLICATE", primary)
    return False


async def _is_whole(clients: dict[str, redis.Redis]) -> bool:
    for client in clients.values():
        facts = await _facts(client)
        if facts["cluster_state"] != "ok" or facts["cluster_slots_ok"] != str(SLOTS):
            return False
        if int(facts["cluster_known_nodes"]) < len(clients) or facts["cluster_size"] != str(len(clients) // 2):
            return False
    roles = [await ask(client, "ROLE") for client in clients.values()]
    return len([role for role in roles if role[0] == b"master"]) == len(clients) // 2


async def _facts(client: redis.Redis) -> dict[str, str]:
    answer = await ask(client, "CLUSTER", "INFO")
    text = answer.decode() if isinstance(answer, bytes) else str(answer)
    return dict(line.strip().split(":", 1) for line in text.splitlines() if ":" in line)


async def _own_slots(client: redis.Redis) -> bool:
    mine = (await ask(client, "CLUSTER", "MYID")).decode()
    answer = await ask(client, "CLUSTER", "NODES")
    text = answer.decode() if isinstance(answer, bytes) else str(answer)
    (line,) = [line for line in text.splitlines() if line.startswith(mine)]
    return len(line.split()) > 8  # slots follow the link's state


def main(argv: list[str]) -> int:
    """Join. Exit status 1, with the reason, when it cannot be done."""
    options = parser().parse_args(argv)
    if len(options.node) < 6 or len(options.node) % 2:
        sys.stderr.write("join_cluster: needs an even number of nodes, six or more: three primaries, a replica each\n")
        return 2
    try:
        asyncio.run(join(options.node, options.admin_password))
    except StackError as error:
        sys.stderr.write(f"join_cluster: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
