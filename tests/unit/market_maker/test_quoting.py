"""Where quotes stand: the formulas by hand, and what no input may do to them."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from math import ceil, floor
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autohedge.domain.mandate import MandateState, MandateValues, RiskLevel
from autohedge.market_maker.config import FairValue, MarketMakingConfig, QuotingModel, Touch
from autohedge.market_maker.models import ModelParameters, glft_asymptotic
from autohedge.market_maker.quoting import (
    QuoteRules,
    QuoteTerms,
    fair_value,
    inventory_ratio,
    model_terms,
    new_table,
    price_quotes,
    quote_confidence,
    spread_frac,
)
from autohedge.market_maker.reasons import INVENTORY_LIMIT

MID = 1_000_000
EXAMPLES = settings(max_examples=200, deadline=None)


def obeys(multiplier: float = 1.0, bias: float = 0.0) -> MandateValues:
    return MandateValues("m1", multiplier, bias, 1.0, RiskLevel.MEDIUM, "rules", MandateState.IN_FORCE)


def rules(**changed: Any) -> QuoteRules:
    return QuoteRules.of(MarketMakingConfig(**changed))


def quotes(
    given_rules: QuoteRules,
    *,
    ratio: float = 0.5,
    volatility: float | None = 0.0,
    mandate: MandateValues | None = None,
    best: tuple[int, int] = (MID - 1, MID + 1),
    full_skew: int = 0,
    best_lots: tuple[int, int] = (0, 0),
    widening: tuple[float, float] = (1.0, 1.0),
) -> QuoteTerms:
    return price_quotes(
        given_rules, *best, volatility, ratio, mandate or obeys(), full_skew=full_skew, best_lots=best_lots, widening=widening
    )


def at(terms: QuoteTerms) -> tuple[int | None, int | None]:
    return terms.bid_ticks, terms.ask_ticks


# --- order-book pricing by hand ---------------------------------------------------------------------------------------------


def test_with_the_defaults_and_no_fee_the_maker_quotes_ten_bps_off_the_mid() -> None:
    """The floor of 20 bps, the profit wanted, is wider than the base spread of 10."""
    assert at(quotes(rules(maker_fee_bps=0))) == (999_000, 1_001_000)


def test_a_fee_of_ten_bps_moves_the_quotes_to_twenty() -> None:
    assert at(quotes(rules())) == (998_000, 1_002_000)


def test_without_the_floor_the_base_spread_is_quoted_and_fees_are_not_looked_at() -> None:
    assert at(quotes(rules(min_profit_threshold=None))) == (999_500, 1_000_500)


def test_a_rebate_lowers_the_floor() -> None:
    """Floor 20 − 2 × 2 = 16 bps."""
    assert at(quotes(rules(maker_fee_bps=-2))) == (999_200, 1_000_800)


def test_the_mandate_multiplies_the_wider_of_base_and_floor() -> None:
    assert at(quotes(rules(maker_fee_bps=0), mandate=obeys(1.5))) == (998_500, 1_001_500)


def test_volatility_widens_by_one_and_twice_sigma() -> None:
    """σ = 0.0075 per hour: 20 bps × 1.015 = 20.3."""
    terms = quotes(rules(maker_fee_bps=0), volatility=0.0075)
    assert at(terms) == (998_985, 1_001_015)
    assert (terms.uncapped_frac, terms.spread_frac) == pytest.approx((0.00203, 0.00203))


def test_the_cap_comes_last() -> None:
    """20 bps × 2.0 × 1.4 = 56 is cut to 50; before volatility it would not have been."""
    terms = quotes(rules(maker_fee_bps=0), volatility=0.2, mandate=obeys(2.0))
    assert at(terms) == (997_500, 1_002_500)
    assert (terms.uncapped_frac, terms.spread_frac) == pytest.approx((0.0056, 0.005))


def test_an_unknown_volatility_is_not_zero_but_the_widest_spread() -> None:
    assert at(quotes(rules(maker_fee_bps=0), volatility=None)) == (997_500, 1_002_500)


def test_the_fixed_spread_knows_no_volatility_and_the_rest_is_the_same() -> None:
    fixed = rules(maker_fee_bps=0, quoting_model=QuotingModel.FIXED_SPREAD)
    for volatility in (None, 0.0, 5.0):
        assert at(quotes(fixed, volatility=volatility)) == (999_000, 1_001_000)
    assert at(quotes(fixed, mandate=obeys(9.0))) == (997_500, 1_002_500)
    assert at(quotes(fixed, ratio=1.0)) == (998_850, 1_000_850)


def test_a_floor_above_the_cap_means_no_quote_and_says_why() -> None:
    for touch in Touch:
        terms = quotes(rules(maker_fee_bps=16, touch=touch))  # 20 + 32 = 52 bps, cap 50
        assert (*at(terms), terms.reason) == (None, None, "min_profit_unreachable")
    terms = quotes(rules(maker_fee_bps=15))  # exactly 50
    assert (*at(terms), terms.reason) == (997_500, 1_002_500, "ok")
    assert quotes(rules(maker_fee_bps=16, min_profit_threshold=None)).reason == "ok"


# --- inventory and bias -----------------------------------------------------------------------------------------------------


def test_bias_and_inventory_add_to_one_shift_of_both_quotes() -> None:
    """b = 0.2 + (0.5 − 0.75) × 0.3 = 0.125, and both quotes move up by an eighth of the half spread."""
    terms = quotes(rules(maker_fee_bps=0), ratio=0.75, mandate=obeys(bias=0.2))
    assert terms.shift == pytest.approx(0.125)
    assert (terms.inventory_bias, terms.inventory_skew) == pytest.approx((0.2, -0.075))
    assert at(terms) == (999_125, 1_001_125)


def test_wanting_more_base_moves_both_quotes_up_and_holding_too_much_moves_both_down() -> None:
    """One sign for both; the spread stays what it was."""
    neutral = quotes(rules(maker_fee_bps=0))
    long = quotes(rules(maker_fee_bps=0), ratio=0.9)
    leaning = quotes(rules(maker_fee_bps=0), mandate=obeys(bias=0.4))
    assert at(neutral) == (999_000, 1_001_000)
    assert at(long) == (998_880, 1_000_880)
    assert at(leaning) == (999_400, 1_001_400)


def test_the_target_decides_what_too_much_is() -> None:
    assert at(quotes(rules(maker_fee_bps=0, inventory_target=0.8), ratio=0.8)) == (999_000, 1_001_000)
    assert at(quotes(rules(maker_fee_bps=0, inventory_target=1.0), ratio=0.5)) == (999_150, 1_001_150)


def test_skew_factor_zero_looks_at_no_inventory() -> None:
    assert at(quotes(rules(maker_fee_bps=0, skew_factor=0), ratio=1.0)) == (999_000, 1_001_000)


def test_the_shift_ends_at_one_half_spread() -> None:
    terms = quotes(rules(maker_fee_bps=0, skew_factor=2, inventory_target=1), ratio=0.0, mandate=obeys(bias=0.5))
    assert terms.shift == 1.0
    assert at(terms) == (MID, 1_002_000)


@pytest.mark.parametrize(("forced", "expected"), [(1, (MID, 1_002_000)), (-1, (998_000, MID))])
def test_full_skew_overrules_the_formula(forced: int, expected: tuple[int, int]) -> None:
    terms = quotes(rules(maker_fee_bps=0), ratio=0.5, mandate=obeys(bias=-0.5 * forced), full_skew=forced)
    assert at(terms) == expected


# --- rounding, the book, the own other quote ----------------------------------------------------------------------------------


def test_bids_are_rounded_down_and_asks_up() -> None:
    """Mid 10,000.5 and a half spread of 10.0005: 9,990.4995 and 10,010.5005."""
    assert at(quotes(rules(maker_fee_bps=0), best=(10_000, 10_001))) == (9_990, 10_011)


def test_a_price_that_is_on_the_grid_stays_there_whatever_its_binary_form() -> None:
    """Mid 99.9 % of which is exactly a tick."""
    for mid in range(1_000, 60_000, 1_000):
        terms = quotes(rules(maker_fee_bps=0), best=(mid - 1, mid + 1))
        assert at(terms) == (mid - mid // 1_000, mid + mid // 1_000)


def test_a_quote_never_crosses_the_book() -> None:
    """In a wide book a full lean would put the bid at the mid and beyond the cap of what is post-only."""
    terms = quotes(rules(maker_fee_bps=0), best=(999, 1_000), full_skew=1)
    assert at(terms) == (999, 1_002)  # the mid 999.5 rounds down; 999.5 + 2 × 0.9995 rounds up
    tight = quotes(rules(min_profit_threshold=None, spread_percentage="0.000001"), best=(999, 1_000))
    assert at(tight) == (999, 1_000)


def test_a_spread_of_almost_nothing_leaves_a_gap_between_the_own_quotes() -> None:
    terms = quotes(rules(min_profit_threshold=None, spread_percentage="1e-30"), best=(999, 1_001))
    assert at(terms) == (999, 1_001)


def test_there_is_no_bid_below_a_tick() -> None:
    terms = quotes(rules(min_profit_threshold="0.4", max_spread_bps=5_000, touch=Touch.JOIN), best=(1, 2))
    assert at(terms) == (1, 2)
    terms = quotes(rules(min_profit_threshold="0.4", max_spread_bps=5_000), best=(1, 2))
    assert (terms.bid_ticks, terms.ask_ticks, terms.reason) == (1, 2, "ok")
    terms = quotes(rules(min_profit_threshold="0.4", max_spread_bps=5_000), best=(1, 2), full_skew=-1)
    assert (terms.bid_ticks, terms.reason) == (None, "ok")


# --- the fair value -----------------------------------------------------------------------------------------------------------


def centred(best_lots: tuple[int, int], **changed: Any) -> QuoteTerms:
    made = rules(maker_fee_bps=0, fair_value="microprice", **changed)
    return price_quotes(made, MID - 100, MID + 100, 0.0, 0.5, obeys(), best_lots=best_lots)


@pytest.mark.parametrize(
    ("bid_lots", "ask_lots", "fair"), [(5, 5, MID), (3, 1, MID + 50), (1, 3, MID - 50), (1, 0, MID + 100), (0, 1, MID - 100)]
)
def test_the_microprice_leans_to_the_side_where_less_rests(bid_lots: int, ask_lots: int, fair: int) -> None:
    """(bid × ask lots + ask × bid lots) ÷ both; the quotes stay ±10 bps of the mid around it."""
    terms = centred((bid_lots, ask_lots))
    assert (terms.mid_ticks, terms.fair_ticks) == (MID, fair)
    assert at(terms) == (fair - 1_000, fair + 1_000)


def test_without_sizes_or_by_default_the_mid_is_the_fair_value() -> None:
    assert centred((0, 0)).fair_ticks == MID
    assert price_quotes(rules(), MID - 100, MID + 100, 0.0, 0.5, obeys(), best_lots=(3, 1)).fair_ticks == MID


def test_quotes_around_a_microprice_stay_post_only() -> None:
    """Almost all rests on the bid: the fair value is all but the ask, and the bid may not reach it."""
    terms = centred((10**12, 1), min_profit_threshold=None, spread_percentage="0.0000001")
    assert at(terms) == (MID + 99, MID + 101)


def test_the_profit_floor_of_a_touch_style_is_measured_from_the_fair_value() -> None:
    """20 bps around a fair value 50 ticks above the mid: both quotes are held off, the ask further."""
    assert at(centred((3, 1), touch="join")) == (MID + 50 - 1_000, MID + 50 + 1_000)


@given(st.integers(1, 10**9), st.integers(1, 10**6), st.integers(1, 10**12), st.integers(1, 10**12))
def test_the_fair_value_lies_between_the_best_prices(bid: int, width: int, bid_lots: int, ask_lots: int) -> None:
    numbers = rules(fair_value="microprice").numbers
    assert bid <= fair_value(numbers, bid, bid + width, bid_lots, ask_lots) <= bid + width


# --- a toxic side moves away --------------------------------------------------------------------------------------------------


def test_a_widened_side_is_further_from_the_fair_value_and_the_other_stays() -> None:
    made = rules(maker_fee_bps=0)
    for factors, expected in (
        ((2.0, 1.0), (998_000, 1_001_000)),
        ((1.0, 1.5), (999_000, 1_001_500)),
        ((1.0, 1.0), (999_000, 1_001_000)),
    ):
        assert at(price_quotes(made, MID - 1, MID + 1, 0.0, 0.5, obeys(), widening=factors)) == expected


def test_widening_ends_at_the_widest_spread_and_never_narrows() -> None:
    """50 bps of the mid at most; a quote that leans further than that already stays where it is."""
    made = rules(maker_fee_bps=0)
    assert at(price_quotes(made, MID - 1, MID + 1, 0.0, 0.5, obeys(), widening=(1_000.0, 1_000.0))) == (995_000, 1_005_000)
    wide = rules(maker_fee_bps=0, min_profit_threshold=None, spread_percentage="0.005")
    far = price_quotes(wide, MID - 1, MID + 1, 0.0, 0.5, obeys(), full_skew=-1)
    assert at(price_quotes(wide, MID - 1, MID + 1, 0.0, 0.5, obeys(), full_skew=-1, widening=(9.0, 1.0))) == at(far)


def test_a_widened_touch_quote_leaves_the_touch() -> None:
    made = rules(touch="join", min_profit_threshold=None)
    assert at(price_quotes(made, 100_000, 100_001, 0.0, 0.5, obeys(), widening=(20.0, 1.0))) == (99_990, 100_001)


# --- the exact model ----------------------------------------------------------------------------------------------------------

EXACT = {
    "quoting_model": "glft_exact", "min_profit_threshold": None, "max_spread_bps": 5_000, "risk_aversion": 0.01,
    "intensity_decay_per_tick": 0.3, "arrival_rate_per_s": 0.9,
}  # fmt: skip
SIGMA = 0.3125
"""In ticks/√s; it has few bits, so that the table is for this very σ."""


def exact(q: float, limit: int = 30, best: tuple[int, int] = (99_990, 100_010), **given_: Any) -> QuoteTerms:
    volatility = SIGMA * 60 / ((best[0] + best[1]) / 2)
    made = rules(inventory_limit_orders=limit, **EXACT)
    return price_quotes(made, *best, volatility, 0.5, obeys(**given_), q=q)


@pytest.mark.parametrize("q", [-30, -29, -4, -1, 0, 1, 2, 17, 29, 30])
def test_the_exact_model_quotes_the_distances_of_its_table(q: int) -> None:
    """Theorem 2's distances for whole orders of inventory; bids are rounded down and asks up."""
    table = glft_asymptotic(
        SIGMA,
        ModelParameters(risk_aversion=0.01, intensity_decay_per_tick=0.3, arrival_rate_per_s=0.9, max_inventory_orders=30),
    )
    bid, ask = table.distances(q)
    terms = exact(q)
    assert terms.bid_ticks == (None if q == 30 else floor(100_000 - bid + 1e-9))
    assert terms.ask_ticks == (None if q == -30 else ceil(100_000 + ask - 1e-9))
    assert terms.reason == "ok" and terms.model is not None
    assert (terms.model.sigma, terms.model.q) == (pytest.approx(SIGMA), q)
    if abs(q) < 30:
        assert terms.model.half_ticks - terms.model.offset_ticks == pytest.approx(bid)
        assert terms.model.half_ticks + terms.model.offset_ticks == pytest.approx(ask)


