"""Settings: a merchant's people and their sessions, and the way messages go out."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import StringConstraints, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import (
    Done,
    add_operator,
    change_operator,
    end_session,
    operator_of,
    operators_of,
    sessions_of,
)
from backend.api import AnyOperator, Owner, OwnerCalls, Session, State
from backend.core.errors import Code, Refused
from backend.core.fields import Id, Moment, Strict, View
from backend.core.http import StrictRoute
from backend.models import Role
from backend.notifications import EmailChannel, SendFailed, own_words, previews, trial_message
from backend.operator_api.schemas import left_out

router = APIRouter(route_class=StrictRoute)

RoleName = Literal["owner", "operator", "auditor"]
Address = Annotated[str, StringConstraints(min_length=3, max_length=254, pattern=r"^[^\x00]*$")]


class OperatorView(View):
    id: Id
    email: str
    role: RoleName
    disabled: bool
    created_at: Moment
    signed_in_at: Moment | None = None


class OperatorsView(View):
    operators: list[OperatorView]


class OperatorBody(Strict):
    email: Address
    role: RoleName
    password: Annotated[str, StringConstraints(min_length=1, max_length=256)]


class OperatorChange(Strict):
    role: RoleName = left_out()
    disabled: bool = left_out()

    @model_validator(mode="after")
    def _changes_something(self) -> "OperatorChange":
        if not self.model_fields_set:
            raise ValueError("Give role or disabled.")
        return self


class OpenSession(View):
    id: Id
    operator_id: Id
    email: str
    created_at: Moment
    expires_at: Moment
    current: bool


class SessionsView(View):
    sessions: list[OpenSession]


class TemplateView(View):
    kind: str
    subject: str
    body: str


class ChannelView(View):
    """``configured`` says whether the platform has one; its address, which may hold a password, is told to nobody."""

    configured: bool
    templates: list[TemplateView]


class TestBody(Strict):
    recipient: Address


class TestView(View):
    sent: bool
    reason: str | None = None


@router.get("/operators")
async def read_operators(session: Session, actor: AnyOperator) -> OperatorsView:
    """Everybody who may sign in for this merchant, dismissed ones included."""
    rows = await operators_of(session, actor.merchant_id)
    return OperatorsView(
        operators=[
            OperatorView(
                id=row.id,
                email=row.email,
                role=row.role,
                disabled=row.disabled_at is not None,
                created_at=row.created_at,
                signed_in_at=row.signed_in_at,
            )
            for row in rows
        ]
    )


@router.post("/operators", status_code=201, response_model=OperatorView)
async def post_operator(call: OwnerCalls, body: OperatorBody) -> Response:
    """Add somebody, with a first password."""

    async def action(session: AsyncSession, _: UUID) -> Done:
        operator_id = await add_operator(
            session, body.email, body.role, call.actor.merchant_name, body.password, hashing=call.state.hashing
        )
        made = await operator_of(session, call.actor.merchant_id, operator_id)
        view = OperatorView(
            id=made.id, email=made.email, role=made.role.value, disabled=False, created_at=made.created_at
        )
        return Done(
            view.model_dump(mode="json", exclude_none=True), 201, after={"email": made.email, "role": made.role.value}
        )

    # Without the password: the record keeps a fast hash of what it is given, and that one could be guessed from.
    return await call.run("operator.add", action, condition={"email": body.email, "role": body.role})


@router.patch("/operators/{operator_id}", response_model=OperatorView)
async def patch_operator(call: OwnerCalls, operator_id: UUID, body: OperatorChange) -> Response:
    """Change a role, dismiss or take back. The person's sessions end; the last owner stays."""

    async def action(session: AsyncSession, _: UUID) -> Done:
        given = body.model_fields_set
        before, after = await change_operator(
            session,
            call.actor.merchant_id,
            operator_id,
            role=Role(body.role) if "role" in given else None,
            disabled=body.disabled if "disabled" in given else None,
        )
        made = await operator_of(session, call.actor.merchant_id, operator_id)
        view = OperatorView(
            id=made.id, email=made.email, role=after["role"], disabled=after["disabled"], created_at=made.created_at
        )
        return Done(view.model_dump(mode="json", exclude_none=True), before=before, after=after)

    return await call.run("operator.change", action, body=body, condition={"operator_id": str(operator_id)})


@router.get("/sessions")
async def read_sessions(session: Session, actor: Owner) -> SessionsView:
    """Who is signed in now."""
    rows = await sessions_of(session, actor.merchant_id)
    return SessionsView(sessions=[OpenSession(**row._asdict(), current=row.id == actor.session_id) for row in rows])


@router.post("/sessions/{session_id}/end", response_model=SessionsView)
async def post_end_session(call: OwnerCalls, session_id: UUID) -> Response:
    """Sign somebody out everywhere this session is used."""

    async def action(session: AsyncSession, _: UUID) -> Done:
        email = await end_session(session, call.actor.merchant_id, session_id)
        return Done({"sessions": []}, after={"email": email, "signed_out": True})

    return await call.run("session.end", action, condition={"session_id": str(session_id)})


@router.get("/channel")
async def read_channel(session: Session, state: State, actor: AnyOperator) -> ChannelView:
    """Whether messages can go out, and what each kind says, with figures of an example."""
    words = (await own_words(session, [actor.merchant_id])).get(actor.merchant_id)
    return ChannelView(
        configured=state.settings.notify_email_url is not None,
        templates=[
            TemplateView(kind=kind, subject=subject, body=body)
            for kind, subject, body in previews(actor.merchant_name, state.settings.public_url, words)
        ],
    )


@router.post("/channel/test", response_model=TestView)
async def post_channel_test(call: OwnerCalls, body: TestBody) -> Response:
    """Send one message now and say what came of it. Its recipient is recorded masked."""
    state = call.state
    if state.settings.notify_email_url is None:
        raise Refused(Code.WRONG_STATE, "No channel is configured: set STAMPEDE_NOTIFY_EMAIL_URL.")
    url = state.settings.notify_email_url

    async def record(_session: AsyncSession, _: UUID) -> dict[str, str]:
        return {}

    async def act(command_id: UUID) -> TestView:
        try:
            await EmailChannel(url).send(trial_message(str(command_id), body.recipient, call.actor.merchant_name))
        except SendFailed as failure:
            return TestView(sent=False, reason=str(failure))
        return TestView(sent=True)

    async def answer(_session: AsyncSession, view: TestView) -> Done:
        return Done(view.model_dump(mode="json", exclude_none=True), after={"sent": view.sent})

    return await call.run_in_steps("channel.test", record=record, act=act, answer=answer, body=body)
