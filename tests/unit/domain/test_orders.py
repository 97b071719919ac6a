"""The life of an order: every pair of state and event is a decision."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.ids import ClientOrderId
from autohedge.domain.market_data import BUY
from autohedge.domain.orders import TRANSITIONS, WORKING, Order, OrderEvent, OrderState, next_state
from autohedge.errors import InvariantBroken

S, E = OrderState, OrderEvent

EXPECTED = {
    S.CREATED: {E.DENY: S.DENIED, E.SUBMIT: S.PENDING_SUBMIT},
    S.DENIED: {},
    S.PENDING_SUBMIT: {
        E.ACCEPT: S.SUBMITTED,
        E.REJECT: S.REJECTED,
        E.FILL_PART: S.PARTIALLY_FILLED,
        E.FILL_REST: S.FILLED,
        E.ASK_CANCEL: S.CANCELLING,
        E.CANCEL: S.CANCELLED,
    },
    S.SUBMITTED: {
        E.FILL_PART: S.PARTIALLY_FILLED,
        E.FILL_REST: S.FILLED,
        E.ASK_CANCEL: S.CANCELLING,
        E.CANCEL: S.CANCELLED,
    },
    S.PARTIALLY_FILLED: {
        E.ACCEPT: S.PARTIALLY_FILLED,
        E.FILL_PART: S.PARTIALLY_FILLED,
        E.FILL_REST: S.FILLED,
        E.ASK_CANCEL: S.CANCELLING,
        E.CANCEL: S.CANCELLED,
    },
    S.CANCELLING: {
        E.ACCEPT: S.CANCELLING,
        E.REJECT: S.REJECTED,
        E.FILL_PART: S.CANCELLING,
        E.FILL_REST: S.FILLED,
        E.CANCEL: S.CANCELLED,
        E.REFUSE_CANCEL: S.CANCELLING,
        E.LOSE_CANCEL: S.SUBMITTED,
        E.LOSE_CANCEL_PART: S.PARTIALLY_FILLED,
    },
    S.FILLED: {E.ACCEPT: S.FILLED, E.REFUSE_CANCEL: S.FILLED, E.LOSE_CANCEL_PART: S.FILLED},
    S.CANCELLED: {
        E.ACCEPT: S.CANCELLED,
        E.REFUSE_CANCEL: S.CANCELLED,
        E.LOSE_CANCEL: S.CANCELLED,
        E.LOSE_CANCEL_PART: S.CANCELLED,
        E.FILL_PART: S.CANCELLED,
        E.FILL_REST: S.FILLED,
    },
    S.REJECTED: {E.REFUSE_CANCEL: S.REJECTED, E.LOSE_CANCEL: S.REJECTED},
}


def order(state: OrderState = S.CREATED, size: int = 10, filled: int = 0) -> Order:
    return Order(ClientOrderId("o-1"), BUY, 100, size, True, "quote", 0, "", "rules", state, filled)


@pytest.mark.parametrize(("state", "event"), list(product(OrderState, OrderEvent)))
def test_every_pair_of_state_and_event_is_decided(state: OrderState, event: OrderEvent) -> None:
    """Listed pairs move as told here, in the test's own words; all others halt the program and leave the order as it was."""
    if event in EXPECTED[state]:
        assert next_state(state, event) is EXPECTED[state][event]
        return
    one = order(state)
    with pytest.raises(InvariantBroken, match=f"in state {state} cannot take the event {event}"):
        one.apply(event)
    assert one.state is state


def test_the_table_lists_nothing_else() -> None:
    assert {(state, event) for state, events in EXPECTED.items() for event in events} == set(TRANSITIONS)


def test_an_order_works_as_long_as_an_acknowledged_life_could_still_fill_it() -> None:
    """A state is working if and only if a fill may come in it as the ordinary course, so late facts apart."""
    may_fill = {state for state, events in EXPECTED.items() if E.FILL_PART in events} - {S.CANCELLED}
    assert may_fill == WORKING
    for state in OrderState:
        assert order(state).is_working == (state in may_fill)


def test_a_fill_after_cancel_is_booked() -> None:
    """The venue's fill is a fact, whatever was asked for or confirmed before."""
    one = order()
    for event in (E.SUBMIT, E.ACCEPT, E.ASK_CANCEL):
        one.apply(event)
    one.fill(4)
    assert (one.state, one.filled_lots, one.remaining_lots) == (S.CANCELLING, 4, 6)
    one.apply(E.CANCEL)
    one.fill(3)
    assert (one.state, one.filled_lots) == (S.CANCELLED, 7)
    one.fill(3)
    assert (one.state, one.filled_lots, one.remaining_lots) == (S.FILLED, 10, 0)


def test_a_cancel_that_overtook_a_rejection_finds_nothing_and_that_is_no_contradiction() -> None:
    """A post-only order is rejected on arrival while our cancel of it is already on the way."""
    one = order()
    for event in (E.SUBMIT, E.ASK_CANCEL, E.REJECT, E.REFUSE_CANCEL):
        one.apply(event)
    assert one.state is S.REJECTED


@pytest.mark.parametrize("size", [0, -1, 11, 7])
def test_a_fill_that_does_not_fit_is_refused_and_changes_nothing(size: int) -> None:
    one = order(S.SUBMITTED, filled=4)
    if size == 7:
        assert one.remaining_lots == 6
    with pytest.raises(InvariantBroken, match="does not fit the 6 left"):
        one.fill(size)
    assert (one.state, one.filled_lots) == (S.SUBMITTED, 4)


@pytest.mark.parametrize("state", [S.CREATED, S.DENIED, S.REJECTED, S.FILLED])
def test_a_fill_of_an_order_that_cannot_have_one_is_refused_and_changes_nothing(state: OrderState) -> None:
    one = order(state)
    with pytest.raises(InvariantBroken):
        one.fill(3)
    assert (one.state, one.filled_lots) == (state, 0)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 50),
    st.lists(st.one_of(st.integers(-2, 30), st.sampled_from([E.ACCEPT, E.ASK_CANCEL, E.CANCEL, E.REFUSE_CANCEL])), max_size=15),
)
def test_whatever_comes_no_order_is_ever_overfilled(size: int, events: list[int | OrderEvent]) -> None:
    one = order(S.PENDING_SUBMIT, size)
    booked = 0
    for each in events:
        try:
            if isinstance(each, OrderEvent):
                one.apply(each)
            else:
                one.fill(each)
                booked += each
        except InvariantBroken:
            pass
        assert one.filled_lots == booked <= size
        assert (one.state is S.FILLED) == (booked == size)


@pytest.mark.parametrize(("filled", "state"), [(0, S.SUBMITTED), (4, S.PARTIALLY_FILLED)])
def test_an_order_whose_cancel_was_lost_works_on_and_can_be_cancelled_again(filled: int, state: OrderState) -> None:
    one = order(S.CANCELLING, filled=filled)
    one.lose_cancel()
    assert one.state is state and one.is_working
    one.apply(E.ASK_CANCEL)
    assert one.state is S.CANCELLING