@pytest.mark.parametrize(
    ("q", "sides"), [(2.0, "sell"), (5.0, "sell"), (1.01, "sell"), (1.0, "both"), (-1.01, "buy"), (-2.0, "buy")]
)
def test_a_side_without_room_for_a_whole_order_is_not_quoted(q: float, sides: str) -> None:
    terms = exact(q, limit=2)
    assert (terms.bid_ticks is not None, terms.ask_ticks is not None) == (sides != "sell", sides != "buy")
    assert terms.model is not None
    assert (terms.model.buy_reason == INVENTORY_LIMIT, terms.model.sell_reason == INVENTORY_LIMIT) == (
        sides == "sell",
        sides == "buy",
    )


def test_the_closed_form_is_close_to_the_exact_quotes() -> None:
    closed = {**EXACT, "quoting_model": "glft"}
    for q in (-10.0, -0.5, 0.0, 3.0, 20.0):
        ours = exact(q).model
        theirs = price_quotes(rules(**closed), 99_990, 100_010, SIGMA * 60 / 100_000, 0.5, obeys(), q=q).model
        assert ours is not None and theirs is not None
        assert (ours.half_ticks, ours.offset_ticks) == pytest.approx((theirs.half_ticks, theirs.offset_ticks), abs=0.03)


def test_the_table_is_filled_again_when_sigma_moves_and_only_then() -> None:
    numbers, table = rules(**EXACT).numbers, new_table(rules(**EXACT).numbers)
    first = model_terms(numbers, table, 100_000.0, SIGMA * 60 / 100_000, 1.0)
    table[0][31] = 77.0  # the bid's distance at one order, as only this table has it
    assert model_terms(numbers, table, 100_000.0, SIGMA * 60 / 100_000 * 1.0001, 1.0).half_ticks != first.half_ticks
    assert model_terms(numbers, table, 100_000.0, SIGMA * 60 / 100_000 * 1.01, 1.0).half_ticks == pytest.approx(
        first.half_ticks, rel=0.01
    )


