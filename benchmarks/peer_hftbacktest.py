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


Own = namedtuple("Own", "buys buy_value sells best_bid best_ask live_bid live_ask bid_id ask_id ready_bid ready_ask answered")
"""Our working orders: bids with their prices added up, asks, the best of each; of those that are not being cancelled price, id,
and whether the venue has confirmed them (0 and True without one); and whether it has answered everything."""


@njit
def own_orders(hbt):
    """Add up what works."""
    buys = buy_value = sells = best_bid = best_ask = live_bid = live_ask = 0
    bid_id = ask_id = np.uint64(0)
    ready_bid = ready_ask = answered = True
    orders = hbt.orders(0).values()
    while orders.has_next():
        order = orders.get()
        price = order.price_tick
        is_live = order.req != CANCELED
        answered = answered and is_live and order.req != NEW
        if order.side > 0:
            buys += 1
            buy_value += price
            best_bid = max(best_bid, price)
            if is_live:
                live_bid, bid_id, ready_bid = price, order.order_id, order.cancellable
        else:
            sells += 1
            best_ask = price if best_ask == 0 else min(best_ask, price)
            if is_live:
                live_ask, ask_id, ready_ask = price, order.order_id, order.cancellable
    return Own(buys, buy_value, sells, best_bid, best_ask, live_bid, live_ask, bid_id, ask_id, ready_bid, ready_ask, answered)


@njit
def ratio_of(maker, mid, held):
    """Inventory in [0, 1]; 0.5 is neutral."""
    distance = float(held) - float(maker.neutral_lots)
    if distance == 0:
        return 0.5
    room = float(maker.neutral_lots)
    if distance > 0:
        room = float(maker.cap_atoms) / (mid * maker.atoms_per_tick_lot) - room
    if room <= 0:
        return 1.0 if distance > 0 else 0.0
    return min(1.0, max(0.0, 0.5 + 0.5 * distance / room))


@njit
def wanted_prices(maker, best_bid, best_ask, mid, ratio):
    """The fixed spread around the mid, moved against the inventory, never crossing."""
    half = mid * maker.spread_frac / 2.0
    shift = min(1.0, max(-1.0, (maker.target - ratio) * maker.skew_factor))
    bid = min(np.int64(np.floor(mid - half + shift * half + 1e-9)), best_ask - 1)
    ask = max(np.int64(np.ceil(mid + half + shift * half - 1e-9)), best_bid + 1)
    if bid >= ask:
        bid, ask = bid - 1, ask + 1
    return bid, ask


@njit
def bid_wanted(maker, own, held, ratio, bid):
    """(keep the order that works, else place one): one lot more must fit under the cap of everything held and bid for."""
    if ratio >= 1.0:
        return False, False
    cap = maker.cap_atoms // maker.atoms_per_tick_lot  # in ticks x lots
    others, value = own.buys - (own.live_bid > 0), own.buy_value - own.live_bid
    if own.live_bid == bid and bid + max(bid * (held + others), bid * held + value) <= cap:
        return True, False
    meets_own = own.best_ask > 0 and bid >= own.best_ask
    return False, not meets_own and bid + max(bid * (held + own.buys), bid * held + own.buy_value) <= cap


@njit
def ask_wanted(own, held, ratio, ask):
    """The same for a sale of what is held and not offered yet."""
    if ratio <= 0.0:
        return False, False
    if own.live_ask == ask and held - own.sells >= 0:
        return True, False
    meets_own = own.best_bid > 0 and ask <= own.best_bid
    return False, not meets_own and held - own.sells >= 1


@njit
def look(hbt, maker, memory, log):
    """Keep an order at the wanted price, else cancel it and place another one of one lot.

    Nothing is done where nothing changed since a look that left everything as it was. An order that the venue has not confirmed
    cannot be cancelled here, so its side waits.
    """
    depth = hbt.depth(0)
    best_bid, best_ask = depth.best_bid_tick, depth.best_ask_tick
    memory[LOOKS] += 1
    fills = hbt.state_values(0).num_trades
    if memory[SETTLED] and best_bid == memory[BEST_BID] and best_ask == memory[BEST_ASK] and fills == memory[FILLS]:
        return
    memory[FILLS], memory[BEST_BID], memory[BEST_ASK] = fills, best_bid, best_ask
    if len(log):
        note_fills(hbt, memory, log)
    hbt.clear_inactive_orders(0)
    own = own_orders(hbt)
    memory[SETTLED] = own.answered
    held = maker.neutral_lots + np.int64(np.round(hbt.position(0) / LOT))
    mid = (best_bid + best_ask) / 2.0
    ratio = ratio_of(maker, mid, held)
    bid, ask = wanted_prices(maker, best_bid, best_ask, mid, ratio)
    new_bid = new_ask = False
    if own.ready_bid:
        keeps, new_bid = bid_wanted(maker, own, held, ratio, bid)
        if own.live_bid and not keeps:
            cancel(hbt, memory, own.bid_id)
    if own.ready_ask:
        keeps, new_ask = ask_wanted(own, held, ratio, ask)
        if own.live_ask and not keeps:
            cancel(hbt, memory, own.ask_id)
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
    log = np.zeros((len(events) // 4 if asked["fills"] else 0, 3), np.int64)
    run = run_on_feed if asked["clock"] == "feed" else run_on_clock
    wall, cpu = time.perf_counter(), time.process_time()
    came = run(hbt, maker, asked["every_ns"], memory, log)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if came != ENDED:
        raise RuntimeError(f"hftbacktest stopped with {came}")
    if asked["fills"]:
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
            answer = one_pass(kept[latency_ns], asked)
        except Exception as error:  # whatever another library raises is the answer
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
            continue
        answer["rss_mb"] = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
