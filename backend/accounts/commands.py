"""Commands: every mutating call of an operator, done once and recorded.

The row of a command is inserted first. Its unique key (operator, ``Idempotency-Key``) makes a second call with
the same key wait for the first one's transaction, and then repeat its answer. A call that is refused by a rule
leaves nothing behind, so its key may be tried again when the state has changed.

A command that must take units from the gate before the ledger cannot be one transaction. It runs in steps:
record (transaction 1, the answer still open), act (idempotent by the command's id), answer (transaction 2).
After a crash in between, a repeat with the same key finds the open row and carries the command on.

Each transaction ends by chaining what it recorded (``backend.accounts.activity``).
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import repository_commands as repository
from backend.accounts.activity import append
from backend.accounts.activity_chain import SealKey
from backend.accounts.service import Actor
from backend.core.errors import STATUS, Code, Refused, problem
from backend.core.ids import new_id
from backend.core.log import get_logger
from backend.models import ActivityPart, Database

log = get_logger()

_PASSING = frozenset({Code.DEGRADED, Code.BACKLOG, Code.RATE_LIMITED, Code.INTERNAL})
"""Refusals that say nothing about the command: the next repeat may succeed."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CommandCall:
    """What an operator asked for."""

    actor: Actor
    key: str
    kind: str
    """``sale.pause``, ``sku.create``, …"""
    body: Mapping[str, Any] = field(default_factory=dict)
    """The fields as sent, in JSON's types; an ``If-Match`` counts as one."""
    sale_id: UUID | None = None
    reason: str | None = None

    def hash(self) -> bytes:
        """Equal for equal requests, whatever the order of their fields."""
        request = [self.kind, str(self.sale_id), self.body]
        return hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS, default=str)).digest()


@dataclass(frozen=True, slots=True)
class Done:
    """What a command answers, and what it changed."""

    body: Mapping[str, Any]
    status: int = 200
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    sale_id: UUID | None = None
    """For a command that made its sale."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The stored answer: the same for each repeat."""

    status: int
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Begun:
    command_id: UUID
    new: bool
    answer: Answer | None = None


async def _begin(session: AsyncSession, call: CommandCall) -> _Begun:
    command_id = new_id()
    values = {
        "id": command_id,
        "merchant_id": call.actor.merchant_id,
        "operator_id": call.actor.operator_id,
        "sale_id": call.sale_id,
        "kind": call.kind,
        "idempotency_key": call.key,
        "request_hash": call.hash(),
        "reason": call.reason,
    }
    if await repository.insert_once(session, values):
        return _Begun(command_id, new=True)
    earlier = await repository.by_key(session, call.actor.operator_id, call.key)
    if earlier.request_hash != call.hash():
        raise Refused(Code.KEY_REUSED)
    if earlier.response_status is None or earlier.response_body is None:
        return _Begun(earlier.id, new=False)
    return _Begun(earlier.id, new=False, answer=Answer(earlier.response_status, earlier.response_body))


def _answered(done: Done, call: CommandCall) -> dict[str, Any]:
    values: dict[str, Any] = {"response_status": done.status, "response_body": dict(done.body)}
    if done.before is not None:
        values["before"] = dict(done.before)
    if done.after is not None:
        values["after"] = dict(done.after)
    if call.sale_id is None and done.sale_id is not None:
        values["sale_id"] = done.sale_id
    return values


async def _chain(session: AsyncSession, key: SealKey, call: CommandCall, command_id: UUID, part: ActivityPart) -> None:
    """The last thing a transaction does, so that the head's row is held for no longer than the commit takes."""
    await append(session, key, call.actor.merchant_id, command_id, part)


async def run_command(
    session: AsyncSession, key: SealKey, call: CommandCall, action: Callable[[UUID], Awaitable[Done]]
) -> Answer:
    """Do ``action`` once, in the session's transaction, and record it. ``action`` gets the command's id.

    Raises ``KEY_REUSED`` for the key of another request, and whatever ``action`` raises.
    """
    begun = await _begin(session, call)
    if begun.answer is not None:
        return begun.answer
    done = await action(begun.command_id)
    await repository.finish(session, begun.command_id, _answered(done, call))
    await _chain(session, key, call, begun.command_id, ActivityPart.WHOLE)
    log.info("command.done", command_id=begun.command_id, kind=call.kind, sale_id=call.sale_id)
    return Answer(done.status, done.body)