def test_the_exact_model_withholds_both_sides_while_the_floor_is_above_the_cap() -> None:
    made = rules(**EXACT | {"min_profit_threshold": "0.6"})
    terms = price_quotes(made, 99_990, 100_010, 0.001, 0.5, obeys(), q=1.0)
    assert (*at(terms), terms.reason) == (None, None, "min_profit_unreachable")


# --- the touch styles ---------------------------------------------------------------------------------------------------------


def touch(style: Touch, best: tuple[int, int], **given_: Any) -> tuple[int | None, int | None]:
    return at(quotes(rules(touch=style, min_profit_threshold=None), best=best, **given_))


def test_join_rests_at_the_best_prices() -> None:
    assert touch(Touch.JOIN, (100, 101)) == (100, 101)
    assert touch(Touch.JOIN, (100, 150)) == (100, 150)


@pytest.mark.parametrize(
    ("best", "expected"),
    [((100, 101), (100, 101)), ((100, 102), (100, 102)), ((100, 103), (101, 102)), ((100, 110), (101, 109))],
)
def test_improve_steps_in_by_a_tick_where_both_sides_can(best: tuple[int, int], expected: tuple[int, int]) -> None:
    assert touch(Touch.IMPROVE, best) == expected


def test_the_mandate_steps_back_from_the_touch_in_parts_of_the_markets_own_spread() -> None:
    """Half the market's spread is 5: a multiplier of 2 steps back by it, 1.3 by one tick; one tick is the least half."""
    assert touch(Touch.JOIN, (100, 110), mandate=obeys(2.0)) == (95, 115)
    assert touch(Touch.JOIN, (100, 110), mandate=obeys(1.3)) == (99, 111)
    assert touch(Touch.JOIN, (100, 101), mandate=obeys(2.9)) == (99, 102)
    assert touch(Touch.JOIN, (100, 101), mandate=obeys(1.9)) == (100, 101)
    assert touch(Touch.JOIN, (100, 101), mandate=obeys(3.0)) == (98, 103)


