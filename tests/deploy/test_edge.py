"""The edge as deployed: the command of compose.yaml renders, deploy/edge.sh runs it on the real nginx."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from stack import render_edge
from stack.binaries import find_nginx
from stack.errors import StackError
from stack.ports import PortBook, PortClaim
from stack.process import Process
from stack.servers import Server
from stack.servers.base import http_status
from tests.deploy.project import ROOT, load, module_of, read_env_file, services

_HOST = "shop.example.org"
_WAIT_S = 20


class Upstream(Server):
    """tests/edge/upstream.py as an API process."""

    role = "upstream"

    def process(self) -> Process:
        script = ROOT / "tests" / "edge" / "upstream.py"
        return Process([sys.executable, str(script), "--port", str(self.port)], log_path=self.log_path)

    async def probe(self) -> bool:
        return await http_status(self.port, "/api/v1/seen") == 200


def _arguments(**replaced: str) -> list[str]:
    """The renderer's arguments as compose.yaml has them, some with another value."""
    module, arguments = module_of(services(load())["edge-config"])
    assert module == "stack.render_edge"
    changed = {f"--{name.replace('_', '-')}": value for name, value in replaced.items()}
    assert set(changed) <= {argument.partition("=")[0] for argument in arguments}
    return [
        f"{option}={changed.get(option, value)}"
        for option, _, value in (argument.partition("=") for argument in arguments)
    ]


@pytest.fixture(autouse=True)
def _public_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAMPEDE_PUBLIC_URL", f"https://{_HOST}")


def test_what_is_deployed_differs_from_the_local_stack_where_it_must(tmp_path: Path) -> None:
    output = tmp_path / "nginx.conf"
    assert render_edge.main(_arguments(output=str(output))) == 0
    text = output.read_text()
    assert "listen 0.0.0.0:8080;" in text
    assert "server api:8000 max_fails=1" in text
    assert "server 127.0.0.1:8501 max_fails=0" in text
    assert f"server_name {_HOST};" in text
    assert "proxy_set_header X-Forwarded-Proto https;" in text
    assert f'"https://{_HOST}" 0;' in text
    assert 'root "/srv/stampede/pages";' in text
    assert "access_log /dev/stdout" in text
    assert "127.0.0.0/8 1;" not in text, "nobody is exempt from the limits"
    assert "set_real_ip_from" not in text, "nobody's X-Forwarded-For is believed"
    assert not re.search(r"^user ", text, re.MULTILINE)
    assert output.stat().st_mode & 0o777 == 0o644


def test_proxies_that_are_named_are_believed(tmp_path: Path) -> None:
    output = tmp_path / "nginx.conf"
    assert render_edge.main(_arguments(output=str(output), trusted_proxies="172.18.0.1, 10.0.0.0/8")) == 0
    assert re.findall(r"set_real_ip_from (\S+);", output.read_text()) == ["172.18.0.1", "10.0.0.0/8"]


@pytest.mark.parametrize("url", ["", "shop.example.org", "ftp://shop", "https://shop/path", "https://"])
def test_an_address_that_is_no_origin_is_refused(url: str) -> None:
    with pytest.raises(StackError, match="STAMPEDE_PUBLIC_URL"):
        render_edge.edge_config(
            public_url=url, listen=("0.0.0.0:8080",), api=("api:8000",), console="c:1", pages_dir=Path("/p")
        )


@pytest.mark.parametrize(
    ("url", "authority"), [("https://shop:8443", "shop:8443"), ("https://shop:443", "shop"), ("http://shop:80", "shop")]
)
def test_the_port_that_browsers_show(url: str, authority: str) -> None:
    config = render_edge.edge_config(
        public_url=url, listen=("0.0.0.0:8080",), api=("api:8000",), console="c:1", pages_dir=Path("/p")
    )
    assert config.authorities == {"shop": authority}


