"""Real servers on loopback, each on its data folder: for the local stack and for tests.

``PostgresServer``, ``GateServer``, ``RabbitmqServer`` and ``EdgeServer`` are asynchronous context managers with
``start``, ``stop``, ``kill`` (as ``kill -9``) and ``restart`` (on the same data and port).
"""

from stack.servers.base import Server, tcp_answers
from stack.servers.cluster import ClusterGate
from stack.servers.edge import EdgeConfig, EdgeLimits, EdgeServer, render_edge_config
from stack.servers.gate import GateServer
from stack.servers.postgres import PostgresServer
from stack.servers.rabbitmq import RabbitmqServer
from stack.servers.sentinel import SentinelGate

__all__ = [
    "ClusterGate",
    "EdgeConfig",
    "EdgeLimits",
    "EdgeServer",
    "GateServer",
    "PostgresServer",
    "RabbitmqServer",
    "SentinelGate",
    "Server",
    "render_edge_config",
    "tcp_answers",
]