def test_the_shift_moves_both_touch_quotes_the_same_way_in_whole_ticks() -> None:
    assert touch(Touch.JOIN, (100, 110), mandate=obeys(bias=0.5)) == (102, 112)
    assert touch(Touch.JOIN, (100, 110), mandate=obeys(bias=-0.5)) == (98, 108)
    assert touch(Touch.JOIN, (100, 101), mandate=obeys(bias=0.9)) == (100, 101)


def test_at_full_strength_a_one_tick_market_is_left_on_one_side() -> None:
    """Long: the bid steps back a tick, the ask stays, because one more would cross."""
    assert touch(Touch.JOIN, (100, 101), full_skew=-1) == (99, 101)
    assert touch(Touch.JOIN, (100, 101), full_skew=1) == (100, 102)


def test_the_profit_floor_holds_in_the_touch_styles() -> None:
    """40 bps around 10,000.5: 9,980.499 and 10,020.501."""
    terms = quotes(rules(touch=Touch.JOIN), best=(10_000, 10_001))
    assert at(terms) == (9_980, 10_021)
    assert terms.half_ticks == pytest.approx(20.001)


def test_a_floor_that_does_not_bind_leaves_the_touch_alone() -> None:
    """The market is 200 bps wide, the floor 40: joining joins, improving improves."""
    best = (9_900, 10_100)
    assert at(quotes(rules(touch=Touch.JOIN), best=best)) == best
    assert at(quotes(rules(touch=Touch.IMPROVE), best=best)) == (9_901, 10_099)
    assert quotes(rules(touch=Touch.IMPROVE), best=best).half_ticks == 100.0


