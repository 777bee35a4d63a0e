"""What a merchant's new sales start from; and where an order goes, told to those who send it and to nobody else."""

import csv
import io
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from backend.api import AppState
from backend.gate import LaneId
from backend.models import Role

from .conftest import Operator
from .test_console_reads import first_order, sell, sql
from .test_views import Drain, OpenSale, open_sale

__all__ = ["open_sale"]

SignIn = Callable[..., Awaitable[Operator]]
OWN: dict[str, Any] = {
    "throttle": {"rate_per_s": 25.5, "burst": 40, "wait_budget_ms": 100, "repeat_window_ms": 5_000},
    "link": {"ttl_s": 60, "overlap_s": 5},
    "payment": {"hold_s": 300},
}


async def test_new_sales_start_from_the_merchants_defaults(owner: Operator, sign_in: SignIn) -> None:
    before = (await owner.get("/defaults")).json()
    assert before["own"] is False
    assert {name: before[name] for name in OWN} == before["platform"]
    plain = await owner.make_sale("by-platform")
    assert plain["throttle"] == before["platform"]["throttle"]

    done = await owner.send("PUT", "/defaults", OWN)
    assert (done.status_code, {name: done.json()[name] for name in OWN}, done.json()["own"]) == (200, OWN, True)
    assert done.json()["platform"] == before["platform"]
    made = await owner.make_sale("by-merchant", throttle={"burst": 7})
    assert made["throttle"] == {**OWN["throttle"], "burst": 7}, "what a sale says goes before the defaults"
    assert (made["link"]["ttl_s"], made["link"]["overlap_s"], made["payment"]["hold_s"]) == (60, 5, 300)
    assert made["payment"]["required"] is False
    assert (await owner.get(f"/sales/{plain['id']}")).json()["throttle"] == plain["throttle"]

    # Another merchant's are untouched; operators and auditors read them, owners set them.
    stranger = await sign_in(merchant="Rival")
    assert (await stranger.get("/defaults")).json() == before
    for role in (Role.OPERATOR, Role.AUDITOR):
        other = await sign_in(role)
        assert (await other.get("/defaults")).json() == done.json()
        assert (await other.send("PUT", "/defaults", OWN)).status_code == 403
        assert (await other.send("DELETE", "/defaults")).status_code == 403
    back = await owner.send("DELETE", "/defaults")
    assert back.json() == before
    assert (await owner.make_sale("by-platform-again"))["throttle"] == plain["throttle"]
    lines = (await owner.client.get("/api/v1/audit/activity", headers=owner._headers())).json()["activity"]
    (line,) = [one for one in lines if one["kind"] == "defaults.set"]
    assert (line["before"]["hold_s"], line["after"]["hold_s"]) == (before["payment"]["hold_s"], 300)


@pytest.mark.parametrize(
    ("group", "field", "value"),
    [("throttle", "rate_per_s", 0), ("throttle", "burst", 0), ("throttle", "wait_budget_ms", 10_001),
     ("throttle", "repeat_window_ms", -1), ("link", "ttl_s", 4), ("link", "overlap_s", True),
     ("payment", "hold_s", 4), ("payment", "hold_s", None), ("payment", "required", True)],
)  # fmt: skip
async def test_defaults_have_the_bounds_of_a_sale(owner: Operator, group: str, field: str, value: Any) -> None:
    body = {**OWN, group: {**OWN[group], field: value}}
    refused = await owner.send("PUT", "/defaults", body)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, f"{group}.{field}")
    assert (await owner.get("/defaults")).json()["own"] is False


ADDRESS = {"name": "=Ada Lovelace", "address": "1 St James's Square", "postal_code": "SW1Y 4JH", "city": "London",
           "country": "GB"}  # fmt: skip


async def deliver_to(state: AppState, sale: Any, shopper: UUID) -> None:
    await sql(
        state,
        "INSERT INTO delivery_details (sale_id, shopper_id, name, address, postal_code, city, country) "
        "VALUES (:sale, :shopper, :name, :address, :postal_code, :city, :country)",
        sale=UUID(sale["id"]), shopper=shopper, **ADDRESS,
    )  # fmt: skip


async def test_where_an_order_goes_is_told_to_those_who_send_it(
    owner: Operator, state: AppState, drain: Drain, open_sale: OpenSale, sign_in: SignIn
) -> None:
    sale, lane = await open_sale("deliver", payment={"required": True, "hold_s": 900}, delivery_required=True)
    assert isinstance(lane, LaneId)
    (shopper,) = await sell(state, drain, lane)
    order = await first_order(owner, sale)
    path = f"/sales/{sale['id']}/orders/{order['id']}"
    assert "delivery" not in (await owner.get(path)).json(), "nothing was given yet"
    await deliver_to(state, sale, shopper)
    operator, auditor = await sign_in(Role.OPERATOR), await sign_in(Role.AUDITOR)
    for one in (owner, operator):
        told = (await one.get(path)).json()["delivery"]
        assert told.pop("updated_at")
        assert told == ADDRESS
    assert "delivery" not in (await auditor.get(path)).json()
    stranger = await sign_in(merchant="Rival")
    assert (await stranger.get(path)).status_code == 404

    export = f"/sales/{sale['id']}/orders/export"
    (row,) = csv.DictReader(io.StringIO((await operator.get(export, params={"delivery": "true"})).text))
    assert {name: row[name] for name in ADDRESS} == {**ADDRESS, "name": "'=Ada Lovelace"}
    bare = (await auditor.get(export)).text
    assert "Lovelace" not in bare
    assert "postal_code" not in bare
    assert (await auditor.get(export, params={"delivery": "true"})).status_code == 403
    assert (await stranger.get(export, params={"delivery": "true"})).status_code == 404
    lines = (await owner.get(f"/sales/{sale['id']}/activity")).json()["activity"]
    taken = [(one["actor"], one["outcome"]) for one in lines if one["kind"] == "order.export"]
    assert taken == [(auditor.email, "refused"), (operator.email, "done")]

    # What is recorded of a command never holds an address.
    await owner.ok(f"{path}/cancel", {"reason": "asked for"})
    async with state.database.transaction() as session:
        kept = (await session.execute(text("SELECT CAST(c AS text) FROM commands c"))).scalars().all()
    assert not any("Lovelace" in one for one in kept)
    assert (await owner.client.get("/api/v1/audit/activity/verify", headers=owner._headers())).json()["verified"]
