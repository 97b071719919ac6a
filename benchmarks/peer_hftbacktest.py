"""Run by another Python, which has hftbacktest and not AutoHedge: the same maker on the same stream, on demand.

`python peer_hftbacktest.py STREAM.npz` answers each line of JSON that it reads with another one. Asked is for

- `clock`: `feed` (a look when a message comes, at most every `every_ns`) or `elapse` (a look every `every_ns` on a clock of its
  own, which is the fastest way to drive hftbacktest),
- `maker`: the numbers of the maker (`Maker` below), in the units of the stream,
- `latency_ns`: how long news take to us, an order to the venue, and its answer to us; the same for all three,
- `fills`: a file for the fills (`ts_ns` at the venue, side, price in ticks), or null.

The answer has CPU and wall seconds, looks, orders, cancels, fills, final inventory and peak memory until then, or the error.
"""

import json
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
from hftbacktest import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    FILLED,
    GTX,
    LIMIT,
    LOCAL_EVENT,
    NEW,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    ROIVectorMarketDepthBacktest,
)
from hftbacktest.order import CANCELED
from hftbacktest.types import event_dtype
from numba import njit

TICK, LOT = 0.1, 0.001
MARGIN_TICKS = 100
ONE_MINUTE_NS = 60_000_000_000
ENDED, FED, TIMED_OUT = 1, 2, 0

Maker = namedtuple("Maker", "spread_frac skew_factor target neutral_lots cap_atoms atoms_per_tick_lot")
"""Full spread as a fraction of the mid; shift of both quotes, in half spreads, per unit of inventory ratio off its target;
lots held at the beginning, which are neutral; the cap of everything held and bid for, and the value of a lot per tick."""

LOOKS, ORDERS, CANCELS, LOGGED, NEXT_ID, FILLS, BEST_BID, BEST_ASK, SETTLED = range(9)
"""What the maker remembers: four counts, the next order's id, and the last look with whether it left everything as it was."""


@njit
def wanted_prices(maker, best_bid, best_ask, held):
    """(bid, ask, inventory ratio): the fixed spread around the mid, moved against the inventory, never crossing."""
    mid = (best_bid + best_ask) / 2.0
    room = float(maker.cap_atoms) / (mid * maker.atoms_per_tick_lot)
    distance = float(held) - float(maker.neutral_lots)
    ratio = 0.5
    if distance != 0:
        room = room - maker.neutral_lots if distance > 0 else float(maker.neutral_lots)
        if room <= 0:
            ratio = 1.0 if distance > 0 else 0.0
        else:
            ratio = min(1.0, max(0.0, 0.5 + 0.5 * distance / room))
    half = mid * maker.spread_frac / 2.0
    shift = min(1.0, max(-1.0, (maker.target - ratio) * maker.skew_factor))
    bid = min(np.int64(np.floor(mid - half + shift * half + 1e-9)), best_ask - 1)
    ask = max(np.int64(np.ceil(mid + half + shift * half - 1e-9)), best_bid + 1)
    if bid >= ask:
        bid, ask = bid - 1, ask + 1
    return bid, ask, ratio


@njit
def look(hbt, maker, memory, log):
    """Keep an order at the wanted price, else cancel it and place another one, of one lot, if inventory and cap allow."""
    depth = hbt.depth(0)
    best_bid, best_ask = depth.best_bid_tick, depth.best_ask_tick
    memory[LOOKS] += 1
    fills = hbt.state_values(0).num_trades
    if memory[SETTLED] and best_bid == memory[BEST_BID] and best_ask == memory[BEST_ASK] and fills == memory[FILLS]:
        return
    memory[FILLS], memory[BEST_BID], memory[BEST_ASK], memory[SETTLED] = fills, best_bid, best_ask, 1
    held = maker.neutral_lots + np.int64(np.round(hbt.position(0) / LOT))
    if len(log):
        note_fills(hbt, memory, log)
    hbt.clear_inactive_orders(0)
    buys = buy_value = sells = 0
    own_bid = own_ask = 0  # best of all that work, also of those being cancelled
    live_bid = live_ask = bid_id = ask_id = 0
    ready_bid = ready_ask = True
    orders = hbt.orders(0).values()
    while orders.has_next():
        order = orders.get()
        price = order.price_tick
        is_live = order.req != CANCELED
        if order.req == NEW or not is_live:
            memory[SETTLED] = 0
        if order.side > 0:
            buys += 1
            buy_value += price
            own_bid = max(own_bid, price)
            if is_live:
                live_bid, bid_id, ready_bid = price, order.order_id, order.cancellable
        else:
            sells += 1
            own_ask = price if own_ask == 0 else min(own_ask, price)
            if is_live:
                live_ask, ask_id, ready_ask = price, order.order_id, order.cancellable
    bid, ask, ratio = wanted_prices(maker, best_bid, best_ask, held)
    cap = maker.cap_atoms // maker.atoms_per_tick_lot  # in ticks x lots
    new_bid = new_ask = False
    if live_bid == 0 or ready_bid:
        others, value = buys - (live_bid > 0), buy_value - live_bid
        if ratio >= 1.0:
            keeps, may = False, False
        else:
            keeps = live_bid == bid and bid + max(bid * (held + others), bid * held + value) <= cap
            may = (own_ask == 0 or bid < own_ask) and bid + max(bid * (held + buys), bid * held + buy_value) <= cap
        if not keeps:
            if live_bid:
                cancel(hbt, memory, bid_id)
            new_bid = may
    if live_ask == 0 or ready_ask:
        if ratio <= 0.0:
            keeps, may = False, False
        else:
            keeps = live_ask == ask and held - (sells - (live_ask > 0)) >= 1
            may = (own_bid == 0 or ask > own_bid) and held - sells >= 1
        if not keeps:
            if live_ask:
                cancel(hbt, memory, ask_id)
            new_ask = may
    if new_bid:
        hbt.submit_buy_order(0, memory[NEXT_ID], bid * TICK, LOT, GTX, LIMIT, False)
        count_order(memory)
    if new_ask:
        hbt.submit_sell_order(0, memory[NEXT_ID], ask * TICK, LOT, GTX, LIMIT, False)
        count_order(memory)


