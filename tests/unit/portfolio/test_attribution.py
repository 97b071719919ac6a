"""Where the PnL came from: exact parts, marks that knew nothing of the future, drawdown."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autohedge.domain.ids import ClientOrderId, TradeId
from autohedge.domain.instrument import Instrument
from autohedge.domain.inventory import Inventory
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import Liquidity, OrderFilled
from autohedge.portfolio.attribution import (
    ADVERSE_HORIZON_S,
    MARK_OUT_HORIZONS_S,
    Attribution,
    CombinedDrawdown,
    Drawdown,
)


def grid(symbol: str = "BTC/USDT", tick: str = "0.01", lot: str = "0.00001") -> Instrument:
    return Instrument(
        symbol=symbol,
        base="BTC",
        quote="USDT",
        tick_size=Decimal(tick),
        lot_size=Decimal(lot),
        min_qty=Decimal(lot),
        max_qty=Decimal(9_000),
        min_notional=Decimal(0),
        max_notional=None,
        venue="test",
        rules_as_of="",
    )


INSTRUMENT = grid()
UNIT = INSTRUMENT.quote_atoms_per_tick_lot
S = 1_000_000_000


def fill(side: Side, price: int, lots: int, at_ns: int, fee: int = 0) -> OrderFilled:
    return OrderFilled(at_ns, ClientOrderId("o"), TradeId("t"), side, price, lots, Liquidity.MAKER, "USDT", fee)


def due(made: Attribution, horizon: int) -> int:
    return made.mark_outs[horizon].sum_half_atoms


def test_the_horizons_are_the_ones_reported() -> None:
    assert MARK_OUT_HORIZONS_S == (1, 5, 30, 60)
    assert ADVERSE_HORIZON_S == 1


def test_spread_captured_and_mark_out_by_hand() -> None:
    """Bought 3 lots at 9,990 with the mid at 10,000, a second later it is 9,980: 30 captured, 60 lost again, −30 marked."""
    made = Attribution(INSTRUMENT)
    made.fill(fill(BUY, 9_990, 3, 10 * S), 20_000)
    assert made.spread_half_atoms == 2 * 30 * UNIT
    made.settle(11 * S, 19_960)
    assert due(made, 1) == -2 * 30 * UNIT
    assert made.adverse_half_atoms == -2 * 60 * UNIT
    assert made.mark_outs[1].mean_bps == pytest.approx(-10 / 9_990 * 10_000)


def test_a_sale_is_the_mirror_image() -> None:
    made = Attribution(INSTRUMENT)
    made.fill(fill(SELL, 10_010, 3, 10 * S), 20_000)
    made.settle(11 * S, 20_040)
    assert made.spread_half_atoms == 2 * 30 * UNIT
    assert due(made, 1) == -2 * 30 * UNIT
    assert made.adverse_half_atoms == -2 * 60 * UNIT


def test_a_taker_pays_the_spread() -> None:
    made = Attribution(INSTRUMENT)
    made.fill(fill(BUY, 10_001, 1, 0), 20_000)
    assert made.spread_half_atoms == -2 * UNIT


def test_mark_outs_are_weighted_by_volume() -> None:
    """One lot at 10,000 that gains 10 bps and three at 10,000 that lose 10: −5 bps."""
    made = Attribution(INSTRUMENT)
    made.fill(fill(BUY, 10_000, 1, 0), 20_000)
    made.settle(S, 20_020)
    made.fill(fill(BUY, 10_000, 3, 2 * S), 20_000)
    made.settle(3 * S, 19_980)
    assert made.mark_outs[1].mean_bps == pytest.approx(-5.0)
    assert made.mark_outs[1].count == 2


def test_without_fills_there_is_no_mean() -> None:
    made = Attribution(INSTRUMENT)
    assert made.mark_outs[60].mean_bps is None
    assert made.adverse_half_atoms == 0
    made.settle(10**18, 20_000)
    made.close(20_000)
    assert made.mark_outs[60].mean_bps is None


# --- no look-ahead ------------------------------------------------------------------------------------------------------------


def test_a_mark_out_is_due_at_its_horizon_and_not_before() -> None:
    made = Attribution(INSTRUMENT)
    made.fill(fill(BUY, 10_000, 1, 10 * S), 20_000)
    assert made.next_due_ns == 11 * S
    made.settle(11 * S - 1, 99_999)
    assert made.mark_outs[1].count == 0
    made.settle(11 * S, 20_010)
    assert [made.mark_outs[horizon].count for horizon in MARK_OUT_HORIZONS_S] == [1, 0, 0, 0]
    assert made.next_due_ns == 15 * S


def marked(fills: Sequence[OrderFilled], mids: Sequence[tuple[int, int]], end_half: int) -> Attribution:
    """As a session does it: before the mid changes at t, everything due by t is settled at the mid known until then."""
    made = Attribution(INSTRUMENT)
    mid = mids[0][1]
    waiting = sorted(fills, key=lambda each: each.ts_ns)
    for at_ns, next_mid in [*mids[1:], (1 << 62, end_half)]:
        while waiting and waiting[0].ts_ns < at_ns:
            first = waiting.pop(0)
            made.settle(first.ts_ns, mid)
            made.fill(first, mid)
        if at_ns < 1 << 62:
            if at_ns >= made.next_due_ns:
                made.settle(at_ns, mid)
            mid = next_mid
    made.close(end_half)
    return made


times = st.integers(0, 200 * S)
mid_paths = st.lists(st.tuples(times, st.integers(15_000, 25_000)), min_size=1, max_size=30, unique_by=lambda it: it[0]).map(
    lambda it: [(-1, 20_000), *sorted(it)]
)
fills_ = st.lists(
    st.builds(fill, st.sampled_from([BUY, SELL]), st.integers(9_000, 11_000), st.integers(1, 50), times, st.integers(-9, 99)),
    max_size=15,
)


@settings(max_examples=200, deadline=None)
@given(mid_paths, fills_)
def test_each_fill_is_marked_at_the_mid_known_at_its_horizon(mids: list[tuple[int, int]], fills: list[OrderFilled]) -> None:
    """The last mid received *before* fill time + horizon, or the closing one for what the session did not live to see."""
    end_ns, end_half = mids[-1]
    made = marked(fills, mids, end_half)
    for horizon in MARK_OUT_HORIZONS_S:
        expected = 0
        for each in fills:
            due_ns = each.ts_ns + horizon * S
            known = [mid for at, mid in mids if at < due_ns] if due_ns <= end_ns else [end_half]
            expected += each.side * (known[-1] - 2 * each.price_ticks) * each.size_lots * UNIT
        assert due(made, horizon) == expected
        assert made.mark_outs[horizon].count == len(fills)
        assert not made.mark_outs[horizon].pending


@settings(max_examples=200, deadline=None)
@given(mid_paths, fills_, st.integers(0, 40), st.integers(20_000, 10**7))
def test_the_parts_add_up_to_the_pnl_exactly(
    mids: list[tuple[int, int]], fills: list[OrderFilled], opening_lots: int, quote: int
) -> None:
    """PnL = spread captured + adverse + inventory − fees, with the inventory part worked out by itself.

    Inventory is what the base did after each fill's second was over: opening base over the whole session, and each fill from
    its one-second mark to the close. In half atoms, because a mid is half a tick.
    """
    end_ns, end_half = mids[-1]
    ordered = sorted(fills, key=lambda each: each.ts_ns)
    inventory = Inventory(INSTRUMENT, (opening_lots + 2_000) * INSTRUMENT.base_atoms_per_lot, 10**12 + quote)
    opening_half = mids[0][1]
    inventory.open_at(opening_half)
    opening = inventory.value_atoms(opening_half)
    for each in ordered:
        inventory.apply(each)
    pnl = inventory.value_atoms(end_half) - opening
    made = marked(fills, mids, end_half)
    held = (opening_lots + 2_000) * (end_half - opening_half) * UNIT
    for each in ordered:
        due_ns = each.ts_ns + S
        known = [mid for at, mid in mids if at < due_ns][-1] if due_ns <= end_ns else end_half
        held += each.side * (end_half - known) * each.size_lots * UNIT
    assert 2 * (pnl + inventory.fees_atoms) == made.spread_half_atoms + made.adverse_half_atoms + held


# --- drawdown -----------------------------------------------------------------------------------------------------------------


def test_drawdown_by_hand() -> None:
    drawdown = Drawdown()
    for equity, last, largest in ((100, 0, 0), (90, 0.1, 0.1), (95, 0.05, 0.1), (120, 0, 0.1), (108, 0.1, 0.1), (60, 0.5, 0.5)):
        drawdown.update(equity)
        assert (drawdown.last_frac, drawdown.max_frac) == (pytest.approx(last), pytest.approx(largest))
    assert drawdown.peak_atoms == 120


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=40))
def test_drawdown_is_the_largest_fall_from_any_earlier_peak(path: list[int]) -> None:
    drawdown = Drawdown()
    falls = [0.0]
    for index, equity in enumerate(path):
        drawdown.update(equity)
        peak = max(path[: index + 1])
        falls.append((peak - equity) / peak if peak else 0.0)
        assert drawdown.last_frac == falls[-1]
    assert drawdown.max_frac == max(falls)


def test_an_account_of_nothing_has_no_drawdown() -> None:
    drawdown = Drawdown()
    drawdown.update(0)
    assert (drawdown.last_frac, drawdown.max_frac) == (0.0, 0.0)


def test_combined_drawdown_waits_for_every_symbol_and_adds_amounts_of_different_atoms() -> None:
    """100 at 1e-8 and 100 at 1e-12 atoms: one symbol's loss of 20 is a tenth of both together."""
    one, other = grid("A/USDT"), grid("B/USDT", tick="0.0000001")
    assert (one.quote_atom_exponent, other.quote_atom_exponent) == (8, 12)
    combined = CombinedDrawdown(2)
    combined.update(one, 100 * 10**8)
    combined.update(one, 50 * 10**8)
    assert combined.drawdown.peak_atoms == 0
    combined.update(other, 100 * 10**12)
    combined.update(one, 100 * 10**8)
    assert combined.drawdown.max_frac == 0.0
    combined.update(other, 80 * 10**12)
    assert combined.drawdown.max_frac == pytest.approx(0.1)
    combined.update(one, 120 * 10**8)
    assert combined.drawdown.last_frac == 0.0


def test_one_symbols_gain_hides_the_others_loss_only_in_the_sum() -> None:
    one, other = grid("A/USDT"), grid("B/USDT")
    combined = CombinedDrawdown(2)
    for a, b in ((100, 100), (90, 110), (110, 90)):
        combined.update(one, a)
        combined.update(other, b)
    # between the two updates of a pair the sum is what was last known of each: 190, then 200; 220, then 200
    assert combined.drawdown.max_frac == pytest.approx(20 / 220)


def test_a_single_symbol_needs_no_scaling() -> None:
    combined = CombinedDrawdown(1)
    combined.update(INSTRUMENT, 200)
    combined.update(INSTRUMENT, 150)
    assert combined.drawdown.max_frac == 0.25
