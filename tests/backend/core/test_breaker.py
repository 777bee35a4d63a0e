"""A dependency that is down is asked by one caller at a time, and by all again once it answers."""

import asyncio

import pytest

from backend.core.breaker import Breaker, CircuitOpen, CircuitState


class Down(Exception):
    """No answer."""


class Refusal(Exception):
    """An answer, though not the one that was hoped for."""


def _is_failure(error: BaseException) -> bool:
    return isinstance(error, Down)


def _ask(breaker: Breaker, error: BaseException | None = None) -> None:
    with breaker.guard(_is_failure):
        if error is not None:
            raise error


def _break(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(Down):
            _ask(breaker, Down())


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker("gate", failures_max=3, rest_s=60)
    _break(breaker, 2)
    _ask(breaker)  # an answer in between starts the count anew
    _break(breaker, 2)
    assert breaker.state is CircuitState.CLOSED
    _break(breaker, 1)
    assert breaker.state is CircuitState.OPEN
    with pytest.raises(CircuitOpen, match="gate did not answer lately"):
        _ask(breaker)


def test_an_open_one_asks_nobody() -> None:
    breaker = Breaker("gate", failures_max=1, rest_s=60)
    _break(breaker, 1)
    asked = False
    with pytest.raises(CircuitOpen), breaker.guard(_is_failure):
        asked = True
    assert not asked


def test_a_refusal_is_an_answer() -> None:
    breaker = Breaker("database", failures_max=2, rest_s=60)
    for _ in range(5):
        _break(breaker, 1)
        with pytest.raises(Refusal):
            _ask(breaker, Refusal())
    assert breaker.state is CircuitState.CLOSED


def test_the_probe_that_gets_through_closes_it() -> None:
    breaker = Breaker("gate", failures_max=1, rest_s=0)
    _break(breaker, 1)
    assert breaker.state is CircuitState.HALF_OPEN
    _ask(breaker)
    assert breaker.state is CircuitState.CLOSED


def test_the_probe_that_fails_opens_it_again() -> None:
    breaker = Breaker("gate", failures_max=3, rest_s=0)
    _break(breaker, 3)
    breaker._rest_s = 60
    _break(breaker, 1)  # one failure is enough now
    assert breaker.state is CircuitState.OPEN


async def test_one_probe_at_a_time() -> None:
    breaker = Breaker("gate", failures_max=1, rest_s=0)
    _break(breaker, 1)
    asked = 0
    may_answer = asyncio.Event()

    async def ask() -> bool:
        nonlocal asked
        try:
            with breaker.guard(_is_failure):
                asked += 1
                await may_answer.wait()
        except CircuitOpen:
            return False
        return True

    tasks = [asyncio.create_task(ask()) for _ in range(20)]
    await asyncio.sleep(0)
    assert asked == 1
    assert breaker.state is CircuitState.OPEN
    may_answer.set()
    assert sorted(await asyncio.gather(*tasks)) == [False] * 19 + [True]
    _ask(breaker)


async def test_a_cancelled_probe_says_nothing_and_blocks_nobody() -> None:
    breaker = Breaker("gate", failures_max=1, rest_s=0)
    _break(breaker, 1)

    async def ask() -> None:
        with breaker.guard(_is_failure):
            await asyncio.Event().wait()

    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert breaker.state is CircuitState.HALF_OPEN
    _ask(breaker)
    assert breaker.state is CircuitState.CLOSED


async def test_a_caller_from_before_does_not_end_the_probe_of_another() -> None:
    breaker = Breaker("gate", failures_max=1, rest_s=0)
    first, second = asyncio.Event(), asyncio.Event()

    async def ask(until: asyncio.Event) -> None:
        with breaker.guard(_is_failure):
            await until.wait()
            raise Down

    early = asyncio.create_task(ask(first))  # on its way while the circuit is closed
    await asyncio.sleep(0)
    _break(breaker, 1)
    probe = asyncio.create_task(ask(second))
    await asyncio.sleep(0)
    first.set()
    with pytest.raises(Down):
        await early
    with pytest.raises(CircuitOpen):
        _ask(breaker)
    second.set()
    with pytest.raises(Down):
        await probe
    assert breaker.state is CircuitState.HALF_OPEN
