"""Publishing: the ledger's words on the page, versions counted once, the list of sales beside it."""

import asyncio
from uuid import uuid4

import pytest

from backend.models import SaleStage
from backend.pages import PublishedSales, publish
from page_renderer import Target, current_version, versions
from tests.backend.shop import Shop, Stall


def page(shop: Shop, stall: Stall) -> str:
    return (shop.settings.pages_dir / "sales" / stall.slug / "current" / "index.html").read_text()


async def recorded(shop: Shop) -> list[int]:
    return [row.version for row in await shop.sql("SELECT version FROM page_versions ORDER BY version")]


async def test_a_page_shows_what_the_ledger_says(shop: Shop) -> None:
    stall = await shop.sale(items={"TEE-M": 5, "TEE-L": 5}, payment_required=True, hold_s=600)
    await shop.sql("UPDATE sales SET title = :title", title="<b>Friday</b> {{7*7}}")

    assert await publish(shop.database, stall.sale_id, shop.settings) == 1

    html = page(shop, stall)
    assert "&lt;b&gt;Friday&lt;/b&gt; {{7*7}}" in html
    assert "Name of TEE-M" in html
    assert "€19.00" in html
    assert "€49.00" in html
    assert "Europe/Berlin" in html
    sale = await shop.row(stall.sale_id)
    assert sale.published_version == 1
    index = (shop.settings.pages_dir / "index" / "current" / "index.html").read_text()
    assert f"/s/{stall.slug}/" in index


async def test_publishing_the_same_again_makes_no_new_version(shop: Shop) -> None:
    stall = await shop.sale()
    assert [await publish(shop.database, stall.sale_id, shop.settings) for _ in range(3)] == [1, 1, 1]
    await shop.sql("UPDATE sales SET title = 'Saturday tee'")
    assert await publish(shop.database, stall.sale_id, shop.settings) == 2
    assert await recorded(shop) == [1, 2]
    assert "Saturday tee" in page(shop, stall)


async def test_two_publishers_at_once_take_turns(shop: Shop) -> None:
    stall = await shop.sale()
    made = await asyncio.gather(*(publish(shop.database, stall.sale_id, shop.settings) for _ in range(5)))
    assert made == [1] * 5
    assert await recorded(shop) == [1]


async def test_a_crash_between_files_and_commit_costs_a_number_and_nothing_else(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    stall = await shop.sale()
    await publish(shop.database, stall.sale_id, shop.settings)
    await shop.sql("UPDATE sales SET title = 'Saturday tee'")

    async def crash(*_: object, **__: object) -> None:
        raise ConnectionError("the database went away")

    with monkeypatch.context() as patch:
        patch.setattr("backend.pages.repository.record_version", crash)
        with pytest.raises(ConnectionError):
            await publish(shop.database, stall.sale_id, shop.settings)
    await shop.sql("UPDATE sales SET title = 'Sunday tee'")

    assert await publish(shop.database, stall.sale_id, shop.settings) == 3
    assert "Sunday tee" in page(shop, stall)
    assert await recorded(shop) == [1, 3]
    assert current_version(shop.settings.pages_dir, Target.sale(stall.slug)) == 3
    assert versions(shop.settings.pages_dir, Target.sale(stall.slug)) == [1, 2, 3]


async def test_pages_that_were_lost_are_made_again(shop: Shop) -> None:
    """The folder is not the record: a fresh one gets the page back under the next number."""
    stall = await shop.sale()
    await publish(shop.database, stall.sale_id, shop.settings)
    moved = shop.settings.model_copy(update={"pages_dir": shop.settings.pages_dir.with_name("other")})

    assert await publish(shop.database, stall.sale_id, moved) == 2
    assert (moved.pages_dir / "sales" / stall.slug / "current" / "index.html").is_file()


async def test_drafts_and_unknown_sales_are_not_published(shop: Shop) -> None:
    stall = await shop.sale(loaded=False)
    await shop.sql("UPDATE sales SET stage = :stage", stage=SaleStage.DRAFT.value)
    with pytest.raises(ValueError, match="draft"):
        await publish(shop.database, stall.sale_id, shop.settings)
    with pytest.raises(LookupError):
        await publish(shop.database, uuid4(), shop.settings)
    assert not (shop.settings.pages_dir / "sales").exists()


async def test_the_catalogue_is_read_once_a_second_for_everybody(shop: Shop) -> None:
    stall = await shop.sale()
    catalogue = PublishedSales(shop.database)
    assert await catalogue.by_slug(stall.slug) is None, "not published"
    await publish(shop.database, stall.sale_id, shop.settings)
    fresh = PublishedSales(shop.database)
    found = await asyncio.gather(*(fresh.by_slug(stall.slug) for _ in range(50)))
    assert all(one is found[0] is not None for one in found)
    assert [sale.sale.slug for sale in await fresh.all()] == [stall.slug]
