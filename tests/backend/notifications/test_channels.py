"""A merchant's own channels and words: a real mail server, a real web hook, and an address nobody sees again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
import pytest_asyncio

from backend.core.sealing import open_sealed, seal
from backend.models import NotificationKind
from backend.notifications import Words, deliver_due, problems
from backend.notifications.backing_off import ATTEMPTS_MAX
from backend.notifications.services import NotUsable, check_public, parts_of
from backend.settings import Settings
from tests.backend.server import as_operator, free_origin, serving
from tests.backend.shop import Shop, Stall

from .test_delivery import Inbox, inbox

__all__ = ["inbox"]

HOOKED = ["order_confirmed"]


class Hook:
    """A web hook on a real socket."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], Any]] = []
        self.status = "200 OK"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.got.append(({"line": head[0], **headers}, orjson.loads(body)))
        extra = "Location: /elsewhere\r\n" if self.status.startswith("3") else ""
        writer.write(f"HTTP/1.1 {self.status}\r\n{extra}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@pytest_asyncio.fixture(loop_scope="session")
async def hook() -> AsyncIterator[tuple[Hook, str]]:
    one = Hook()
    server = await asyncio.start_server(one.handle, "127.0.0.1", 0)
    yield one, f"json://127.0.0.1:{server.sockets[0].getsockname()[1]}/in?+X-Key=topsecret"
    server.close()
    await server.wait_closed()


class Desk:
    """An operator of the stall's merchant at the API."""

    def __init__(self, http: httpx.AsyncClient, headers: dict[str, str]) -> None:
        self.http, self.headers = http, headers

    async def __call__(self, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {**self.headers, "Idempotency-Key": uuid4().hex}
        return await self.http.request(method, f"/api/v1/operator{path}", json=body, headers=headers)

    async def add(self, url: str, audience: str = "team", name: str = "Team", **other: Any) -> httpx.Response:
        kinds = {} if audience == "shoppers" else {"kinds": HOOKED}
        return await self("POST", "/channels", {"name": name, "audience": audience, "url": url, **kinds, **other})


def sending(shop: Shop, **other: Any) -> Settings:
    return shop.settings.model_copy(update={"public_url": "https://shop.example", **other})


@pytest_asyncio.fixture(loop_scope="session")
async def stall(shop: Shop) -> Stall:
    return await shop.sale()


@pytest_asyncio.fixture(loop_scope="session")
async def http(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(shop.settings.model_copy(update={"public_url": free_origin()})) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def owner(shop: Shop, stall: Stall, http: httpx.AsyncClient) -> Desk:
    return Desk(http, await as_operator(shop, "owner", stall))


async def sold(shop: Shop, stall: Stall, contact: str = "ada@mail.example") -> str:
    bought = await shop.buy(stall, shopper_id=await shop.shopper(contact))
    await shop.drain(stall)
    return str((await shop.order_of(bought)).id)


async def test_shoppers_hear_by_the_merchants_own_mail_and_the_team_by_its_hook(
    shop: Shop, stall: Stall, owner: Desk, inbox: tuple[Inbox, str], hook: tuple[Hook, str],
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    box, mail_url = inbox
    box_of_platform = Inbox()
    got, hook_url = hook
    own = mail_url.replace("mailto://", "mailto://shop:topsecret@").replace("name=Stampede", "name=Acme")
    # The test's mail server knows no passwords, so the channel that sends has none.
    sealed = await owner.add(own, "shoppers", "Sealed")
    assert sealed.status_code == 201, sealed.text
    assert (await owner("DELETE", f"/channels/{sealed.json()['id']}")).status_code == 204
    mail = await owner.add(mail_url.replace("name=Stampede", "name=Acme"), "shoppers", "Mail")
    team = await owner.add(hook_url)
    assert (mail.status_code, team.status_code) == (201, 201), team.text
    order = await sold(shop, stall)

    # The platform itself has no channel: this merchant's messages go out all the same.
    delivery = await deliver_due(shop.database, sending(shop))

    assert (delivery.sent, box_of_platform.mails) == (1, [])
    (message,) = box.to("ada@mail.example")
    assert message["From"] == "Acme <shop@example.org>"
    ((headers, body),) = got.got
    assert order in body["message"]
    assert body["title"] == "Your order is confirmed: Name of TEE-M"
    assert headers["x-key"] == "topsecret"
    assert headers["x-notification-id"]
    assert "ada" not in str(got.got), "no copy holds a contact"
    assert (await deliver_due(shop.database, sending(shop))).sent == 0
    assert len(got.got) == 1, "once"

    # Nothing that is stored, answered or logged shows an address or its password.
    listed = await owner("GET", "/channels")
    assert [(one["name"], one["service"], one["sent"]) for one in listed.json()["channels"]] == [
        ("Mail", "mailto", 0), ("Team", "json", 1),
    ]  # fmt: skip
    rows = await shop.sql(
        "SELECT CAST(c AS text) AS line FROM commands c UNION ALL SELECT CAST(n AS text) FROM notification_channels n "
        "UNION ALL SELECT convert_from(sealed_url, 'LATIN1') FROM notification_channels"
    )
    printed = capfd.readouterr()
    for text in (listed.text, *[row.line for row in rows], printed.out, printed.err, sealed.text, team.text):
        assert "topsecret" not in text


async def test_a_hook_that_is_down_delays_nobodys_mail_and_is_given_up_in_the_end(
    shop: Shop, stall: Stall, owner: Desk, inbox: tuple[Inbox, str], hook: tuple[Hook, str]
) -> None:
    box, mail_url = inbox
    got, hook_url = hook
    assert (await owner.add(hook_url)).status_code == 201
    got.status = "307 Elsewhere"
    await sold(shop, stall)
    settings = sending(shop, notify_email_url=mail_url)
    assert (await deliver_due(shop.database, settings)).sent == 1
    assert len(box.to("ada@mail.example")) == 1
    assert len(got.got) == 1, "a redirect is not followed"
    (copy,) = await shop.sql("SELECT status, attempts, last_error, due_at > now() AS later FROM notification_copies")
    assert (copy.status, copy.attempts, copy.later) == ("pending", 1, True)
    assert "topsecret" not in copy.last_error

    await shop.sql("UPDATE notification_copies SET attempts = :n, due_at = now()", n=ATTEMPTS_MAX - 1)
    await deliver_due(shop.database, settings)
    (channel,) = (await owner("GET", "/channels")).json()["channels"]
    assert (channel["dead"], channel["pending"], channel["sent"]) == (1, 0, 0)
    got.status = "200 OK"
    await deliver_due(shop.database, settings)
    assert len(got.got) == 2, "given up is given up"
    # Its copies go with a channel.
    assert (await owner("DELETE", f"/channels/{channel['id']}")).status_code == 204
    assert await shop.sql("SELECT 1 FROM notification_copies") == []


async def test_the_test_button_sends_one_message_by_the_channel_itself(
    shop: Shop, stall: Stall, owner: Desk, inbox: tuple[Inbox, str], hook: tuple[Hook, str]
) -> None:
    box, mail_url = inbox
    got, hook_url = hook
    mail = (await owner.add(mail_url, "shoppers", "Mail")).json()
    team = (await owner.add(hook_url)).json()
    tried = await owner("POST", f"/channels/{mail['id']}/test", {"recipient": "me@acme.example"})
    assert (tried.status_code, tried.json()) == (200, {"sent": True})
    assert box.to("me@acme.example")[0]["Subject"].startswith("Test message from Stampede")
    assert (await owner("POST", f"/channels/{team['id']}/test")).json() == {"sent": True}
    assert got.got[-1][1]["title"].startswith("Test message from Stampede")
    got.status = "500 Broken"
    refused = (await owner("POST", f"/channels/{team['id']}/test")).json()
    assert refused["sent"] is False
    assert "topsecret" not in refused["reason"]
    assert (await owner("POST", f"/channels/{mail['id']}/test")).status_code == 422
    assert (await owner("POST", f"/channels/{team['id']}/test", {"recipient": "me@acme.example"})).status_code == 422
    # Another key than the one it was sealed with.
    await shop.sql("UPDATE notification_channels SET sealed_url = sealed_url || CAST('x' AS bytea) WHERE name = 'Team'")
    unreadable = (await owner("POST", f"/channels/{team['id']}/test")).json()
    assert "add it again" in unreadable["reason"]


async def test_roles_strangers_and_what_cannot_be_a_channel(
    shop: Shop, stall: Stall, http: httpx.AsyncClient, owner: Desk, hook: tuple[Hook, str]
) -> None:
    _, url = hook
    made = (await owner.add(url)).json()
    auditor = Desk(http, await as_operator(shop, "auditor", stall))
    stranger = Desk(http, await as_operator(shop, "owner"))
    assert (await auditor.add(url, name="Mine")).status_code == 403
    assert (await auditor("GET", "/channels")).json()["channels"][0]["name"] == "Team"
    assert (await stranger("GET", "/channels")).json()["channels"] == []
    for desk, status in ((auditor, 403), (stranger, 404)):
        assert (await desk("DELETE", f"/channels/{made['id']}")).status_code == status
        assert (await desk("POST", f"/channels/{made['id']}/test")).status_code == status
    assert (await owner.add(url)).status_code == 409, "the name is taken"
    # The record's fast hash leaves the address out, or a password could be guessed from it: another one under the same
    # key is the same request.
    same_key = {**owner.headers, "Idempotency-Key": "one-key"}
    body = {"name": "Keyed", "audience": "team", "kinds": HOOKED}
    twice = [
        await http.post("/api/v1/operator/channels", json={**body, "url": url + more}, headers=same_key)
        for more in ("", "&+X=y")
    ]
    assert [one.status_code for one in twice] == [201, 201]
    assert twice[0].json()["id"] == twice[1].json()["id"]
    assert (await owner("DELETE", f"/channels/{twice[0].json()['id']}")).status_code == 204
    mail = "mailto://mail.acme.example?from=shop@acme.example"
    assert (await owner.add(mail, "shoppers", "One")).status_code == 201
    assert (await owner.add(mail, "shoppers", "Two")).status_code == 409, "one way to shoppers"
    for wrong in (
        "nonsense", "syslog://", "dbus://", "file:///etc/passwd", "http://127.0.0.1/", "json://", "msteams://a/b/c/d",
        "json://acme.example/?template=/etc/passwd", "json://acme.example/?Attach=/etc/passwd", "json://a\nb/",
        "json://" + "x" * 995, "",
    ):  # fmt: skip
        refused = await owner.add(wrong, name=uuid4().hex)
        assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_FIELD"), wrong
        assert "passwd" not in refused.text
    assert (await owner.add("json://acme.example/", "shoppers", "Three")).status_code == 422
    assert (await owner.add(url, name="Four", kinds=[])).status_code == 422
    assert (await owner.add(url, name="Five", kinds=["sign_in_code"])).status_code == 422
    for number in range(8):
        assert (await owner.add(url, name=f"More {number}")).status_code == 201
    assert (await owner.add(url, name="One too many")).status_code == 409


@pytest.mark.parametrize(
    "url",
    ["json://127.0.0.1/", "json://localhost/", "jsons://10.1.2.3/", "json://169.254.169.254/latest", "json://[::1]/",
     "json://[::ffff:127.0.0.1]/", "json://2130706433/", "form://0.0.0.0/", "ntfys://192.168.1.1/topic",
     "mailto://user:pass@acme.example?smtp=127.0.0.1&from=a@acme.example", "json://no-such-host.invalid/"],
)  # fmt: skip
async def test_a_merchants_channel_leads_to_no_door_inside(url: str) -> None:
    import apprise

    from backend.models import Audience

    plugin = apprise.Apprise.instantiate(parts_of(url, Audience.TEAM))
    assert plugin is not None
    with pytest.raises(NotUsable, match="host"):
        await check_public(plugin)


async def test_the_door_inside_is_closed_in_production_at_saving_and_at_sending(
    shop: Shop, stall: Stall, owner: Desk, hook: tuple[Hook, str]
) -> None:
    got, url = hook
    production = sending(shop, environment="production", public_url=free_origin())
    async with serving(production) as client:
        refused = await Desk(client, owner.headers).add(url)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "url")
        # Saved while it led elsewhere, so to say: the local stack lets it.
        made = (await owner.add(url)).json()
        tried = (await Desk(client, owner.headers)("POST", f"/channels/{made['id']}/test")).json()
    assert (tried["sent"], got.got) == (False, [])
    assert "not a public one" in tried["reason"]


async def test_own_words_are_checked_previewed_sent_and_taken_back(
    shop: Shop, stall: Stall, owner: Desk, http: httpx.AsyncClient, inbox: tuple[Inbox, str]
) -> None:
    box, url = inbox
    path = "/templates/order_confirmed"
    start = {one["kind"]: one for one in (await owner("GET", "/templates")).json()["templates"]}
    assert set(start) == {kind.value for kind in NotificationKind} - {"sign_in_code"}
    assert "{item}" in start["order_confirmed"]["subject"]
    for kind, one in start.items():
        # The platform's own words are sound by the rules for everybody's.
        found = await owner("POST", f"/templates/{kind}/check", {"subject": one["subject"], "body": one["body"]})
        assert found.json()["problems"] == [], kind
        assert "{" not in found.json()["body"]

    wrong = {"subject": "Yours: {itm}", "body": "Hello {item\n{order.order_id}"}
    found = (await owner("POST", f"{path}/check", wrong)).json()
    assert [one["field"] for one in found["problems"]] == ["subject", "body", "body"]
    assert "There is no {itm} here." in found["problems"][0]["message"]
    assert "subject" not in found
    refused = await owner("PUT", path, wrong)
    assert (refused.status_code, len(refused.json()["errors"])) == (422, 3)

    words = {"subject": "Hurra: {item}", "body": "{quantity} × {item}\n{{7*7}} is no sum".replace("{{7*7}}", "7*7")}
    assert (await owner("PUT", path, words)).status_code == 200
    await shop.sql("UPDATE skus SET name = :name", name="{order}\r\nBcc: all@mail.example")
    order = await sold(shop, stall)
    await deliver_due(shop.database, sending(shop, notify_email_url=url))
    (mail,) = box.to("ada@mail.example")
    assert mail["Subject"] == "Hurra: {order} Bcc: all@mail.example", "what stands in a value is never looked at again"
    assert mail["Bcc"] is None
    assert order not in mail.get_content()
    assert mail.get_content().startswith("1 × {order}")

    # Another merchant's messages keep theirs, auditors only read, and the reset brings the platform's back.
    other = await shop.sale()
    await sold(shop, other, "bob@mail.example")
    await deliver_due(shop.database, sending(shop, notify_email_url=url))
    assert box.to("bob@mail.example")[0]["Subject"].startswith("Your order is confirmed")
    auditor = Desk(http, await as_operator(shop, "auditor", stall))
    assert (await auditor("PUT", path, words)).status_code == 403
    assert (await auditor("POST", f"{path}/check", words)).status_code == 403
    assert (await owner("DELETE", path)).json() == start["order_confirmed"]
    for nowhere in ("/templates/sign_in_code", "/templates/made_up"):
        assert (await owner("PUT", nowhere, words)).status_code == 404


@pytest.mark.parametrize(
    ("subject", "body", "fields"),
    [("", "{page}", ["subject"]), ("x" * 151, "{page}", ["subject"]), ("a\nb", "{page}", ["subject"]),
     ("a", "no page", ["body"]), ("a", "{page}" + "x" * 5_000, ["body"]), ("a", "{page}\x07", ["body"]),
     ("a", "{page!r}", ["body", "body"]), ("a", "{page} {", ["body"]), ("a", "{page} }", ["body"]),
     ("{pay_by}", "{page} {pay_by}", [])],
)  # fmt: skip
def test_what_is_wrong_with_words_is_said_beside_the_field(subject: str, body: str, fields: list[str]) -> None:
    found = problems(NotificationKind.ORDER_RESERVED, Words(subject, body))
    assert [one.field for one in found] == fields
    if "{pay_by}" in body:
        assert problems(NotificationKind.ORDER_CONFIRMED, Words("a", body)), "only what is held has a time to pay by"


def test_a_sealed_address_opens_for_its_own_row_and_key_alone() -> None:
    key, row = b"k" * 32, UUID(int=1)
    sealed = seal(key, "json://secret", row.bytes)
    assert b"secret" not in sealed
    assert open_sealed(key, sealed, row.bytes) == "json://secret"
    assert open_sealed(key, sealed, UUID(int=2).bytes) is None, "an address cannot be moved to another channel"
    assert open_sealed(b"x" * 32, sealed, row.bytes) is None
    assert open_sealed(key, sealed[:-1] + bytes([sealed[-1] ^ 1]), row.bytes) is None
    assert open_sealed(key, b"", row.bytes) is None
    assert seal(key, "json://secret", row.bytes) != sealed
