"""What a batch means, decided without a database."""

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from backend.gate import EntryId, JournalEntry, JournalKind
from backend.models import Fault, ReservationStatus
from backend.orders.plan import (
    ItemFacts,
    LatePayment,
    Rejection,
    Unappliable,
    payment_ids,
    plan_batch,
    reservation_ids,
)

FACTS = ItemFacts(
    sale_id=uuid4(),
    item_id=uuid4(),
    sku="TEE-M",
    available=5,
    price_minor=1_900,
    currency="EUR",
    payment_required=False,
    hold_s=900,
    cancelled=False,
)
HELD = replace(FACTS, payment_required=True)


def entry(
    kind: JournalKind = JournalKind.RESERVE, *, seq: int = 1, quantity: int = 1, cause: UUID | None = None
) -> JournalEntry:
    cause = cause or uuid4()
    return JournalEntry(EntryId(1, seq), kind, cause.hex, uuid4().hex, quantity, 1_000, 0, "")


@pytest.mark.parametrize(
    ("facts", "status"), [(FACTS, ReservationStatus.CONFIRMED), (HELD, ReservationStatus.RESERVED)]
)
def test_a_reserve_is_placed(facts: ItemFacts, status: ReservationStatus) -> None:
    one = entry(quantity=2)
    plan = plan_batch([one], facts, {})
    (placed,) = plan.placed
    assert (placed.reservation_id.hex, placed.entry, placed.status, placed.reason) == (one.cause, one, status, None)
    assert placed.order_status.value == status.value
    assert (plan.reserved_units + plan.sold_units, plan.reduced_units, plan.fault) == (2, 0, None)
    assert not plan.given_back
    assert not plan.returned


def test_units_are_counted_down_within_the_batch() -> None:
    entries = [entry(seq=n, quantity=q) for n, q in enumerate((2, 2, 2, 1, 1), 1)]
    plan = plan_batch(entries, FACTS, {})
    assert [one.status.value for one in plan.placed] == ["confirmed", "confirmed", "rejected", "confirmed", "rejected"]
    assert [one.reason for one in plan.placed if one.reason] == [Rejection.NO_STOCK] * 2
    assert plan.sold_units == 5
    assert [(one.entry.entry_id.seq, one.forfeit) for one in plan.given_back] == [(3, True), (5, True)]
    assert plan.fault is Fault.NO_STOCK


def test_a_known_entry_is_a_replay() -> None:
    one = entry(seq=4)
    plan = plan_batch([one], FACTS, {UUID(one.cause): one.entry_id})
    assert (plan.placed, plan.given_back, plan.returned, plan.reductions, plan.fault) == ([], [], [], [], None)


def test_the_same_reservation_under_another_entry_is_given_back() -> None:
    one = entry(seq=4, quantity=3)
    plan = plan_batch([one], FACTS, {UUID(one.cause): EntryId(1, 2)})
    assert plan.placed == []
    (back,) = plan.given_back
    assert (back.entry, back.reservation_id, back.forfeit) == (one, UUID(one.cause), False)


def test_twice_in_one_batch_is_placed_once_and_given_back_once() -> None:
    cause = uuid4()
    plan = plan_batch([entry(seq=1, cause=cause), entry(seq=2, cause=cause)], FACTS, {})
    assert len(plan.placed) == 1
    assert [one.entry.entry_id.seq for one in plan.given_back] == [2]
    assert plan.fault is None


def test_a_cancelled_sale_rejects_and_gives_back() -> None:
    facts = replace(HELD, cancelled=True, available=0)
    plan = plan_batch([entry(seq=1, quantity=2), entry(seq=2)], facts, {})
    assert [(one.status, one.reason) for one in plan.placed] == [("rejected", "sale_cancelled")] * 2
    assert [(one.entry.quantity, one.forfeit) for one in plan.given_back] == [(2, False), (1, False)]
    assert (plan.reserved_units, plan.sold_units, plan.fault) == (0, 0, None)


def test_what_the_relay_told_comes_back_as_done() -> None:
    release, top_up = entry(JournalKind.RELEASE), entry(JournalKind.ADJUST, quantity=4)
    forfeit = entry(JournalKind.RELEASE, quantity=0)
    plan = plan_batch([release, top_up, forfeit], FACTS, {})
    assert [one.hex for one in plan.returned] == [release.cause, top_up.cause, forfeit.cause]
    assert (plan.placed, plan.reductions, plan.reduced_units) == ([], [], 0)


