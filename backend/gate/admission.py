"""Micro-batching: attempts that arrive while a call is in flight go out together in the next one.

An idle lane adds no delay: the first attempt is sent at once. Under load a call carries up to ``BATCH_MAX``
attempts, so the cost of a round trip is shared by all of them.

A lane whose durability is ``acknowledged`` says so in its answer to each batch, so a change of the setting holds from
the very batch that met it. What holds units is then told only when the store has it safe; not in time is "unknown".
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from backend.core.log import get_logger
from backend.core.metrics import GATE_BATCH_ATTEMPTS, GATE_CALL_SECONDS, GATE_UNANSWERED
from backend.gate.gate import BATCH_MAX, Gate
from backend.gate.keys import LaneId
from backend.gate.outcomes import Outcome
from backend.gate.values import Attempt, Batch, Decision
from backend.gate.wire import GateUnavailable

log = get_logger()

WAITING_MAX = 20_000
"""Attempts of one lane that may wait in one process: at 40 k/s half a second, and about 10 MB."""
FORGED_FLUSH_S = 1.0
COMPLAIN_EVERY_S = 1.0
"""A lane without its gate is worth a line a second, not one a batch."""


Answered = Callable[[Decision | GateUnavailable], None]
"""What to call with the answer to an attempt. It must not raise: others of its batch come after it."""


class Overloaded(Exception):
    """More attempts wait than this process can hold: refuse at once rather than late."""


class LaneAdmission:
    """One lane's queue in this process, and the process's memory of what the gate last answered."""

    def __init__(self, gate: Gate, lane_id: LaneId) -> None:
        self._gate = gate
        self._lane_id = lane_id
        self._waiting: deque[tuple[Attempt, Answered]] = deque()
        self._unsafe = 0
        self._safekeeping: set[asyncio.Task[None]] = set()
        self._sender: asyncio.Task[None] | None = None
        self._forged = 0
        self._forged_timer: asyncio.TimerHandle | None = None
        self._complained_s = -COMPLAIN_EVERY_S
        # A gate whose last entry is below what it once answered has lost history (REGRESSED).
        self.generation = 0
        self.seen_seq = -1

    def decide(self, attempt: Attempt, answered: Answered) -> None:
        """Have an attempt decided; ``answered`` gets the decision, or why there is none. Raises ``Overloaded``."""
        if len(self._waiting) + self._unsafe >= WAITING_MAX:
            raise Overloaded
        self._waiting.append((attempt, answered))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())

    def submit(self, attempt: Attempt) -> asyncio.Future[Decision]:
        """The decision to come. Raises ``Overloaded``; the future raises ``GateUnavailable``."""
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()

        def answered(answer: Decision | GateUnavailable) -> None:
            if future.done():  # its client may have gone
                return
            if isinstance(answer, GateUnavailable):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self.decide(attempt, answered)
        return future

    def count_forged(self) -> None:
        """Count a link refused without the gate; it is told with the next batch, or after a second."""
        self._forged += 1
        if self._forged_timer is None:
            loop = asyncio.get_running_loop()
            self._forged_timer = loop.call_later(FORGED_FLUSH_S, self._flush_forged)

    def _flush_forged(self) -> None:
        self._forged_timer = None
        if self._forged and self._sender is None:
            self._sender = asyncio.create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._waiting or self._forged:
                count = min(len(self._waiting), BATCH_MAX)
                batch = [self._waiting.popleft() for _ in range(count)]
                try:
                    decisions, acknowledge = await self._ask([attempt for attempt, _ in batch])
                except GateUnavailable as error:
                    self._fail(batch, str(error))
                    return
                except BaseException as error:
                    # An answer that this code cannot read, or a cancelled task: an alarm, and carried out or not,
                    # but nobody may be left waiting for it for ever.
                    self._fail(batch, f"{type(error).__name__}: {error}")
                    raise
                told = self._keep_back(batch, decisions) if acknowledge else decisions
                for (_, answered), decision in zip(batch, told, strict=True):
                    if decision is not None:
                        answered(decision)
        finally:
            self._sender = None

    def _keep_back(self, batch: list[tuple[Attempt, Answered]], decisions: list[Decision]) -> list[Decision | None]:
        """The refusals, which promise nothing; what holds units is kept back until it is safe.

        The next batch does not wait for that: its acknowledgement joins those of others.
        """
        held = [
            (attempt, answered, decision)
            for (attempt, answered), decision in zip(batch, decisions, strict=True)
            if decision.entry_id is not None
        ]
        if held:
            task = asyncio.create_task(self._make_safe(held))
            self._safekeeping.add(task)
            task.add_done_callback(self._safekeeping.discard)
        return [one if one.entry_id is None else None for one in decisions]

    async def _make_safe(self, held: list[tuple[Attempt, Answered, Decision]]) -> None:
        self._unsafe += len(held)
        unknown: list[tuple[Attempt, Answered]] = []
        reason = "a reservation is gone: the store lost it"
        try:
            claims = [(attempt.reservation, decision.entry_id) for attempt, _, decision in held if decision.entry_id]
            safe = await self._gate.acknowledge(self._lane_id, claims)
            for (attempt, answered, decision), kept in zip(held, safe, strict=True):
                if kept:
                    answered(decision)
                else:
                    unknown.append((attempt, answered))
        except GateUnavailable as error:
            # Reserved or not: the same key finds its ticket later.
            unknown, reason = [(attempt, answered) for attempt, answered, _ in held], str(error)
        except BaseException as error:
            self._answer_unknown(
                [(attempt, answered) for attempt, answered, _ in held], f"{type(error).__name__}: {error}"
            )
            raise
        finally:
            self._unsafe -= len(held)
        if unknown:
            self._answer_unknown(unknown, reason)

    def _fail(self, batch: list[tuple[Attempt, Answered]], reason: str) -> None:
        # Whoever waits behind would only wait for the same time-out again.
        batch += self._waiting
        self._waiting.clear()
        self._answer_unknown(batch, reason)

    def _answer_unknown(self, batch: list[tuple[Attempt, Answered]], reason: str) -> None:
        error = GateUnavailable(reason)
        now_s = time.monotonic()
        if now_s - self._complained_s >= COMPLAIN_EVERY_S:
            self._complained_s = now_s
            log.warning("gate.unavailable", item_id=str(self._lane_id.item_id), attempts=len(batch), error=reason)
        GATE_UNANSWERED.inc(len(batch))
        for _, answered in batch:
            answered(error)

    async def _ask(self, attempts: list[Attempt]) -> tuple[list[Decision], bool]:
        """The decisions, and whether reservations must be safe before they are told."""
        reply = await self._call(attempts)
        stale = [at for at, one in enumerate(reply.decisions) if one.outcome is Outcome.STALE_GENERATION]
        if not stale:
            return reply.decisions, reply.acknowledge
        # A rebuilt gate: ``_call`` has learned its generation; ask once more for those it refused.
        again = await self._call([attempts[at] for at in stale])
        for at, decision in zip(stale, again.decisions, strict=True):
            reply.decisions[at] = decision
        return reply.decisions, reply.acknowledge or again.acknowledge

    async def _call(self, attempts: list[Attempt]) -> Batch:
        forged, self._forged = self._forged, 0
        asked_at_s = time.monotonic()
        try:
            reply = await self._gate.admit(
                self._lane_id,
                attempts,
                generation=self.generation,
                seen_seq=self.seen_seq,
                forged=forged,
            )
        except GateUnavailable:
            self._forged += forged  # told with the next one
            raise
        GATE_CALL_SECONDS.observe(time.monotonic() - asked_at_s)
        GATE_BATCH_ATTEMPTS.observe(len(attempts))
        self.remember(reply)
        return reply

    def remember(self, reply: Batch) -> None:
        """Keep the highest entry ever answered; a lower generation is an old gate and teaches nothing."""
        if reply.last.generation > self.generation:
            self.generation, self.seen_seq = reply.last.generation, reply.last.seq
        elif reply.last.generation == self.generation:
            self.seen_seq = max(self.seen_seq, reply.last.seq)


class Admission:
    """The lanes of one API process."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._lanes: dict[LaneId, LaneAdmission] = {}

    def lane(self, lane_id: LaneId) -> LaneAdmission:
        """The queue of a lane. Callers ask only for lanes of the directory, so their number is bounded."""
        lane = self._lanes.get(lane_id)
        if lane is None:
            lane = self._lanes[lane_id] = LaneAdmission(self._gate, lane_id)
        return lane
