"""What an auditor browses, keeps and signs: ledger entries, activity, sign-offs, and the report as one HTML file."""

from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest_asyncio

from tests.backend.server import as_operator, free_origin, serving
from tests.backend.shop import Shop, Stall

AUDIT = "/api/v1/audit"
NASTY = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'


@pytest_asyncio.fixture(loop_scope="session")
async def client(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    shop.settings = shop.settings.model_copy(update={"public_url": free_origin()})
    async with serving(shop.settings) as opened:
        yield opened


async def running(shop: Shop, number: int = 3) -> Stall:
    stall = await shop.sale(payment_required=True)
    for _ in range(number):
        await shop.buy(stall)
    await shop.drain(stall)
    return stall


async def run_of(client: httpx.AsyncClient, stall: Stall, headers: dict[str, str]) -> Any:
    made = await client.post(f"{AUDIT}/sales/{stall.sale_id}/reconciliations", headers=headers)
    assert made.status_code == 201, made.text
    return made.json()


def keyed(headers: dict[str, str], key: str) -> dict[str, str]:
    return {**headers, "Idempotency-Key": key}


async def test_entries_are_found_by_what_caused_them(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await running(shop)
    headers = await as_operator(shop, "auditor", stall)
    path = f"{AUDIT}/sales/{stall.sale_id}/entries"
    found = (await client.get(path, headers=headers)).json()["entries"]
    assert [one["kind"] for one in found] == ["reserve", "reserve", "reserve", "allot"]
    assert [one.get("journal_entry") for one in found][:3] == ["1-3", "1-2", "1-1"], "the newest first"
    middle = found[1]
    for cause in (middle["reservation_id"], middle["order_id"]):
        (only,) = (await client.get(path, params={"cause": cause}, headers=headers)).json()["entries"]
        assert only["id"] == middle["id"]
    assert (await client.get(path, params={"kind": "sell"}, headers=headers)).json()["entries"] == []
    assert (await client.get(path, params={"sku": "OTHER"}, headers=headers)).json()["entries"] == []
    after = (await client.get(path, params={"before": middle["id"]}, headers=headers)).json()["entries"]
    assert [one["kind"] for one in after] == ["reserve", "allot"]
    stranger = await as_operator(shop, "auditor")
    assert (await client.get(path, headers=stranger)).status_code == 404


async def test_a_run_is_signed_off_with_a_remark_that_stays(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await running(shop)
    auditor = await as_operator(shop, "auditor", stall)
    run = await run_of(client, stall, auditor)
    path = f"{AUDIT}/reconciliations/{run['id']}/sign-off"
    body = {"reason": "counted twice"}

    operator = await as_operator(shop, "operator", stall)
    assert (await client.post(path, json=body, headers=keyed(operator, "k"))).status_code == 403
    stranger = await as_operator(shop, "auditor")
    assert (await client.post(path, json=body, headers=keyed(stranger, "k"))).status_code == 404
    assert (await client.post(path, json={}, headers=keyed(auditor, "k"))).status_code == 422
    signed = await client.post(path, json=body, headers=keyed(auditor, "k"))
    repeated = await client.post(path, json=body, headers=keyed(auditor, "k"))

    assert (signed.status_code, signed.json()["verdict"]) == (201, "clean")
    assert repeated.json() == signed.json()
    listed = (await client.get(f"{AUDIT}/sales/{stall.sale_id}/sign-offs", headers=operator)).json()["sign_offs"]
    (one,) = listed
    assert (one["run_id"], one["remark"], one["verdict"], one["role"]) == (
        run["id"],
        "counted twice",
        "clean",
        "auditor",
    )
    activity = (await client.get(f"{AUDIT}/activity", headers=auditor)).json()["activity"]
    (line,) = [one for one in activity if one["kind"] == "reconciliation.sign_off" and one["outcome"] == "done"]
    assert (line["reason"], line["after"]["reconciliation_id"]) == ("counted twice", run["id"])
    assert line["sale_id"] == str(stall.sale_id)
    assert (await client.get(f"{AUDIT}/activity", headers=stranger)).json()["activity"] == []


async def test_the_activity_is_read_page_by_page_without_a_gap(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await running(shop, 1)
    headers = await as_operator(shop, "owner", stall)
    await shop.sql(
        "INSERT INTO sale_events (id, sale_id, kind, alarm, detail) SELECT gen_random_uuid(), :sale, 'made.' || n, "
        "false, '{}' "
        "FROM generate_series(1, 230) n",
        sale=stall.sale_id,
    )
    kinds: list[str] = []
    params: dict[str, str] = {}
    for _ in range(4):
        page = (await client.get(f"{AUDIT}/activity", params=params, headers=headers)).json()
        kinds += [one["kind"] for one in page["activity"]]
        if "next_cursor" not in page:
            break
        params = {"cursor": page["next_cursor"]}
    made = [kind for kind in kinds if kind.startswith("made.")]
    # All of one instant: the id decides, and none is left out or told twice.
    assert sorted(made) == sorted(f"made.{n}" for n in range(1, 231))


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


async def test_the_report_stands_alone_and_runs_nothing(client: httpx.AsyncClient, shop: Shop) -> None:
    stall = await running(shop)
    await shop.sql("UPDATE sales SET title = :title WHERE id = :sale", title=NASTY, sale=stall.sale_id)
    headers = await as_operator(shop, "auditor", stall)
    run = await run_of(client, stall, headers)
    await client.post(
        f"{AUDIT}/reconciliations/{run['id']}/sign-off", json={"reason": NASTY}, headers=keyed(headers, "k")
    )
    path = f"{AUDIT}/reconciliations/{run['id']}"

    asked = await client.get(path, params={"format": "html"}, headers=headers)
    accepted = await client.get(path, headers={**headers, "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

    assert asked.headers["content-type"] == "text/html; charset=utf-8"
    assert accepted.content == asked.content
    assert "default-src 'none'" in asked.headers["content-security-policy"]
    page = _Tags()
    page.feed(asked.text)
    names = {tag for tag, _ in page.tags}
    assert names & {"script", "img", "link", "iframe", "object", "a", "form"} == set()
    assert not any(name.startswith("on") or name in {"src", "href"} for _, attrs in page.tags for name in attrs)
    assert NASTY in page.words, "shown as typed"
    assert "10 allotment = 7 available + 3 reserved + 0 sold" in page.words
    assert "svg" in names
    assert (await client.get(path, headers=headers)).json()["id"] == run["id"], "JSON stays what is sent by default"
