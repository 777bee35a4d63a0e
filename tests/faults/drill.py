"""One drill: a sale under load, one fault, and the reckoning."""

import asyncio
import random
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.books import Books, Page
from tests.faults.broken import break_part
from tests.faults.crowd import Crowd, Manners
from tests.faults.judge import Verdict, judge
from tests.faults.platform import Platform, Shape
from tests.faults.shop import RunningSale, Shop, Terms
from tests.faults.witness import Witness

REST_WITHIN_S = 60.0
"""I5: every 202 is decided within this after the end of any single fault."""
DRIFT_WITHIN_S = 30.0
"""Drift is back to 0 within this."""
DEMAND_S = 45.0
"""So long after the fault's end shoppers go on trying for units that come back."""
GO_HOME_S = 15.0
"""Everybody's last request has ended by then; who still waits for a verdict is asked for in the reckoning."""
LOOK_EVERY_S = 0.1


@dataclass(slots=True)
class Scene:
    """What a fault is given. It sets ``began_s`` and ``ended_s`` (monotonic), as ``mark`` does around a block."""

    platform: Platform
    shop: Shop
    books: Books
    sale: RunningSale
    random: random.Random
    long: bool
    injected: int = 0
    """How many faults there were; a drill without any proves nothing and fails."""
    began_s: float = 0.0
    ended_s: float = 0.0
    notes: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """The fault is there."""
        if not self.injected:
            self.began_s = time.monotonic()
        self.injected += 1
        self.ended_s = time.monotonic()

    def end(self) -> None:
        """Nobody disturbs any more; what follows is recovery."""
        self.ended_s = time.monotonic()

    async def for_s(self, short: float, long: float) -> None:
        """Let the fault last: shorter in CI."""
        await asyncio.sleep(long if self.long else short)


Inject = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Drill:
    """A fault, and the sale that it happens to."""

    name: str
    fault: str
    """For the table."""
    inject: Inject
    terms: Terms = field(default_factory=Terms)
    shape: Shape = field(default_factory=Shape)
    ci_seeds: int = 0
    """How many seeds the CI size gives it."""
    after_s: tuple[float, float] = (0.5, 1.5)
    """When it comes, in seconds after the opening."""
    may_lose: bool = False
    """The fault takes acknowledged reservations with it: their tickets must say so. Else none may."""
    broken: str | None = None
    """For a negative control: what is broken meanwhile (``tests.faults.broken``)."""
    linger_s: float = 0.0
    """The reckoning is not before this long after the fault's end: some effects come late."""
    rest_within_s: float = REST_WITHIN_S