async def run_in_steps(
    database: Database,
    key: SealKey,
    call: CommandCall,
    *,
    record: Callable[[AsyncSession, UUID], Awaitable[Mapping[str, Any]]],
    act: Callable[[UUID], Awaitable[T]],
    answer: Callable[[AsyncSession, T], Awaitable[Done]],
) -> Answer:
    """Do a command that reaches beyond the ledger.

    ``record`` checks and writes what must be known before anything happens, and returns the state before;
    ``act`` must be idempotent by the command's id; ``answer`` reads what has become of it. A final refusal by
    ``act`` is stored as the answer; a passing one (``DEGRADED``) leaves the command open for a repeat.
    """
    async with database.transaction() as session:
        begun = await _begin(session, call)
        if begun.answer is not None:
            return begun.answer
        if begun.new:
            before = await record(session, begun.command_id)
            await repository.note(session, begun.command_id, {"before": dict(before)})
            await _chain(session, key, call, begun.command_id, ActivityPart.BEGUN)
    try:
        result = await act(begun.command_id)
    except Refused as refusal:
        if refusal.code in _PASSING:
            raise
        status, body = STATUS[refusal.code], problem(refusal)
        async with database.transaction() as session:
            if await repository.finish(session, begun.command_id, {"response_status": status, "response_body": body}):
                await _chain(session, key, call, begun.command_id, ActivityPart.WHOLE)
        return Answer(status, body)
    async with database.transaction() as session:
        done = await answer(session, result)
        # The entry of the beginning covers these two, so they stay as they were recorded.
        assert done.before is None, call.kind
        assert done.sale_id is None, call.kind
        if not await repository.finish(session, begun.command_id, _answered(done, call)):
            # A repeat that ran beside this one was first: its answer is the one on record.
            begun = await _begin(session, call)
            assert begun.answer is not None
            return begun.answer
        await _chain(session, key, call, begun.command_id, ActivityPart.WHOLE)
    log.info("command.done", command_id=begun.command_id, kind=call.kind, sale_id=call.sale_id)
    return Answer(done.status, done.body)


async def record_refusal(
    database: Database, key: SealKey, actor: Actor, kind: str, *, sale_id: UUID | None = None
) -> None:
    """Put a call that the actor's role does not allow into the activity log, in its own transaction."""
    refusal = Refused(Code.FORBIDDEN)
    await _record(database, key, actor, kind, sale_id, STATUS[refusal.code], {"response_body": problem(refusal)})
    log.warning("command.forbidden", operator_id=actor.operator_id, kind=kind)


async def record_read(
    database: Database, key: SealKey, actor: Actor, kind: str, sale_id: UUID, what: Mapping[str, Any]
) -> None:
    """Put into the activity log that somebody took personal data out; before they leave, in its own transaction."""
    await _record(database, key, actor, kind, sale_id, 200, {"response_body": {}, "after": dict(what)})
    log.info("command.read", operator_id=actor.operator_id, kind=kind, sale_id=sale_id)


async def _record(
    database: Database,
    key: SealKey,
    actor: Actor,
    kind: str,
    sale_id: UUID | None,
    status: int,
    answer: Mapping[str, Any],
) -> None:
    """A line of the activity that is no command: nothing repeats it."""
    command_id = new_id()
    values: dict[str, Any] = {
        "id": command_id,
        "merchant_id": actor.merchant_id,
        "operator_id": actor.operator_id,
        "kind": kind[:64],
        # No client can send a key with a blank in it, so this one can never be met by a call.
        "idempotency_key": f"recorded {command_id}",
        "request_hash": b"",
    }
    async with database.transaction() as session:
        # Another merchant's sale must not get this one's activity.
        if sale_id is not None and await repository.is_sale_of(session, sale_id, actor.merchant_id):
            values["sale_id"] = sale_id
        await repository.insert_once(session, values)
        await repository.finish(session, command_id, {"response_status": status, **answer})
        await append(session, key, actor.merchant_id, command_id, ActivityPart.WHOLE)