@dataclass
class DeployedEdge:
    """deploy/edge.sh as compose.yaml starts it, with a look-up that a test can change."""

    process: asyncio.subprocess.Process
    port: int
    addresses: Path
    log: Path

    async def get(self, path: str, host: str = _HOST) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return int(answer.split()[1]), answer

    def workers(self) -> set[int]:
        """nginx's worker processes: a reload brings new ones."""
        (master,) = self.masters()
        return set(self._children(master, "nginx"))

    def masters(self) -> list[int]:
        """The nginx that the shell has started, if it still runs."""
        return self._children(self.process.pid, "nginx")

    @staticmethod
    def _children(pid: int, name: str) -> list[int]:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if Path(f"/proc/{child}/comm").read_text().strip() == name]


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(_WAIT_S):
        while not holds():
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture(loop_scope="session")
async def deployed(tmp_path: Path) -> AsyncIterator[DeployedEdge]:
    tools, prefix = tmp_path / "bin", tmp_path / "edge"
    for folder in (tools, prefix / "temp"):
        folder.mkdir(parents=True)
    (tools / "nginx").symlink_to(find_nginx())
    addresses = tmp_path / "addresses"
    addresses.write_text("10.0.0.1 STREAM api\n10.0.0.2 STREAM api\n")
    getent = tools / "getent"
    getent.write_text(f'#!/bin/sh\n[ "$*" = "ahosts api" ] && cat "{addresses}"\n')
    getent.chmod(0o755)
    claim: PortClaim = PortBook(tmp_path).claim("edge")
    os.environ["STAMPEDE_PUBLIC_URL"] = f"https://{_HOST}"
    configuration, log = tmp_path / "nginx.conf", tmp_path / "edge.log"
    async with Upstream("api", tmp_path) as api:
        rendered = render_edge.main(
            _arguments(
                output=str(configuration),
                listen=f"127.0.0.1:{claim.port}",
                api=f"127.0.0.1:{api.port}",
                pages_dir=str(tmp_path / "pages"),
            )
        )
        assert rendered == 0
        service = services(load())["edge"]
        shell, _ = service["entrypoint"]
        command = [
            {"/edge/": f"{prefix}/", "/etc/stampede/edge/nginx.conf": str(configuration)}.get(word, word)
            for word in service["command"]
        ]
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                # A test run in the background of a script was told to ignore SIGQUIT, and a shell cannot trap what
                # it was started to ignore; an engine starts it with every signal as it comes.
                *("env", "--default-signal", shell),
                str(ROOT / "deploy" / "edge.sh"),
                *command,
                env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "EDGE_LOOKUP_S": "0.2"},
                stdout=output,
                stderr=output,
            )
        edge = DeployedEdge(process, claim.port, addresses, log)
        try:
            async with asyncio.timeout(_WAIT_S):
                while True:
                    assert process.returncode is None, log.read_text()
                    try:
                        await http_status(claim.port, "/")
                        break
                    except OSError:
                        await asyncio.sleep(0.05)
            yield edge
        finally:
            await _end(edge)
            claim.release()


async def _end(edge: DeployedEdge) -> None:
    """Whatever state it is in: a shell that does not pass the signal on leaves no nginx behind."""
    process = edge.process
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGQUIT)
    try:
        await asyncio.wait_for(process.wait(), _WAIT_S)
    except TimeoutError:
        for pid in edge.masters():
            os.kill(pid, signal.SIGTERM)
        process.kill()
        await process.wait()
        raise


async def test_it_serves(deployed: DeployedEdge) -> None:
    """The rendered file is one that nginx accepts; the API is reached, a foreign name is not answered."""
    status, answer = await deployed.get("/api/v1/sales")
    assert status == 200, answer
    assert _HOST.encode() in answer
    assert (await deployed.get("/api/v1/seen", host="evil.example.org"))[0] == 421
    await _until(lambda: '"event":"edge.request"' in deployed.log.read_text())


async def test_it_reads_again_when_an_api_process_has_moved(deployed: DeployedEdge) -> None:
    before = deployed.workers()
    deployed.addresses.write_text("10.0.0.1 STREAM api\n10.0.0.3 STREAM api\n")
    await _until(lambda: before.isdisjoint(deployed.workers()) and bool(deployed.workers()))
    assert (await deployed.get("/api/v1/seen"))[0] == 200


async def test_it_leaves_nginx_alone_while_nothing_changes(deployed: DeployedEdge) -> None:
    """Nor when nobody can be found: nginx would drop what it has for nothing. The order of answers says nothing."""
    before = deployed.workers()
    deployed.addresses.write_text("10.0.0.2 STREAM api\n10.0.0.1 STREAM api\n")
    await asyncio.sleep(1)
    deployed.addresses.write_text("")
    await asyncio.sleep(1)
    assert deployed.workers() == before


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM])
async def test_the_engines_stop_reaches_nginx(deployed: DeployedEdge, number: signal.Signals) -> None:
    nginx = deployed.workers()
    deployed.process.send_signal(number)
    assert await asyncio.wait_for(deployed.process.wait(), _WAIT_S) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in nginx)


async def test_its_end_is_nginx_end(tmp_path: Path) -> None:
    """A configuration that nginx refuses ends the container, with nginx's status, so that it is started again."""
    (tmp_path / "nginx").symlink_to(find_nginx())
    process = await asyncio.create_subprocess_exec(
        *("sh", str(ROOT / "deploy" / "edge.sh"), "api", "-p", f"{tmp_path}/", "-c", str(tmp_path / "none.conf")),
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "EDGE_LOOKUP_S": "0.2"},
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await asyncio.wait_for(process.wait(), _WAIT_S) == 1


def test_the_example_is_an_address_that_can_be_used() -> None:
    assert read_env_file()["STAMPEDE_PUBLIC_URL"] == f"https://{_HOST}"
