"""Ports: free, remembered, and never claimed twice."""

import socket
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.ports import PortBook


def test_claims_differ_and_exclude_others(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(50)]
    for folder in folders:
        folder.mkdir()
    claims = [PortBook(folder).claim("gate") for folder in folders]
    try:
        assert len({claim.port for claim in claims}) == 50
        taken = claims[0].port
        with pytest.raises(StackError, match=f"port {taken} is in use"):
            PortBook(tmp_path).claim("gate", wanted=taken)
    finally:
        for claim in claims:
            claim.release()


def test_same_name_gets_the_same_port_again(tmp_path: Path) -> None:
    first = PortBook(tmp_path).claim("gate")
    first.release()
    second = PortBook(tmp_path).claim("gate")
    assert second.port == first.port
    other = PortBook(tmp_path).claim("gate")  # taken meanwhile: another one, and no error
    assert other.port != second.port
    second.release()
    other.release()


def test_port_with_a_listener_is_not_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(StackError, match="in use"):
            PortBook(tmp_path).claim("edge", wanted=port)
        claim = PortBook(tmp_path).claim("edge", preferred=port)
        assert claim.port != port
        claim.release()