# --- inventory ratio and confidence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "neutral", "most", "ratio"),
    [
        (0, 0, 10, 0.5),
        (5, 0, 10, 0.75),
        (8, 0, 10, 0.9),  # 16 % of capital at a cap of 20 %: where buys stop
        (10, 0, 10, 1.0),
        (25, 0, 10, 1.0),
        (2, 2, 10, 0.5),
        (6, 2, 10, 0.75),
        (1, 2, 10, 0.25),
        (0, 2, 10, 0.0),
        (12, 12, 10, 0.5),  # neutral above the cap: there is no room above it
        (13, 12, 10, 1.0),
        (6, 12, 10, 0.25),
    ],
)
def test_inventory_ratio_by_hand(base: float, neutral: float, most: float, ratio: float) -> None:
    assert inventory_ratio(base, neutral, most) == pytest.approx(ratio)


@EXAMPLES
@given(
    st.floats(0, 1e9),
    st.floats(1e-6, 1e9),
    st.lists(st.floats(0, 1e9), min_size=2, max_size=6),
)
def test_the_ratio_is_within_zero_and_one_and_grows_with_base(neutral: float, most: float, bases: list[float]) -> None:
    ratios = [inventory_ratio(base, neutral, most) for base in sorted(bases)]
    assert all(0.0 <= ratio <= 1.0 for ratio in ratios)
    assert all(lower <= higher for lower, higher in pairwise(ratios))