@njit
def cancel(hbt, memory, order_id):
    """Ask for it, and look again at the next chance."""
    hbt.cancel(0, order_id, False)
    memory[CANCELS] += 1
    memory[SETTLED] = 0


@njit
def count_order(memory):
    """One order more, and another look at the next chance."""
    memory[NEXT_ID] += 1
    memory[ORDERS] += 1
    memory[SETTLED] = 0


@njit
def note_fills(hbt, memory, log):
    """Write down what was filled since the last time, before it is cleared away."""
    orders = hbt.orders(0).values()
    while orders.has_next():
        order = orders.get()
        if order.status == FILLED:
            at = memory[LOGGED]
            log[at, 0], log[at, 1], log[at, 2] = order.exch_timestamp, order.side, order.price_tick
            memory[LOGGED] = at + 1


@njit
def run_on_feed(hbt, maker, every_ns, memory, log):
    """A look when a message comes, at most every so often."""
    next_ns = 0
    while True:
        came = hbt.wait_next_feed(False, ONE_MINUTE_NS)
        if came not in (TIMED_OUT, FED):
            break
        now_ns = hbt.current_timestamp
        if now_ns >= next_ns:
            next_ns = now_ns + every_ns
            look(hbt, maker, memory, log)
    if len(log):
        note_fills(hbt, memory, log)
    return came


@njit
def run_on_clock(hbt, maker, every_ns, memory, log):
    """A look every so often, whether anything came or not."""
    while True:
        came = hbt.elapse(every_ns)
        if came != 0:
            break
        look(hbt, maker, memory, log)
    return came


def events_of(stream, latency_ns):
    """The stream as hftbacktest's records, received after the latency."""
    events = np.zeros(len(stream["ts_ns"]), event_dtype)
    kind = np.where(stream["is_trade"], TRADE_EVENT, DEPTH_EVENT).astype(np.uint64)
    side = np.where(stream["side"] > 0, BUY_EVENT, SELL_EVENT).astype(np.uint64)
    events["ev"] = kind | side | np.uint64(EXCH_EVENT | LOCAL_EVENT)
    events["exch_ts"] = stream["ts_ns"]
    events["local_ts"] = stream["ts_ns"] + latency_ns
    events["px"] = stream["price_ticks"] * TICK
    events["qty"] = stream["size_lots"] * LOT
    return events


def market_of(events, latency_ns):
    """Risk-averse queue, whole fills, a rebate for makers; the book as an array over the prices that occur."""
    asset = (
        BacktestAsset()
        .data(events)
        .linear_asset(1.0)
        .constant_order_latency(latency_ns, latency_ns)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(-0.00005, 0.0002)
        .tick_size(TICK)
        .lot_size(LOT)
        .last_trades_capacity(0)
        .roi_lb(float(events["px"].min()) - MARGIN_TICKS * TICK)
        .roi_ub(float(events["px"].max()) + MARGIN_TICKS * TICK)
    )
    return ROIVectorMarketDepthBacktest([asset])


def one_pass(events, asked):
    """Run the maker once; what came out of it."""
    hbt = market_of(events, asked["latency_ns"])
    maker = Maker(**asked["maker"])
    memory = np.zeros(9, np.int64)
    memory[NEXT_ID] = 1
    log = np.zeros((len(events) // 4 if asked.get("fills") else 0, 3), np.int64)
    run = run_on_feed if asked["clock"] == "feed" else run_on_clock
    wall, cpu = time.perf_counter(), time.process_time()
    came = run(hbt, maker, asked["every_ns"], memory, log)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if came != ENDED:
        raise RuntimeError(f"hftbacktest stopped with {came}")
    if asked.get("fills"):
        np.save(asked["fills"], log[: memory[LOGGED]])
    state = hbt.state_values(0)
    held_lots = maker.neutral_lots + round(hbt.position(0) / LOT)
    answer = {"cpu_s": cpu, "wall_s": wall, "looks": int(memory[LOOKS]), "orders": int(memory[ORDERS])}
    answer |= {"cancels": int(memory[CANCELS]), "fills": int(state.num_trades), "held_lots": int(held_lots)}
    hbt.close()
    return answer


def main():
    """Answer until the input ends."""
    stream = np.load(sys.argv[1])
    stream = {name: stream[name] for name in stream.files}
    kept = {}
    for line in sys.stdin:
        asked = json.loads(line)
        latency_ns = asked["latency_ns"]
        try:
            if latency_ns not in kept:
                kept = {latency_ns: events_of(stream, latency_ns)}
            answer = one_pass(kept[latency_ns][: asked.get("rows")], asked)
        except Exception as error:  # whatever another library raises is the answer
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
            continue
        answer["rss_mb"] = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
