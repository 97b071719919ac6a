"""The toxicity guard: signs that the quotes of one side are about to be run over, each as a function over plain numbers.

Three signs, each off until its setting is above 0. They speak of a side of our own quotes; heavy selling endangers the bid:

- a burst of trades: within the window, aggressors sold (bought) more, net, than `trades_ratio` usual touch sizes;
- a depleted touch: the best size of the side fell below `depletion_frac` of what it usually is;
- an imbalance of the best five levels of at least `imbalance` against the side.

What is usual is the mean size of the best bids and asks at the last 60 whole seconds of receive time, each as the book stood
before the first message from that second on; fewer than 10 of them, since the book was last empty or not valid, are not known,
and what is not known is no sign. The window is ten slices of market time, the begun one included, so that what is forgotten is
forgotten by slice. A sign holds for `hold_ns` after it was last seen.

The memory is one row of whole numbers, so that the live engine keeps it in a list and the compiled loop in an array.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from autohedge.market_maker.config import MarketMakingConfig, ToxicityAction
from autohedge.market_maker.reasons import NONE, TOXIC_DEPLETION, TOXIC_IMBALANCE, TOXIC_TRADES

NS_PER_S: Final = 1_000_000_000
TOUCH_SAMPLES: Final = 60
LEAST_SAMPLES: Final = 10
SLICES: Final = 10
NEVER_NS: Final = 2**62

(
    NEXT_SAMPLE_NS, SAMPLES, NEXT_CELL, BID_SUM, ASK_SUM, SLICE, NET_SUM,
    BUY_REASON, BUY_UNTIL_NS, SELL_REASON, SELL_UNTIL_NS,
) = range(11)  # fmt: skip
_BIDS: Final = 11
_ASKS: Final = _BIDS + TOUCH_SAMPLES
_NETS: Final = _ASKS + TOUCH_SAMPLES
MEMORY_CELLS: Final = _NETS + SLICES
"""How long the memory is; it begins with zeros."""

Memory = Any
"""`MEMORY_CELLS` whole numbers: list[int], or a numpy array of one dimension."""


class GuardNumbers(NamedTuple):
    """The settings of the guard; `on` is 0 where no sign is looked for, `widening` 0 where a toxic side is pulled, else the
    factor of its distance."""

    on: int
    trades_ratio: float
    slice_ns: int
    depletion_frac: float
    imbalance: float
    hold_ns: int
    widening: float


class Signs(NamedTuple):
    """What the guard looks at: lots; usual ones are −1 while unknown. Net flow > 0: aggressors bought more."""

    net_lots: int
    bid_lots: int
    ask_lots: int
    usual_bid_lots: float
    usual_ask_lots: float
    imbalance: float


def guard_numbers(config: MarketMakingConfig) -> GuardNumbers:
    """The guard of a configuration."""
    return GuardNumbers(
        on=int(config.toxic_trades_ratio > 0 or config.toxic_depletion_frac > 0 or config.toxic_imbalance > 0),
        trades_ratio=config.toxic_trades_ratio,
        slice_ns=int(config.toxic_window_s * NS_PER_S) // SLICES,
        depletion_frac=config.toxic_depletion_frac,
        imbalance=config.toxic_imbalance,
        hold_ns=int(config.toxic_hold_s * NS_PER_S),
        widening=config.toxicity_widen_factor if config.toxicity_action is ToxicityAction.WIDEN else 0.0,
    )


# --- the signs ------------------------------------------------------------------------------------------------------------


def burst_against(net_lots: int, usual_lots: float, ratio: float) -> int:
    """The side of our quotes that aggressors run over: +1 the bids, −1 the asks, 0 neither or `usual_lots` unknown."""
    if ratio <= 0.0 or usual_lots < 0.0 or abs(net_lots) <= ratio * usual_lots:
        return 0
    return 1 if net_lots < 0 else -1


def is_depleted(lots: int, usual_lots: float, frac: float) -> bool:
    """Whether a best size is below its usual one by as much; never where that is unknown (−1)."""
    return lots < frac * usual_lots


def imbalance_against(imbalance: float, bound: float) -> int:
    """The side that an imbalance in [−1, 1] is against: +1 the bids (more is offered), −1 the asks, 0 neither."""
    if bound <= 0.0 or abs(imbalance) < bound:
        return 0
    return 1 if imbalance < 0.0 else -1


def toxic_reason(guard: GuardNumbers, signs: Signs, side: int) -> int:
    """The first sign against the quotes of a side (+1 the bids), as a reason; 0 when there is none."""
    usual_lots = -1.0
    if signs.usual_bid_lots >= 0.0:
        usual_lots = (signs.usual_bid_lots + signs.usual_ask_lots) / 2.0
    if burst_against(signs.net_lots, usual_lots, guard.trades_ratio) == side:
        return TOXIC_TRADES
    lots, usual_lots = signs.ask_lots, signs.usual_ask_lots
    if side > 0:
        lots, usual_lots = signs.bid_lots, signs.usual_bid_lots
    if is_depleted(lots, usual_lots, guard.depletion_frac):
        return TOXIC_DEPLETION
    return TOXIC_IMBALANCE if imbalance_against(signs.imbalance, guard.imbalance) == side else NONE


# --- the memory -------------------------------------------------------------------------------------------------------------


def note_touch(memory: Memory, now_ns: int, bid_lots: int, ask_lots: int) -> None:
    """Sample the best sizes for every whole second up to `now_ns` that has none yet; zeros (no market) forget them all.

    To be called before what was received at `now_ns` is applied.
    """
    crossed = (now_ns - memory[NEXT_SAMPLE_NS]) // NS_PER_S + 1
    memory[NEXT_SAMPLE_NS] = (now_ns // NS_PER_S + 1) * NS_PER_S
    if bid_lots <= 0 or ask_lots <= 0:
        memory[SAMPLES] = 0
        memory[NEXT_CELL] = 0
        memory[BID_SUM] = 0
        memory[ASK_SUM] = 0
        return
    for _ in range(min(crossed, TOUCH_SAMPLES)):
        at = memory[NEXT_CELL]
        if memory[SAMPLES] == TOUCH_SAMPLES:
            memory[BID_SUM] -= memory[_BIDS + at]
            memory[ASK_SUM] -= memory[_ASKS + at]
        else:
            memory[SAMPLES] += 1
        memory[_BIDS + at] = bid_lots
        memory[_ASKS + at] = ask_lots
        memory[BID_SUM] += bid_lots
        memory[ASK_SUM] += ask_lots
        memory[NEXT_CELL] = (at + 1) % TOUCH_SAMPLES


def forget_old_trades(memory: Memory, now_ns: int, slice_ns: int) -> None:
    """Empty the slices that `now_ns` has left behind."""
    newest = now_ns // slice_ns
    passed = min(newest - memory[SLICE], SLICES)
    for i in range(passed):
        cell = _NETS + (newest - i) % SLICES
        memory[NET_SUM] -= memory[cell]
        memory[cell] = 0
    if passed > 0:
        memory[SLICE] = newest


def note_trade(memory: Memory, now_ns: int, slice_ns: int, signed_lots: int) -> None:
    """A trade: `signed_lots` above 0 where the aggressor bought."""
    forget_old_trades(memory, now_ns, slice_ns)
    memory[_NETS + memory[SLICE] % SLICES] += signed_lots
    memory[NET_SUM] += signed_lots


def signs_now(memory: Memory, guard: GuardNumbers, now_ns: int, bid_lots: int, ask_lots: int, imbalance: float) -> Signs:
    """What the guard sees at `now_ns`."""
    forget_old_trades(memory, now_ns, guard.slice_ns)
    usual_bid_lots = usual_ask_lots = -1.0
    if memory[SAMPLES] >= LEAST_SAMPLES:
        usual_bid_lots = memory[BID_SUM] / memory[SAMPLES]
        usual_ask_lots = memory[ASK_SUM] / memory[SAMPLES]
    return Signs(int(memory[NET_SUM]), bid_lots, ask_lots, usual_bid_lots, usual_ask_lots, imbalance)


def toxic_sides(memory: Memory, guard: GuardNumbers, now_ns: int, signs: Signs) -> tuple[int, int]:
    """(why the bids are toxic, why the asks are), 0 where they are not; a sign seen before holds for `hold_ns`."""
    buy, sell = toxic_reason(guard, signs, 1), toxic_reason(guard, signs, -1)
    if buy != NONE:
        memory[BUY_REASON] = buy
        memory[BUY_UNTIL_NS] = now_ns + guard.hold_ns
    elif now_ns < memory[BUY_UNTIL_NS]:
        buy = int(memory[BUY_REASON])
    if sell != NONE:
        memory[SELL_REASON] = sell
        memory[SELL_UNTIL_NS] = now_ns + guard.hold_ns
    elif now_ns < memory[SELL_UNTIL_NS]:
        sell = int(memory[SELL_REASON])
    return buy, sell
