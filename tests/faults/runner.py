"""Runs drills, those of one shape on one platform; a platform that failed a drill is not used for the next."""

import asyncio
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults.broken import BROKEN
from tests.faults.catalogue import CONTROL_DRILL
from tests.faults.drill import Drill, Result, forget, run_drill
from tests.faults.judge import Verdict
from tests.faults.mounts import can_mount
from tests.faults.platform import Platform, Shape
from tests.faults.shop import Shop

Progress = Callable[[str], None]


class Interrupted(Exception):
    """The run was ended by a signal; everything it had started is stopped."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One drill under one seed."""

    drill: Drill
    seed: int


class Runner:
    """Keeps its platforms below ``folder``; those of clean runs are removed at once."""

    def __init__(self, folder: Path, *, long: bool, say: Progress) -> None:
        self._folder = folder
        self._long = long
        self._say = say
        self._platforms = 0

    async def run(self, turns: Sequence[Turn]) -> list[Result]:
        """All of them. Raises ``Interrupted``, and whatever is wrong with the harness itself."""
        results: list[Result] = []
        shapes = list(dict.fromkeys(turn.drill.shape for turn in turns))
        for shape in shapes:
            waiting = [turn for turn in turns if turn.drill.shape == shape]
            if shape.small_disks and not can_mount():
                self._say(f"      left out, this machine lets nobody mount: {_names(waiting)}")
                continue
            while waiting:
                done = await self._on_one_platform(shape, waiting)
                results += done
                waiting = waiting[len(done) :]
        return results

    async def controls(self) -> dict[str, Result]:
        """Each broken product through one drill, all on one platform; the results by what is broken."""
        drills = [replace(CONTROL_DRILL, name=name, shape=Shape(breakable=True), broken=name) for name in BROKEN]
        results = await self._on_one_platform(Shape(breakable=True), [Turn(drill, 1) for drill in drills], go_on=True)
        return {result.drill: result for result in results}

    async def _on_one_platform(self, shape: Shape, turns: Sequence[Turn], *, go_on: bool = False) -> list[Result]:
        """Turns until one fails (unless ``go_on``) or none is left."""
        self._platforms += 1
        folder = self._folder / f"platform-{self._platforms}"
        platform = Platform(folder, shape)
        results: list[Result] = []

        async def play() -> bool:
            shop = Shop(platform)
            await shop.open()
            try:
                for turn in turns:
                    result = await self._drill(platform, shop, turn)
                    results.append(result)
                    self._report(result, folder)
                    if not result.passed and not go_on:
                        break
            finally:
                await shop.close()
            return True

        started_s = time.monotonic()
        try:
            if await platform.run(play) is None:
                raise Interrupted
        finally:
            await platform.close()
        if all(result.passed for result in results):
            await asyncio.to_thread(forget, folder)
        self._say(f"      {len(results)} on one platform ({shape}) in {time.monotonic() - started_s:.0f} s")
        return results

    async def _drill(self, platform: Platform, shop: Shop, turn: Turn) -> Result:
        """What goes wrong with the drill itself is a failure like any other: nothing was proved."""
        folder = platform.data_dir / "witness"
        try:
            return await run_drill(platform, shop, turn.drill, turn.seed, long=self._long, folder=folder)
        except Exception as error:
            (folder / f"{turn.drill.name}-{turn.seed}.error").write_text(traceback.format_exc())
            words = f"the drill broke off: {type(error).__name__}: {error}"
            return Result(turn.drill.name, turn.seed, verdict=Verdict(findings=[words]))

    def _report(self, result: Result, folder: Path) -> None:
        recovered = "never" if result.recovered_s is None else f"{result.recovered_s:.1f} s"
        self._say(
            f"{'ok  ' if result.passed else 'FAIL'}  {result.drill:<24} seed {result.seed:<3}"
            f" {result.elapsed_s:>5.1f} s  sold {result.sold}/{result.stock}"
            f"  202s {result.accepted}  lost {result.lost_in_failover}"
            f"  verdict ≤ {result.longest_verdict_s:.1f} s  away ≤ {result.longest_unavailable_s:.1f} s"
            f"  recovered in {recovered}"
        )
        if not result.passed:
            for line in result.why[:12]:
                self._say(f"        {line}")
            self._say(f"        repeat: .venv/bin/python -m tests.faults --repeat {result.drill}:{result.seed}")
            self._say(f"        data kept in {folder}")


def _names(turns: Sequence[Turn]) -> str:
    return ", ".join(dict.fromkeys(turn.drill.name for turn in turns))