@dataclass(slots=True)
class Result:
    """What came of one drill under one seed."""

    drill: str
    seed: int
    injected: int = 0
    verdict: Verdict = field(default_factory=Verdict)
    accepted: int = 0
    sold: int = 0
    stock: int = 0
    lost_in_failover: int = 0
    longest_verdict_s: float = 0.0
    longest_unavailable_s: float = 0.0
    recovered_s: float | None = None
    elapsed_s: float = 0.0
    told: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Every invariant held, and there was a fault."""
        return self.verdict.clean and self.injected > 0

    @property
    def why(self) -> list[str]:
        """What is wrong, worst first."""
        figures = {name: getattr(self.verdict, name) for name in ("oversold", "stranded", "undecided")}
        found = [f"{name} {value}" for name, value in figures.items() if value]
        if not self.injected:
            found.append("the fault never happened")
        return found + self.verdict.findings


async def run_drill(platform: Platform, shop: Shop, drill: Drill, seed: int, *, long: bool, folder: Path) -> Result:
    """Run it. Faults of the platform are in the result; what raises is a fault of the harness."""
    started_s = time.monotonic()
    result = Result(drill.name, seed)
    folder.mkdir(parents=True, exist_ok=True)
    witness = Witness(folder / f"{drill.name}-{seed}.jsonl")
    books = Books(platform)
    try:
        sale = await shop.sale(drill.terms)
        scene = Scene(platform, shop, books, sale, random.Random(f"{drill.name}:{seed}"), long)
        with break_part(platform.seams, drill.broken) if drill.broken else nullcontext():
            page = await _play(scene, drill, witness, result, seed)
        result.verdict = await judge(books, sale, witness, page, may_lose=drill.may_lose)
        if result.recovered_s is None:
            result.verdict.findings.append("the books were never seen balanced after the fault")
        elif result.recovered_s > DRIFT_WITHIN_S:
            result.verdict.findings.append(f"it took {result.recovered_s:.1f} s to recover")
        result.injected, result.notes, result.stock = scene.injected, scene.notes, sale.stock
        result.sold = page.ledger.sold if page else 0
    finally:
        witness.close()
        await books.close()
    result.accepted, result.lost_in_failover = len(witness.tickets()), witness.lost_in_failover()
    result.longest_verdict_s = round(witness.longest_to_verdict_s(), 2)
    result.longest_unavailable_s = round(witness.longest_unavailable_s(), 2)
    result.told = dict(sorted(witness.told.items()))
    result.elapsed_s = round(time.monotonic() - started_s, 1)
    return result


async def _play(scene: Scene, drill: Drill, witness: Witness, result: Result, seed: int) -> Page | None:
    """The crowd comes, the fault happens, and all comes to rest or the time is up. Returns the last page."""
    sale, terms = scene.sale, drill.terms
    crowd = Crowd(
        scene.shop.client,
        witness,
        slug=sale.slug,
        sku=sale.sku,
        shoppers=scene.shop.shoppers[: terms.shoppers],
        manners=Manners(terms.spread_s, terms.pays if terms.hold_s is not None else 1.0),
        seed=seed,
    )
    await asyncio.sleep(max(0.0, sale.opens_at_s - time.time()))
    shopping = asyncio.create_task(crowd.run())
    fault = asyncio.create_task(_fault(scene, drill))
    try:
        page = await _watch(scene, drill, crowd, shopping, fault, result)
        crowd.over.set()
        await asyncio.wait({shopping}, timeout=GO_HOME_S)
        if shopping.done():
            shopping.result()  # a shopper who stumbles is a fault of the harness, or an answer that nobody foresaw
        await fault
        try:
            await crowd.ask_everybody(within_s=15.0)
        except TimeoutError:
            witness.broken.append("shoppers without an answer had none at rest either")
        return await scene.books.page(sale.item_id) or page
    finally:
        crowd.over.set()
        for task in (shopping, fault):
            task.cancel()
        await asyncio.gather(shopping, fault, return_exceptions=True)


async def _fault(scene: Scene, drill: Drill) -> None:
    await asyncio.sleep(scene.random.uniform(*drill.after_s))
    await drill.inject(scene)
    if not scene.injected:
        scene.end()


async def _watch(
    scene: Scene,
    drill: Drill,
    crowd: Crowd,
    shopping: asyncio.Task[None],
    fault: asyncio.Task[None],
    result: Result,
) -> Page | None:
    """Look at the books until they are at rest after the fault. Notes when they were first balanced again."""
    page: Page | None = None
    while True:
        looked_s = time.monotonic()
        now = await scene.books.page(scene.sale.item_id)
        page = now or page
        if fault.done():
            since_s = looked_s - scene.ended_s
            if now is not None and now.balanced and since_s >= 0 and result.recovered_s is None:
                result.recovered_s = round(time.monotonic() - scene.ended_s, 2)
            if now is not None and now.ledger.sold == scene.sale.stock:
                crowd.over.set()
            if since_s > DEMAND_S:
                crowd.over.set()
            served = shopping.done() or crowd.over.is_set()
            if now is not None and not now.why_restless() and served and since_s >= drill.linger_s:
                return now
            if since_s > drill.rest_within_s:
                return page
            if fault.exception() is not None:
                fault.result()
        await asyncio.sleep(LOOK_EVERY_S)


def forget(folder: Path) -> None:
    """Remove what a clean run leaves behind."""
    shutil.rmtree(folder, ignore_errors=True)