@pytest.mark.parametrize(
    ("depth", "volatility", "risk", "confidence"),
    [
        (100.0, 0.0, RiskLevel.LOW, 1.0),
        (80.0, 0.0075, RiskLevel.MEDIUM, (0.8 + 0.925 + 0.7) / 3),
        (50.0, 0.1, RiskLevel.HIGH, (0.5 + 0.0 + 0.4) / 3),
        (50.0, 7.0, RiskLevel.HIGH, (0.5 + 0.0 + 0.4) / 3),
        (0.0, None, RiskLevel.LOW, 1 / 3),
    ],
)
def test_confidence_is_the_mean_of_depth_calm_and_risk(
    depth: float, volatility: float | None, risk: RiskLevel, confidence: float
) -> None:
    assert quote_confidence(depth, volatility, risk) == pytest.approx(confidence)


# --- for any input ------------------------------------------------------------------------------------------------------------


@st.composite
def any_rules(draw: st.DrawFn, touches: tuple[Touch, ...] = tuple(Touch)) -> QuoteRules:
    max_spread_bps = draw(st.decimals("0.01", 5_000, places=2))
    return rules(
        max_spread_bps=max_spread_bps,
        spread_percentage=draw(st.decimals("0.0000001", max_spread_bps / 10_000, places=7)),
        min_profit_threshold=draw(st.none() | st.decimals(0, "0.6", places=5)),
        maker_fee_bps=draw(st.decimals(-10, 500, places=2)),
        skew_factor=draw(st.floats(0, 2)),
        inventory_target=draw(st.floats(0, 1)),
        quoting_model=draw(st.sampled_from([QuotingModel.FIXED_SPREAD, QuotingModel.ORDER_BOOK])),
        touch=draw(st.sampled_from(touches)),
        fair_value=draw(st.sampled_from(FairValue)),
    )


