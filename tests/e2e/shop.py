"""The running platform as a merchant, an operator and a mailbox see it: what the browser tests set up with."""

import asyncio
import email
import mailbox
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import policy
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from stack.state import PROJECT_ROOT

START_S = 180
STOP_S = 20
MAIL_S = 30
_CODE = re.compile(r"\b\d{6}\b")
PASSWORD = "correct horse battery staple"
"""Of every operator of the tests."""


async def wait_until(what: str, look: Any, timeout_s: float = 30) -> Any:
    """The first true value of ``await look()``."""
    deadline = time.monotonic() + timeout_s
    while not (found := await look()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        await asyncio.sleep(0.1)
    return found


@dataclass
class Platform:
    """``stampede up`` in a folder of its own, as a process of its own."""

    data_dir: Path
    process: asyncio.subprocess.Process
    url: str

    @classmethod
    async def start(cls, data_dir: Path) -> "Platform":
        environment = {key: value for key, value in os.environ.items() if not key.startswith("STAMPEDE_")}
        process = await asyncio.create_subprocess_exec(
            # Should the tests be killed, the kernel stops the supervisor, and it its servers.
            "setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "stack.cli", "up", "--data-dir", str(data_dir),
            cwd=PROJECT_ROOT, env=environment, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        async with asyncio.timeout(START_S):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("ready "), f"stampede up said {line!r}; see {data_dir / 'logs'}"
        return cls(data_dir, process, line.split()[1])

    async def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(STOP_S):
            await self.process.wait()

    async def command(self, *arguments: str, words: str = "") -> str:
        """Run ``stampede …`` on this platform with ``words`` on its standard input; what it printed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stack.cli", *arguments, "--data-dir", str(self.data_dir),
            cwd=PROJECT_ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, _ = await process.communicate(words.encode())
        assert process.returncode == 0, arguments
        return printed.decode()

    async def hire(self, address: str, role: str, merchant: str) -> None:
        """Make an operator."""
        await self.command(
            "operator", "add", "--email", address, "--role", role, "--merchant", merchant, words=f"{PASSWORD}\n"
        )

    async def code_for(self, address: str) -> str:
        """The sign-in code that the platform mailed to this address."""

        async def look() -> str | None:
            for message in mailbox.Maildir(self.data_dir / "mail", factory=_message, create=False):
                if address in str(message["to"]):
                    return _CODE.search(message.get_content())[0]  # type: ignore[index]
            return None

        return str(await wait_until(f"a code for {address}", look, MAIL_S))

    def forget_mail(self) -> None:
        """Empty the mailbox, so that the next code found is a new one."""
        mailbox.Maildir(self.data_dir / "mail", create=False).clear()


def _message(file: Any) -> Any:
    return email.message_from_binary_file(file, policy=policy.default)


@dataclass
class Merchant:
    """An owner, signed in to the operator API through the edge."""

    platform: Platform
    http: httpx.AsyncClient

    @classmethod
    async def join(cls, platform: Platform, name: str, address: str | None = None) -> "Merchant":
        address = address or f"owner-{uuid4().hex[:8]}@merchant.test"
        await platform.hire(address, "owner", name)
        http = httpx.AsyncClient(base_url=f"{platform.url}/api/v1/", timeout=20)
        answer = await http.post("operator/session", json={"email": address, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return cls(platform, http)

    async def call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        answer = await self.http.post(
            f"operator/{path}", json=dict(body or {}), headers={"Idempotency-Key": uuid4().hex}
        )
        assert answer.is_success, answer.text
        return answer.json()

    async def send_picture(self, sku_id: str, upload: bytes, alt: str) -> Any:
        answer = await self.http.post(
            f"operator/skus/{sku_id}/pictures",
            params={"alt": alt},
            content=upload,
            headers={"Idempotency-Key": uuid4().hex, "Content-Type": "image/jpeg"},
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def sell(self, plan: "Plan") -> "RunningSale":
        """Create and schedule a sale; back when its page is up."""
        slug = f"sale-{uuid4().hex[:8]}"
        skus = {name: f"{name.upper()}-{uuid4().hex[:6]}" for name in plan.items}
        for name, sku in skus.items():
            made = await self.call(
                "skus",
                {
                    "sku": sku,
                    "name": plan.names.get(name, f"Tee, size {name}"),
                    "description": plan.description,
                    "usual_price": {"amount_minor": 4900, "currency": "EUR"},
                    "options": plan.options.get(name, []),
                },
            )
            if name in plan.pictures:
                await self.send_picture(made["id"], *plan.pictures[name])
        opens_at = datetime.now(UTC) + timedelta(seconds=plan.opens_in_s)
        sale = await self.call(
            "sales",
            {
                "slug": slug,
                "title": plan.title,
                "opens_at": _rfc3339(opens_at),
                "closes_at": _rfc3339(opens_at + timedelta(minutes=30)),
                "time_zone": "Europe/Berlin",
                "items": [
                    {
                        "sku": sku,
                        "price": {"amount_minor": 1900, "currency": "EUR"},
                        "allotment": plan.items[name],
                        "per_shopper_limit": plan.limit,
                    }
                    for name, sku in skus.items()
                ],
                "throttle": {"rate_per_s": 500, "burst": 1000, "wait_budget_ms": 0, "repeat_window_ms": 1000},
                "link": {"ttl_s": 300, "overlap_s": 0},
                "payment": {"required": plan.payment, "hold_s": 900},
                **plan.page,
            },
        )
        running = RunningSale(self, sale["id"], slug, skus, opens_at)
        await self.call(f"sales/{sale['id']}/schedule")
        await wait_until(f"the page of {slug}", running.published, 60)
        return running


@dataclass(frozen=True)
class Plan:
    """What a test sells: items by name with their stock, and how."""

    items: Mapping[str, int] = field(default_factory=lambda: {"m": 10})
    names: Mapping[str, str] = field(default_factory=dict)
    title: str = "Friday tee"
    description: str = ""
    opens_in_s: float = 3
    limit: int = 1
    payment: bool = False
    options: Mapping[str, list[dict[str, str]]] = field(default_factory=dict)
    pictures: Mapping[str, tuple[bytes, str]] = field(default_factory=dict)
    """By item: the file, and what it shows."""
    page: Mapping[str, Any] = field(default_factory=dict)
    """The sale's description, language, delivery_required."""


@dataclass(frozen=True)
class RunningSale:
    merchant: Merchant
    id: str
    slug: str
    skus: Mapping[str, str]
    opens_at: datetime

    @property
    def url(self) -> str:
        return f"{self.merchant.platform.url}/s/{self.slug}/"

    async def published(self) -> bool:
        page = await self.merchant.http.get(self.url)
        state = await self.merchant.http.get(f"{self.url}state.json")
        return page.is_success and state.is_success

    async def command(self, name: str, **body: Any) -> Any:
        return await self.merchant.call(f"sales/{self.id}/{name}", body)

    async def units(self) -> list[dict[str, Any]]:
        """The ledger's and the gate's counters of each item, as the live view has them."""
        answer = await self.merchant.http.get(f"operator/sales/{self.id}/live")
        assert answer.is_success, answer.text
        return list(answer.json()["items"])

    async def taken(self) -> int:
        return sum(item["reserved"] + item["sold"] for item in await self.units())


def _rfc3339(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
