"""The frame of an operator's mutating call: actor, key, one transaction, and what follows its commit."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Response
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import Actor, Answer, CommandCall, Done, run_command, run_in_steps
from backend.api.access import Auditor, Editor, Owner, State
from backend.api.state import AppState
from backend.core.fields import Strict, given
from backend.core.http import PROBLEM_MEDIA_TYPE, IdempotencyKey, JsonResponse, etag
from backend.core.log import get_logger
from backend.sales import configure_lanes

log = get_logger()

T = TypeVar("T")


class OperatorCall:
    """One mutating call. Its commands run once by (operator, ``Idempotency-Key``)."""

    def __init__(self, state: AppState, actor: Actor, key: str) -> None:
        self.state = state
        self.actor = actor
        self._key = key
        self._after_commit: list[Callable[[], Awaitable[object]]] = []

    def after_commit(self, action: Callable[[], Awaitable[object]]) -> None:
        """Do ``action`` after the commit and before the answer. If it fails the clock's tick repeats it, so
        the failure is logged and the answer stays."""
        self._after_commit.append(action)

    def configures(self, sale_id: UUID) -> None:
        """Tell the sale's lanes after the commit what the ledger wants now."""
        state = self.state
        self.after_commit(lambda: configure_lanes(state.database, state.gate, state.settings, sale_id))

    def clears_fault(self, sale_id: UUID) -> None:
        """The same, and take off the lanes' own latch."""
        state = self.state
        self.after_commit(
            lambda: configure_lanes(state.database, state.gate, state.settings, sale_id, clear_fault=True)
        )

    def _call(
        self, kind: str, body: Strict | None, sale_id: UUID | None, condition: Mapping[str, Any] | None
    ) -> CommandCall:
        sent = given(body) if body is not None else {}
        reason = sent.get("reason")
        return CommandCall(
            self.actor,
            self._key,
            kind,
            {**sent, **(condition or {})},
            sale_id,
            reason if isinstance(reason, str) else None,
        )

    async def run(
        self,
        kind: str,
        action: Callable[[AsyncSession, UUID], Awaitable[Done]],
        *,
        body: Strict | None = None,
        sale_id: UUID | None = None,
        condition: Mapping[str, Any] | None = None,
    ) -> Response:
        """Run a command that is one transaction, commit it, do what follows, and answer."""
        call = self._call(kind, body, sale_id, condition)
        async with self.state.database.transaction() as session:
            answer = await run_command(
                session, self.state.seal_key, call, lambda command_id: action(session, command_id)
            )
        for follow in self._after_commit:
            try:
                await follow()
            except Exception:
                log.exception("command.follow_up_failed", kind=kind, sale_id=sale_id)
        return answered(answer)

    async def run_in_steps(
        self,
        kind: str,
        *,
        record: Callable[[AsyncSession, UUID], Awaitable[Mapping[str, Any]]],
        act: Callable[[UUID], Awaitable[T]],
        answer: Callable[[AsyncSession, T], Awaitable[Done]],
        body: Strict | None = None,
        sale_id: UUID | None = None,
    ) -> Response:
        """Run a command that reaches beyond the ledger, see ``backend.accounts.run_in_steps``."""
        call = self._call(kind, body, sale_id, None)
        state = self.state
        return answered(await run_in_steps(state.database, state.seal_key, call, record=record, act=act, answer=answer))


def answered(answer: Answer) -> Response:
    """A command's answer as a response: the same for each repeat, with the version as ``ETag``."""
    if answer.status == 204:
        return Response(status_code=204)
    media_type = PROBLEM_MEDIA_TYPE if answer.status >= 400 else "application/json"
    response = JsonResponse(dict(answer.body), status_code=answer.status, media_type=media_type)
    version = answer.body.get("version")
    if isinstance(version, int):
        response.headers["ETag"] = etag(version)
    return response


def _call(state: State, actor: Editor, key: IdempotencyKey) -> OperatorCall:
    return OperatorCall(state, actor, key)


Calls = Annotated[OperatorCall, Depends(_call)]
"""Owners and operators, with a well-formed ``Idempotency-Key``."""


def _audit_call(state: State, actor: Auditor, key: IdempotencyKey) -> OperatorCall:
    return OperatorCall(state, actor, key)


def _owner_call(state: State, actor: Owner, key: IdempotencyKey) -> OperatorCall:
    return OperatorCall(state, actor, key)


AuditCalls = Annotated[OperatorCall, Depends(_audit_call)]
"""The same for owners and auditors."""
OwnerCalls = Annotated[OperatorCall, Depends(_owner_call)]
"""The same for owners."""
