"""The image's entry point: secrets from files, nothing shown, and no process in between."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.entry import entrypoint
from tests.deploy.project import ROOT, load

_MAIN = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("entrypoint", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.SECRETS_DIR = Path(sys.argv[2])
sys.exit(module.main(sys.argv[3:]))
"""


def _run(folder: Path, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("STAMPEDE_")}
    return subprocess.run(
        [sys.executable, "-c", _MAIN, str(ROOT / "deploy" / "entrypoint.py"), str(folder), *command],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_command_takes_the_place_of_the_process(tmp_path: Path) -> None:
    """SIGTERM must reach the process itself: the number stays, and the secret is in the variable."""
    (tmp_path / "key").write_text("s3cret-and-long\n")
    code = "import os; print(os.getpid(), os.environ['STAMPEDE_X'])"
    script = tmp_path / "run.py"
    script.write_text(_MAIN)
    child = subprocess.Popen(
        [sys.executable, script, ROOT / "deploy" / "entrypoint.py", tmp_path, sys.executable, "-c", code],
        env={**os.environ, "STAMPEDE_X": "{secret:key}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = child.communicate(timeout=30)
    assert out.split() == [str(child.pid), "s3cret-and-long"]
    assert child.returncode == 0


def test_the_exit_status_is_the_commands(tmp_path: Path) -> None:
    assert _run(tmp_path, [sys.executable, "-c", "raise SystemExit(7)"]).returncode == 7


def test_other_variables_are_left_alone(tmp_path: Path) -> None:
    given = {"PATH": "/bin", "OTHER": "{secret:key}", "STAMPEDE_LOG_LEVEL": "info"}
    assert entrypoint.expand(given, tmp_path) == given


def test_a_secret_stands_in_for_a_part(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("ab_C-9.~\r\n")
    found = entrypoint.expand({"STAMPEDE_URL": "redis://u:{secret:password}@gate:6379/0"}, tmp_path)
    assert found == {"STAMPEDE_URL": "redis://u:ab_C-9.~@gate:6379/0"}


def test_an_empty_secret_is_a_setting_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "channel").write_text("\n")
    assert entrypoint.expand({"STAMPEDE_CHANNEL": "{secret:channel}"}, tmp_path) == {}


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("{secret:missing}", None),
        ("redis://u:{secret:key}@gate", "with space"),
        ("redis://u:{secret:key}@gate", "a@evil.example.org/"),
        ("redis://u:{secret:key}@gate", ""),
        ("{secret:key}", "two\nlines\n"),
        ("{secret:key}", "x" * 20_000),
        ("{secret:key}", b"\xff\xfe"),
        ("redis://{secret:../key}@gate", "abc"),
    ],
)
def test_what_cannot_be_used_ends_the_start_without_a_word_of_it(
    tmp_path: Path, value: str, content: str | bytes | None
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content if isinstance(content, bytes) else content.encode())
    ended = _run(tmp_path, [sys.executable, "-c", "print('started')"], STAMPEDE_X=value)
    assert ended.returncode == entrypoint.EXIT_CONFIG
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("entrypoint: ")
    if content:
        assert str(content)[:20] not in ended.stderr


def test_making_the_secrets(tmp_path: Path) -> None:
    """Each that compose.yaml names, once, fit for every place that it is put into."""
    folder = tmp_path / "secrets of the shop"
    script = ROOT / "deploy" / "make_secrets.sh"
    subprocess.run(["sh", script, folder], check=True, timeout=30)
    made = {path.name: path.read_text() for path in folder.iterdir() if path.name != ".gitignore"}
    # Two names may stand for one file: the broker's password, which is that of the broker that is used.
    assert set(made) == {Path(one["file"]).name for one in load()["secrets"].values()}
    assert (made.pop("notify_email_url"), made.pop("shop_token_key")) == ("", "")
    assert len(set(made.values())) == len(made)
    assert all(len(text) == 64 and int(text, 16) for text in made.values())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in folder.iterdir())
    (folder / "notify_email_url").write_text("mailto://…")
    subprocess.run(["sh", script, folder], check=True, timeout=30)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        **made,
        "notify_email_url": "mailto://…",
        "shop_token_key": "",
        ".gitignore": "*\n",
    }
