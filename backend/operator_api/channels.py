"""Settings: a merchant's own channels, with a test; and the words of its messages, checked as they are typed."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field, StringConstraints, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from backend.accounts import Done
from backend.api import AnyOperator, Owner, OwnerCalls, Session, State
from backend.core.errors import invalid_field
from backend.core.fields import Id, Moment, Strict, View
from backend.core.http import StrictRoute
from backend.models import Audience, NotificationChannel, NotificationKind
from backend.notifications import (
    MEANINGS,
    PLACEHOLDERS,
    SERVICES,
    SendFailed,
    Vault,
    Words,
    add_channel,
    channel_of,
    channels_of,
    check_address,
    own_words,
    platform_words,
    preview,
    problems,
    remove_channel,
    reset_words,
    set_words,
    trial_message,
)
from backend.operator_api.people import Address, TestView
from backend.operator_api.schemas import left_out

router = APIRouter(route_class=StrictRoute)

AudienceName = Literal["shoppers", "team"]
KindName = Literal[
    "order_confirmed", "order_reserved", "order_expired", "order_cancelled", "order_rejected", "refund_due"
]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]*$")
]
Text = Annotated[str, StringConstraints(max_length=20_000, pattern=r"^[^\x00]*$")]
"""Longer than what is kept, so that what is wrong with it can be said beside the field."""


class OwnChannelView(View):
    """``service`` is all that is told of the address."""

    id: Id
    name: str
    audience: AudienceName
    service: str
    kinds: list[str]
    created_at: Moment
    pending: int = 0
    sent: int = 0
    dead: int = 0
    """Copies that were given up, of a team's channel."""
    last_error: str | None = None


class OwnChannelsView(View):
    channels: list[OwnChannelView]
    services: list[str]
    """What an address may begin with."""


