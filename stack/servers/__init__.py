"""Real servers on loopback, each on its data folder: for the local stack and for tests.

``PostgresServer``, ``GateServer`` and ``EdgeServer`` are asynchronous context managers with ``start``,
``stop``, ``kill`` (as ``kill -9``) and ``restart`` (on the same data and port).
"""

from stack.servers.base import Server, tcp_answers
from stack.servers.edge import EdgeConfig, EdgeLimits, EdgeServer, render_edge_config
from stack.servers.gate import GateServer
from stack.servers.postgres import PostgresServer

__all__ = [
    "EdgeConfig",
    "EdgeLimits",
    "EdgeServer",
    "GateServer",
    "PostgresServer",
    "Server",
    "render_edge_config",
    "tcp_answers",
]
