"""Each Lua file keeps its contract: header, file name, keys used, words answered; and a real server takes it."""

import re

import pytest
from redis.asyncio import Redis

from backend.gate import GateAnswer, JournalKind, Outcome
from backend.gate.scripts import SCRIPTS, Script

NAMES = ["acknowledge", "adjust", "admit", "applied", "beat", "configure", "load", "read", "rebuild", "refill",
         "release", "reload", "retake", "vouch"]  # fmt: skip
WORD = re.compile(r"\b[A-Z]{2,}(?:_[A-Z]+)*\b")
# Redis commands and other capitals that are no answers.
COMMANDS = {"TIME", "COUNT", "MAXLEN", "EXISTS", "DEL", "GET", "SET", "RENAME", "UNLINK"}


def _parts(script: Script) -> tuple[str, str]:
    header, end, body = script.source.partition("]]\n")
    assert header.startswith("--[["), script.name
    assert end, script.name
    return header, body


def _answers(text: str) -> set[str]:
    """Capital words in quotes that are no commands: what a body can answer."""
    quoted = set(re.findall(r"'([A-Z]{2,}(?:_[A-Z]+)*)'", text))
    return {word for word in quoted if word not in COMMANDS and not re.match(r"(H|X)[A-Z]+$", word)}


def test_every_operation_is_one_file() -> None:
    assert sorted(SCRIPTS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_header_suffix_and_keys_agree(name: str) -> None:
    script = SCRIPTS[name]
    header, body = _parts(script)
    documented = [int(n) for n in re.findall(r"KEYS\[(\d+)\]", header)]
    used = {int(n) for n in re.findall(r"KEYS\[(\d+)\]", body)}
    assert documented == list(range(1, script.keys + 1))
    assert used == set(documented)
    assert "ARGV[1]" in header
    assert re.search(r"^  Returns ", header, re.MULTILINE)
    assert "KEYS[" not in re.sub(r"KEYS\[\d+\]", "", body), "keys are passed, never computed"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("admit", "read")])
def test_answers_in_body_header_and_enum_are_the_same(name: str) -> None:
    header, body = _parts(SCRIPTS[name])
    answered = _answers(body)
    returns = header[header.index("  Returns ") :]
    documented = {word for word in WORD.findall(returns) if word not in ("KEYS", "ARGV")}
    assert answered
    assert answered == documented
    assert answered <= set(GateAnswer)


def test_admit_answers_exactly_the_outcomes() -> None:
    _, body = _parts(SCRIPTS["admit"])
    assert _answers(body) == set(Outcome)


def test_every_gate_answer_is_somebodys() -> None:
    assert set().union(*(_answers(_parts(SCRIPTS[name])[1]) for name in NAMES)) - set(Outcome) <= set(GateAnswer)
    spoken = set().union(*(_answers(_parts(one)[1]) for one in SCRIPTS.values()))
    assert set(GateAnswer) <= spoken


def test_journal_kinds_are_those_the_scripts_write() -> None:
    written = {kind for one in SCRIPTS.values() for kind in re.findall(r"'kind', '([a-z]+)'", one.source)}
    assert written == set(JournalKind)


@pytest.mark.parametrize("name", NAMES)
async def test_a_real_server_compiles_it_under_the_same_hash(name: str, admin: Redis, gate_url: str) -> None:
    script = SCRIPTS[name]
    assert (await admin.script_load(script.source)) == script.sha


@pytest.mark.parametrize("name", ["admit", "release", "retake", "adjust", "load", "reload"])
def test_the_journal_is_the_first_thing_written(name: str) -> None:
    _, body = _parts(SCRIPTS[name])
    writes = re.findall(r"redis\.call\('(XADD|HSET|HDEL|DEL|SET|HINCRBY|SADD|ZADD|EXPIRE)', KEYS\[(\d+)\]", body)
    header, _ = _parts(SCRIPTS[name])
    journal = re.search(r"KEYS\[(\d+)\] journal", header)
    assert journal is not None
    assert writes[0] == ("XADD", journal.group(1))
