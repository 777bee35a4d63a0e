"""Which environment a command works with, and what leaks from one stack into another: nothing."""

import os
from pathlib import Path
from unittest.mock import patch

import pytest

from stack.errors import DataDirInUseError, StackNotRunningError
from stack.state import (
    ProcessRow,
    adopt_env,
    child_env,
    command_env,
    forget,
    is_running,
    load_env,
    load_processes,
    own_data_dir,
    save_env,
    save_processes,
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STAMPEDE_DATABASE_URL", "STAMPEDE_OWNER_DATABASE_URL", "STAMPEDE_GATE_URL", "STAMPEDE_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_environment_is_that_of_the_running_stack(tmp_path: Path) -> None:
    with pytest.raises(StackNotRunningError, match="no stack runs in"):
        load_env(tmp_path)
    with own_data_dir(tmp_path):
        assert is_running(tmp_path)
        with pytest.raises(StackNotRunningError, match="still starting"):
            load_env(tmp_path)
        save_env(tmp_path, {"STAMPEDE_GATE_URL": "redis://here"})
        save_processes(tmp_path, [ProcessRow("gate", "gate", 7)])
        assert load_env(tmp_path) == {"STAMPEDE_GATE_URL": "redis://here"}
        assert load_processes(tmp_path) == [ProcessRow("gate", "gate", 7)]
        assert (tmp_path / "env.json").stat().st_mode & 0o077 == 0
    # what a killed supervisor has left is not believed
    with pytest.raises(StackNotRunningError, match="no stack runs in"):
        load_env(tmp_path)
    forget(tmp_path)
    assert not (tmp_path / "env.json").exists()


def test_folder_has_one_owner(tmp_path: Path) -> None:
    with own_data_dir(tmp_path), pytest.raises(DataDirInUseError, match="already runs in"), own_data_dir(tmp_path):
        pass
    with own_data_dir(tmp_path):
        pass


def test_command_works_with_the_folder_named_or_with_its_own_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAMPEDE_DATABASE_URL", "postgresql+asyncpg://production")
    assert command_env(None)["STAMPEDE_DATABASE_URL"] == "postgresql+asyncpg://production"
    with pytest.raises(StackNotRunningError):
        command_env(tmp_path)
    with own_data_dir(tmp_path):
        save_env(tmp_path, {"STAMPEDE_DATABASE_URL": "postgresql+asyncpg://local"})
        assert command_env(tmp_path) == {"STAMPEDE_DATABASE_URL": "postgresql+asyncpg://local"}


def test_nothing_leaks_from_one_environment_into_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAMPEDE_SECRET_KEY", "of another stack")
    monkeypatch.setenv("HOME", "/home/ada")
    child = child_env({"STAMPEDE_GATE_URL": "redis://here"})
    assert "STAMPEDE_SECRET_KEY" not in child
    assert (child["STAMPEDE_GATE_URL"], child["HOME"]) == ("redis://here", "/home/ada")
    with patch.dict(os.environ):
        adopt_env({"STAMPEDE_GATE_URL": "redis://here"})
        assert {key for key in os.environ if key.startswith("STAMPEDE_")} == {"STAMPEDE_GATE_URL"}