def test_a_reduction_takes_before_what_follows_it() -> None:
    plan = plan_batch([entry(JournalKind.ADJUST, seq=1, quantity=-4), entry(seq=2), entry(seq=3)], FACTS, {})
    assert plan.reduced_units == 4
    assert [one.status.value for one in plan.placed] == ["confirmed", "rejected"]


def test_a_genesis_changes_nothing() -> None:
    plan = plan_batch([entry(JournalKind.LOAD, seq=0, quantity=5)], FACTS, {})
    assert (plan.placed, plan.given_back, plan.returned, plan.reductions) == ([], [], [], [])


@pytest.mark.parametrize("kind", [JournalKind.RESERVE, JournalKind.RELEASE, JournalKind.ADJUST])
def test_an_entry_without_a_cause_is_poison(kind: JournalKind) -> None:
    nameless = replace(entry(kind), cause="nobody")
    with pytest.raises(Unappliable):
        plan_batch([nameless], FACTS, {})
    if kind is JournalKind.RESERVE:
        with pytest.raises(Unappliable):
            reservation_ids([nameless])
    else:
        assert reservation_ids([nameless]) == []


def _late(one: JournalEntry, **changes: object) -> dict[UUID, LatePayment]:
    payment = LatePayment(FACTS.item_id, UUID(one.shopper), one.quantity, is_due=True)
    return {UUID(one.cause): replace(payment, **changes)}  # type: ignore[arg-type]


def test_a_late_payment_is_sold_at_once_whatever_the_sales_terms() -> None:
    one = entry(JournalKind.RETAKE, quantity=2)
    assert (reservation_ids([one]), payment_ids([one])) == ([UUID(one.cause)], [UUID(one.cause)])
    plan = plan_batch([one, entry(seq=2, quantity=4)], HELD, {}, _late(one))
    (taken,) = plan.retaken
    assert (taken.reservation_id.hex, taken.status, taken.entry) == (one.cause, ReservationStatus.CONFIRMED, one)
    assert plan.sold_units == 2
    assert [(two.status, two.reason) for two in plan.placed] == [("rejected", "no_stock")], "its units are gone"
    assert (plan.refunds, [two.forfeit for two in plan.given_back]) == ([], [True])


@pytest.mark.parametrize("changes", [{"is_due": False}, {"shopper_id": uuid4()}, {"quantity": 3}, {"item_id": uuid4()}])
def test_a_payment_that_is_settled_or_another_ones_takes_nothing(changes: dict[str, object]) -> None:
    one = entry(JournalKind.RETAKE)
    plan = plan_batch([one], HELD, {}, _late(one, **changes))
    assert (plan.retaken, plan.refunds, plan.sold_units, plan.fault) == ([], [], 0, None)
    assert [(back.entry, back.forfeit) for back in plan.given_back] == [(one, False)]
    assert [placed.reason for placed in plan.placed] == [Rejection.PAYMENT_SETTLED]


@pytest.mark.parametrize(
    ("facts", "fault"), [(replace(HELD, cancelled=True), None), (replace(HELD, available=0), Fault.NO_STOCK)]
)
def test_a_late_payment_without_units_goes_back(facts: ItemFacts, fault: Fault | None) -> None:
    one = entry(JournalKind.RETAKE)
    plan = plan_batch([one], facts, {}, _late(one))
    assert (plan.retaken, plan.refunds, plan.fault) == ([], [UUID(one.cause)], fault)
    assert [back.forfeit for back in plan.given_back] == [fault is not None]


def test_a_retake_drained_before_changes_nothing() -> None:
    one = entry(JournalKind.RETAKE, seq=4)
    plan = plan_batch([one], HELD, {UUID(one.cause): one.entry_id}, {})
    assert (plan.placed, plan.retaken, plan.given_back, plan.refunds) == ([], [], [], [])
    again = plan_batch([one], HELD, {UUID(one.cause): EntryId(1, 2)}, {})
    assert [back.entry for back in again.given_back] == [one]


def test_a_kind_of_a_newer_version_is_not_guessed_at() -> None:
    with pytest.raises(Unappliable, match="does not know"):
        plan_batch([replace(entry(), kind="transfer")], FACTS, {})