bests = st.tuples(st.integers(1, 10**9), st.integers(1, 10**6)).map(lambda it: (it[0], it[0] + it[1])) | st.tuples(
    st.integers(1, 500), st.integers(1, 20)
).map(lambda it: (it[0], it[0] + it[1]))
mandates = st.builds(obeys, st.floats(1, 10), st.floats(-1, 1))
volatilities = st.none() | st.floats(0, 5)
skews = st.sampled_from([0, 0, 0, -1, 1])
lots_of_both = st.tuples(st.integers(0, 10**12), st.integers(0, 10**12))
widenings = st.tuples(st.floats(1, 1_000), st.floats(1, 1_000))


@settings(max_examples=600, deadline=None)
@given(any_rules(), bests, volatilities, st.floats(0, 1), mandates, skews, lots_of_both, widenings)
def test_whatever_the_input_quotes_cross_neither_the_book_nor_each_other(
    given_rules: QuoteRules,
    best: tuple[int, int],
    volatility: float | None,
    ratio: float,
    mandate: MandateValues,
    full_skew: int,
    best_lots: tuple[int, int],
    widening: tuple[float, float],
) -> None:
    terms = quotes(
        given_rules, ratio=ratio, volatility=volatility, mandate=mandate, best=best, full_skew=full_skew,
        best_lots=best_lots, widening=widening,
    )  # fmt: skip
    bid, ask = at(terms)
    if terms.reason != "ok":
        assert (bid, ask, terms.reason) == (None, None, "min_profit_unreachable")
        return
    best_bid, best_ask = best
    assert ask is not None and ask > best_bid
    assert bid is None or (0 < bid < best_ask and bid < ask)
    assert -1.0 <= terms.shift <= 1.0
    assert terms.spread_frac <= given_rules.max_frac
    slack = 1e-6 + terms.mid_ticks * 1e-12
    if given_rules.touch is Touch.DISTANCE:
        # rounded away from the touch, never towards it
        assert ask >= terms.fair_ticks + terms.half_ticks * (1 + terms.shift) - slack
        assert bid is None or bid <= terms.fair_ticks - terms.half_ticks * (1 - terms.shift) + slack
    if given_rules.floor_frac is not None and bid is not None:
        assert ask - bid >= given_rules.floor_frac * terms.mid_ticks - slack