class OwnChannelBody(Strict):
    name: Name
    audience: AudienceName
    url: Annotated[str, StringConstraints(min_length=1, max_length=1_000, strip_whitespace=True)]
    """An apprise address. It is stored encrypted, and told to nobody again."""
    kinds: Annotated[list[KindName], Field(max_length=6)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits_the_audience(self) -> "OwnChannelBody":
        if (self.audience == "team") != bool(self.kinds):
            raise ValueError("Say for a team's channel which messages it gets a copy of; a shopper gets all of theirs.")
        return self


class TrialBody(Strict):
    recipient: Address = left_out()


class ProblemView(View):
    field: str
    message: str


class PlaceholderView(View):
    name: str
    meaning: str


class WordsView(View):
    kind: str
    own: bool
    subject: str
    body: str
    """With placeholders, as it is edited."""
    placeholders: list[PlaceholderView]


class TemplatesView(View):
    templates: list[WordsView]


class CheckedView(View):
    """What is wrong, and the message with an example's facts when nothing is."""

    problems: list[ProblemView]
    subject: str | None = None
    body: str | None = None


class WordsBody(Strict):
    subject: Text
    body: Text


def _view(row: NotificationChannel) -> OwnChannelView:
    return OwnChannelView(
        id=row.id,
        name=row.name,
        audience=row.audience.value,
        service=row.service,
        kinds=row.kinds,
        created_at=row.created_at,
    )


@router.get("/channels")
async def read_channels(session: Session, actor: AnyOperator) -> OwnChannelsView:
    """The merchant's own ways to send messages, and how they fared."""
    rows, fared = await channels_of(session, actor.merchant_id)
    views = []
    for row in rows:
        counts = fared.get(row.id)
        told = (
            {}
            if counts is None
            else {name: getattr(counts, name) for name in ("pending", "sent", "dead", "last_error")}
        )
        views.append(_view(row).model_copy(update=told))
    return OwnChannelsView(channels=views, services=list(SERVICES))


@router.post("/channels", status_code=201, response_model=OwnChannelView)
async def post_channel(call: OwnerCalls, body: OwnChannelBody) -> Response:
    """Add a channel. Try it afterwards: that an address is well-formed says nothing about its password."""
    vault, audience = Vault(call.state.settings), Audience(body.audience)
    await check_address(body.url, audience, public=vault.public)

    async def action(session: AsyncSession, _: UUID) -> Done:
        made = await add_channel(
            session,
            vault,
            call.actor.merchant_id,
            name=body.name,
            audience=audience,
            url=body.url,
            kinds=[NotificationKind(kind) for kind in body.kinds],
        )
        about = {"name": made.name, "audience": made.audience.value, "service": made.service, "kinds": made.kinds}
        return Done(_view(made).model_dump(mode="json", exclude_none=True), 201, after=about)

    # Without the address: the record keeps a fast hash of what it is given, and a password could be guessed from it.
    about = {"name": body.name, "audience": body.audience, "kinds": list(body.kinds)}
    return await call.run("channel.add", action, condition=about)


@router.delete("/channels/{channel_id}", status_code=204, response_class=Response)
async def delete_channel(call: OwnerCalls, channel_id: UUID) -> Response:
    """Take a channel away. Copies that wait for it are dropped; messages to shoppers go by the platform's again."""

    async def action(session: AsyncSession, _: UUID) -> Done:
        gone = await remove_channel(session, call.actor.merchant_id, channel_id)
        return Done({}, 204, before={"name": gone.name, "audience": gone.audience.value, "service": gone.service})

    return await call.run("channel.remove", action, condition={"channel_id": str(channel_id)})


@router.post("/channels/{channel_id}/test", response_model=TestView)
async def post_channel_trial(call: OwnerCalls, channel_id: UUID, body: TrialBody | None = None) -> Response:
    """Send one message now and say what came of it. A channel to shoppers needs a ``recipient``."""
    recipient = body.recipient if body is not None and "recipient" in body.model_fields_set else None
    async with call.state.database.transaction() as session:
        row = await channel_of(session, call.actor.merchant_id, channel_id)
    if (row.audience is Audience.SHOPPERS) != (recipient is not None):
        raise invalid_field("recipient", "A channel to shoppers needs a recipient; a team's has its own.")

    async def record(_session: AsyncSession, _: UUID) -> dict[str, str]:
        return {"name": row.name}

    async def act(command_id: UUID) -> TestView:
        message = trial_message(str(command_id), recipient or "team", call.actor.merchant_name)
        try:
            await Vault(call.state.settings).open(row, row.id, row.audience).send(message)
        except SendFailed as failure:
            return TestView(sent=False, reason=str(failure))
        return TestView(sent=True)

    async def answer(_session: AsyncSession, view: TestView) -> Done:
        return Done(view.model_dump(mode="json", exclude_none=True), after={"sent": view.sent})

    return await call.run_in_steps("channel.test", record=record, act=act, answer=answer, body=body)


@router.get("/templates")
async def read_templates(session: Session, actor: AnyOperator) -> TemplatesView:
    """What each message about an order says, with its placeholders."""
    own = (await own_words(session, [actor.merchant_id])).get(actor.merchant_id, {})
    return TemplatesView(templates=[_words_view(kind, own.get(kind)) for kind in PLACEHOLDERS])


def _words_view(kind: NotificationKind, own: Words | None) -> WordsView:
    words = own or platform_words(kind)
    return WordsView(
        kind=kind.value,
        own=own is not None,
        subject=words.subject,
        body=words.body,
        placeholders=[PlaceholderView(name=name, meaning=MEANINGS[name]) for name in PLACEHOLDERS[kind]],
    )


@router.post("/templates/{kind}/check")
async def check_template(actor: Owner, state: State, kind: KindName, body: WordsBody) -> CheckedView:
    """What would be wrong with these words, or how a message with them reads. Nothing is kept."""
    which, words = NotificationKind(kind), Words(body.subject, body.body)
    wrong = problems(which, words)
    if wrong:
        return CheckedView(problems=[ProblemView(field=one.field, message=one.message) for one in wrong])
    message = preview(which, actor.merchant_name, state.settings.public_url, words)
    return CheckedView(problems=[], subject=message.subject, body=message.body)


@router.put("/templates/{kind}", response_model=WordsView)
async def put_template(call: OwnerCalls, kind: KindName, body: WordsBody) -> Response:
    """From now on messages of this kind have these words, also those that wait."""
    return await _set_words(call, NotificationKind(kind), Words(body.subject, body.body), body)


@router.delete("/templates/{kind}", response_model=WordsView)
async def delete_template(call: OwnerCalls, kind: KindName) -> Response:
    """Go back to the platform's words."""
    return await _set_words(call, NotificationKind(kind), None, None)


async def _set_words(call: OwnerCalls, kind: NotificationKind, words: Words | None, body: WordsBody | None) -> Response:
    async def action(session: AsyncSession, _: UUID) -> Done:
        merchant_id = call.actor.merchant_id
        before = (await own_words(session, [merchant_id])).get(merchant_id, {}).get(kind)
        if words is None:
            await reset_words(session, merchant_id, kind)
        else:
            await set_words(session, merchant_id, kind, words)
        view = _words_view(kind, words)
        about = {"message": kind.value}
        return Done(
            view.model_dump(mode="json"),
            before={**about, **_said(before)},
            after={**about, **_said(words)},
        )

    verb = "reset" if words is None else "set"
    return await call.run(f"template.{verb}", action, body=body, condition={"message": kind.value})


def _said(words: Words | None) -> dict[str, str]:
    return {"words": "the platform's"} if words is None else {"subject": words.subject, "body": words.body}
