"""The whole platform on one machine: real servers, no container, no root needed, nothing left behind.

``stack.servers`` starts single servers (tests use it directly), ``stack.supervisor`` runs all of them
together, ``stack.cli`` is the command line.
"""