@EXAMPLES
@given(any_rules(), bests, volatilities, mandates, st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_more_inventory_never_raises_a_quote(
    given_rules: QuoteRules, best: tuple[int, int], volatility: float | None, mandate: MandateValues, ratios: list[float]
) -> None:
    ladder = [quotes(given_rules, ratio=ratio, volatility=volatility, mandate=mandate, best=best) for ratio in sorted(ratios)]
    assume(ladder[0].reason == "ok")
    for less, more in pairwise(ladder):
        assert (more.bid_ticks or 0) <= (less.bid_ticks or 0)
        assert more.ask_ticks is not None and less.ask_ticks is not None
        assert more.ask_ticks <= less.ask_ticks


@EXAMPLES
@given(any_rules(), st.integers(10_000, 10**7), st.integers(1, 300), volatilities, st.floats(0, 1), mandates, skews)
def test_long_and_short_are_mirror_images(
    given_rules: QuoteRules,
    best_bid: int,
    width: int,
    volatility: float | None,
    ratio: float,
    mandate: MandateValues,
    full_skew: int,
) -> None:
    """What the bid is below the mid on one side of neutral, the ask is above it on the other."""
    best = (best_bid, best_bid + width)
    one = quotes(given_rules, ratio=ratio, volatility=volatility, mandate=mandate, best=best, full_skew=full_skew)
    # the mirrored shift, given as a bias to rules that look at no inventory
    plain = QuoteRules(
        given_rules.base_frac,
        given_rules.floor_frac,
        given_rules.max_frac,
        0.0,
        0.5,
        given_rules.uses_volatility,
        given_rules.touch,
    )
    leaning = mandate._replace(inventory_bias=-one.shift)
    other = quotes(plain, volatility=volatility, mandate=leaning, best=best)
    assume(None not in (*at(one), *at(other)))
    mid_twice = sum(best)
    for distance, mirrored in (
        (mid_twice - 2 * (one.bid_ticks or 0), 2 * (other.ask_ticks or 0) - mid_twice),
        (2 * (one.ask_ticks or 0) - mid_twice, mid_twice - 2 * (other.bid_ticks or 0)),
    ):
        near_a_tick = abs(distance - mirrored) == 2  # the last bit of a float decides which tick it is
        assert distance == mirrored or near_a_tick


@EXAMPLES
@given(any_rules(), bests, volatilities, st.floats(0, 1), st.floats(-1, 1), st.lists(st.floats(1, 10), min_size=2, max_size=4))
def test_a_larger_multiplier_never_narrows_the_spread(
    given_rules: QuoteRules,
    best: tuple[int, int],
    volatility: float | None,
    ratio: float,
    bias: float,
    multipliers: list[float],
) -> None:
    fracs = [spread_frac(given_rules, multiplier, volatility)[1] for multiplier in sorted(multipliers)]
    assert fracs == sorted(fracs)
    ladder = [
        quotes(given_rules, ratio=ratio, volatility=volatility, mandate=obeys(multiplier, bias), best=best)
        for multiplier in sorted(multipliers)
    ]
    assume(all(terms.bid_ticks is not None for terms in ladder))
    widths = [(terms.ask_ticks or 0) - (terms.bid_ticks or 0) for terms in ladder]
    assert all(wider >= width - 1 for width, wider in pairwise(widths))  # rounding may take a tick on each side


def test_every_term_is_told() -> None:
    terms = quotes(rules(maker_fee_bps="2.5"), ratio=0.6, volatility=0.1, mandate=obeys(1.2, 0.1))
    assert terms.mid_ticks == MID
    assert (terms.base_frac, terms.floor_frac) == pytest.approx((0.001, 0.0025))
    assert (terms.spread_multiplier, terms.volatility, terms.inventory_bias) == (1.2, 0.1, 0.1)
    assert terms.uncapped_frac == pytest.approx(0.0025 * 1.2 * 1.2)
    assert terms.spread_frac == pytest.approx(0.0036)
    assert terms.half_ticks == pytest.approx(1_800)
    assert (terms.inventory_skew, terms.shift) == pytest.approx((-0.03, 0.07))
    assert at(terms) == (998_326, 1_001_926)


def test_rules_take_every_setting_that_prices_depend_on() -> None:
    made = rules(
        spread_percentage="0.0007", min_profit_threshold="0.001", maker_fee_bps=3, max_spread_bps=80, skew_factor=0.4,
        inventory_target=0.6, quoting_model="fixed_spread", touch="join", inventory_limit_orders=7, fair_value="microprice",
    )  # fmt: skip
    assert made == QuoteRules(
        0.0007, 0.0016, 0.008, 0.4, 0.6, False, Touch.JOIN, QuotingModel.FIXED_SPREAD, 0.01, 0.3, 0.9, 60.0, 7,
        FairValue.MICROPRICE,
    )  # fmt: skip
    assert rules(min_profit_threshold=None).floor_frac is None
    assert rules(spread_percentage=Decimal("0.0007")).base_frac == 0.0007
