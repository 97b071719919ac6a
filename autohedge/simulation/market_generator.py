"""A seeded artificial market: an exact integer book moved by simple, documented order flow.

Promises: the same seed, symbol and parameters give the same events byte for byte on every supported Python and machine
(integer arithmetic and `random.Random.getrandbits` only); the published book is never crossed or locked; a trade happens at
a displayed price and takes displayed size; update ids have no gaps; a shorter market is the beginning of a longer one; the
price is a fair game (no drift); memory does not grow with duration.

Refuses: to look like any real instrument. The price starts at a neutral 100, and nothing is fitted to data.

The flow, action by action (time between actions is exponential; its mean moves slowly and far, which clusters volatility):

* A hidden *value* takes a small symmetric step, proportional to itself.
* Now and then a *burst* begins, oftener when the pace is high: news moves the value by a part of a distance with a heavy tail,
  and a hurried taker sweeps the book over the whole of it within some tens of milliseconds. What was not news comes back as
  makers refill. A wide spread makes everybody quicker.
* Half of the takers know the value. They buy when it is above the best ask and sell when it is below the best bid; any other
  order is noise. Noise is large parent orders traded in pieces, one after the other: its side has a long memory. Its market
  impact is in proportion to how far its side could not be expected, so that nobody can foretell the value from it.
* Makers believe in a lagged value. They cancel a best price that has become too good, improve one that has become too bad, and
  lean sizes at the touch towards the value: imbalance foretells the next move a little, and reverts as the move comes.
* Levels at depth are placed, resized and deleted at random; a side shows at most `LEVELS` levels, and loses the farthest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from hashlib import sha256
from random import Random

from autohedge.domain.instrument import Instrument
from autohedge.domain.market_data import BUY, SELL, BookDelta, BookSnapshot, Level, MarketEvent, Side, TopOfBook, Trade
from autohedge.simulation.market_parameters import MarketParameters, check_market
from autohedge.simulation.market_tables import ONE, URN, exponential_table, mean_gaps_ns, persistence, run_lengths

LEVELS = 64
"""Most levels that one side displays."""
MIN_LEVELS = 16
"""Neither cancels nor trades leave a side with fewer levels; a sweep ends there."""

_S = 1_000_000_000
_ONE = 1 << 16
"""One tick in the fixed-point numbers of values and distances."""
_KICK_BPS = 16
"""For each of so many basis points of its reach a burst throws a ball into the urn: the pace rises, for a while."""
_HOT = 80
"""A burst throws no ball into an urn of so many (sixteen times the middle pace): bursts alone cannot keep the market there."""
_HURRY_NS = 15_000_000
"""Mean time between actions during a burst."""
_LONGEST_WAIT = 6
"""No silence between two actions is longer than this many mean ones."""
_EVERYTHING = 1 << 62
_NEVER = 1 << 63

# Shares of the actions, in 256ths. The rest rearranges levels at depth; a sweep is looked at first, and only in a burst.
_SWEEPS = 192
_TAKES = 80
_MAKES = 136

Print = tuple[int, int]
"""(price_ticks, size_lots) of one trade."""


class _Ladder:
    """One side of the book: sizes by price, the best price, and what changed since the last message."""

    __slots__ = ("best", "changed", "sign", "sizes", "step")

    def __init__(self, sign: int, best: int, step: int) -> None:
        self.sign = sign
        self.best = best
        self.step = step
        self.sizes: dict[int, int] = {}
        self.changed: dict[int, int] = {}

    def put(self, price: int, lots: int) -> None:
        """Set the size of a level."""
        if self.sizes.get(price) == lots:
            return
        self.sizes[price] = self.changed[price] = lots
        if (price - self.best) * self.sign > 0:
            self.best = price

    def remove(self, price: int) -> None:
        """Delete a level that exists; the side must have another."""
        del self.sizes[price]
        self.changed[price] = 0
        if price == self.best:
            backwards = self.sign * self.step
            while price not in self.sizes:
                price -= backwards
            self.best = price

    def trim(self, most: int) -> None:
        """Delete the farthest levels until at most `most` are left."""
        while len(self.sizes) > most:
            self.remove(min(self.sizes) if self.sign > 0 else max(self.sizes))

    def execute(self, lots: int, limit: int) -> list[Print]:
        """Take up to `lots` from the best price on, no further than `limit`; returns the trades."""
        prints = []
        while lots and (self.best - limit) * self.sign >= 0 and len(self.sizes) > MIN_LEVELS:
            price = self.best
            displayed = self.sizes[price]
            taken = min(lots, displayed)
            prints.append((price, taken))
            lots -= taken
            if taken == displayed:
                self.remove(price)
            else:
                self.put(price, displayed - taken)
        return prints

    def levels(self, sizes: dict[int, int]) -> tuple[Level, ...]:
        """`sizes` as levels, best first."""
        return tuple(sorted(sizes.items(), reverse=self.sign > 0))


class MarketGenerator:
    """One artificial market from `start_ns` on, for `duration_s` seconds of its own time.

    `ConfigError` for a seed, duration or instrument that cannot work.
    """

    def __init__(
        self, instrument: Instrument, seed: int, duration_s: float, start_ns: int, parameters: MarketParameters
    ) -> None:
        check_market(instrument, seed, duration_s, start_ns, parameters)
        key = f"autohedge simulated market 2\n{seed}\n{instrument.symbol}"
        self._bits = Random(int.from_bytes(sha256(key.encode()).digest(), "big")).getrandbits
        self._waits, self._run_lengths, self._persistence = exponential_table(), run_lengths(), persistence()
        self._now_ns = self._arrived_ns = start_ns
        self._end_ns = start_ns + round(duration_s * _S)
        self._scale(instrument, parameters)

        start_ticks = int(parameters.start_price / instrument.tick_size)
        self._step = step = max(1, start_ticks // 10_000)
        self._wide = 4 * step
        self._value = self._belief = start_ticks * _ONE
        self._least_value = 4 * LEVELS * step * _ONE
        self._half_spread = step * _ONE // 16
        self._heat = self._bits(URN).bit_count()
        self._run = BUY
        self._run_age = self._run_length = 0
        self._burst: Side | None = None
        self._burst_limit = self._update_id = self._trade_id = 0
        self._until_burst = self._calm()
        self._bids = _Ladder(1, (start_ticks - 1) // step * step, step)
        self._asks = _Ladder(-1, -(-(start_ticks + 1) // step) * step, step)
        for ladder in (self._bids, self._asks):
            for behind in range(MIN_LEVELS * 3):
                ladder.put(ladder.best - ladder.sign * behind * step, self._size(behind))

    def _scale(self, instrument: Instrument, parameters: MarketParameters) -> None:
        """Turn the parameters into the integers that the flow works with."""
        quote_per_lot = parameters.start_price * instrument.lot_size
        self._level_lots = max(1, int(Decimal(parameters.level_quote) / quote_per_lot))
        self._trade_lots = int(Decimal(parameters.min_trade_quote) / quote_per_lot)
        sigma_per_action = parameters.volatility_per_hour / math.sqrt(parameters.actions_per_s * 3_600)
        self._sigma = round(sigma_per_action / 4 * (1 << 40))  # the heads of 64 coins have a standard deviation of 4
        self._impact = round(parameters.impact_bps / 10_000 * (1 << 20))
        self._burst_frac = round(parameters.burst_bps / 10_000 * (1 << 20))
        bursts_per_minute = parameters.bursts_per_minute
        actions_per_minute = 60 * parameters.actions_per_s
        self._calm_actions = round(min(actions_per_minute / bursts_per_minute, _NEVER)) if bursts_per_minute else _NEVER
        self._latency_ns = round(parameters.feed_latency_ms * 1_000_000)
        self._longest_ns = round(_LONGEST_WAIT * _S / parameters.actions_per_s)
        self._gaps_ns = mean_gaps_ns(parameters.actions_per_s)

    def actions(self) -> Iterator[list[MarketEvent]]:
        """The events of one action after another, the snapshot first, in order of arrival. Can be consumed once."""
        yield [self._snapshot()]
        bits = self._bits
        while True:
            self._pass_time()
            if self._now_ns > self._end_ns:
                return
            top = self._top()
            side, prints = BUY, list[Print]()
            dice = bits(8)
            if self._burst is not None and dice < _SWEEPS:
                side, prints = self._sweep(self._burst)
            elif dice < _TAKES:
                side, prints = self._take()
            elif dice < _TAKES + _MAKES:
                self._make()
            else:
                self._rearrange()
            if self._bids.changed or self._asks.changed:
                yield self._publish(side, prints, top)

    # --- time, value and news -----------------------------------------------------------------------------------------

    def _pass_time(self) -> None:
        """Move the clock to the next action, and with it what is hidden."""
        bits = self._bits
        wait = self._waits[bits(8)]
        if self._burst is not None:
            self._now_ns += 1 + (_HURRY_NS * wait >> 10)
            return
        if self._asks.best - self._bids.best > self._wide:
            wait >>= 1
        self._now_ns += 1 + min(self._gaps_ns[self._heat] * wait >> 10, self._longest_ns)
        if not bits(2):
            self._heat += 1 if bits(7) >= self._heat else -1
        value = self._value
        value += (bits(64).bit_count() - 32) * (value * self._sigma >> 40)
        self._until_burst -= ONE
        if self._until_burst < 0:
            self._until_burst = self._calm()
            value += self._begin_burst()
        self._value = max(value, self._least_value)
        self._belief += (self._value - self._belief) * 3 >> 4

    def _calm(self) -> int:
        """How many actions pass before the next burst, times `ONE`."""
        return self._calm_actions * self._waits[self._bits(8)]

    def _begin_burst(self) -> int:
        """Aim a sweep; its reach has a heavy, bounded tail (Pareto with exponent 2). Returns the news in it, 19 to 56 %."""
        bits = self._bits
        reach = (self._value * self._burst_frac >> 20) * 1_032 // math.isqrt(bits(10) + 17 << 10)
        self._burst = side = BUY if bits(1) else SELL
        self._burst_limit = (self._asks.best if side is BUY else self._bids.best) + side * (reach // _ONE)
        self._heat = max(self._heat, min(_HOT, self._heat + reach * 10_000 // (self._value * _KICK_BPS)))
        return side * (reach * (192 + 3 * bits(7)) >> 10)

    # --- actions --------------------------------------------------------------------------------------------------------

    def _size(self, behind: int) -> int:
        """A new level's size in lots: growing up to ten levels behind the touch; heavy-tailed and bounded."""
        return self._level_lots * (8 + min(behind, 10)) * (256 + 65_536 // (self._bits(8) + 8)) // 9_216 + 1

    def _sweep(self, side: Side) -> tuple[Side, list[Print]]:
        """The hurried taker's next order: all that is displayed on the next levels, up to the end of the burst."""
        ladder = self._asks if side is BUY else self._bids
        limit = ladder.best + side * self._step * (5 + self._bits(3))
        last = (limit - self._burst_limit) * side >= 0
        prints = ladder.execute(_EVERYTHING, self._burst_limit if last else limit)
        if last or len(ladder.sizes) <= MIN_LEVELS:
            self._burst = None
        return side, prints

    def _take(self) -> tuple[Side, list[Print]]:
        """A market order, informed or noise, that stops three levels beyond the best price; noise waits for a narrow spread."""
        bits, step = self._bits, self._step
        bid, ask = self._bids.best, self._asks.best
        knows = bits(1)
        if knows and self._value > ask * _ONE:
            side = BUY
        elif knows and self._value < bid * _ONE:
            side = SELL
        elif ask - bid > self._wide:
            return BUY, []
        else:
            side = self._noise()
        lots = self._trade_lots * 4_096 // (bits(12) + 32)
        return side, self._asks.execute(lots, ask + 3 * step) if side is BUY else self._bids.execute(lots, bid - 3 * step)

    def _noise(self) -> Side:
        """The side of the next piece of a parent order; what of it could not be expected moves the value."""
        bits = self._bits
        expected = self._run * self._persistence[self._run_age]
        if self._run_age == self._run_length:
            self._run = BUY if bits(1) else SELL
            self._run_age, self._run_length = 0, self._run_lengths[bits(8)]
        self._run_age += 1
        side = self._run
        self._value += (side * ONE - expected) * ((self._value * self._impact >> 20) * bits(8) >> 7) >> 10
        return side

    def _make(self) -> None:
        """A maker looks at both sides, in random order."""
        bids, asks = self._bids, self._asks
        first, second = (bids, asks) if self._bits(1) else (asks, bids)
        self._requote(first, second)
        self._requote(second, first)

    def _requote(self, ladder: _Ladder, other: _Ladder) -> None:
        """Cancel a best price that is too good for the belief, improve one that is too bad, or else resize it."""
        step, sign, best = self._step, ladder.sign, ladder.best
        room = (self._belief - best * _ONE) * sign - self._half_spread
        if room < 0:
            if len(ladder.sizes) > MIN_LEVELS:
                ladder.remove(best)
            return
        steps = min(room // (step * _ONE), (other.best - best) * sign // step - 1, 8)
        for behind in range(steps):
            ladder.put(best + sign * (steps - behind) * step, self._size(behind))
        ladder.trim(LEVELS)
        if steps == 0:
            lots = self._size(0)
            favoured = (2 * self._value - (best + other.best) * _ONE) * sign > 0
            ladder.put(best, lots * 3 if favoured else lots // 4 + 1)

    def _rearrange(self) -> None:
        """One or two levels behind the touch are placed, resized or deleted; the farthest go first when there are too many."""
        bits = self._bits
        ladder = self._bids if bits(1) else self._asks
        sizes = ladder.sizes
        ladder.trim(LEVELS - 2)
        for _ in range(1 + bits(1)):
            behind = 1 + (bits(3) if bits(1) else bits(6))
            price = ladder.best - ladder.sign * behind * self._step
            if price in ladder.changed:
                continue
            if bits(3):
                ladder.put(price, self._size(behind))
            elif price in sizes and len(sizes) > MIN_LEVELS:
                ladder.remove(price)

    # --- messages -------------------------------------------------------------------------------------------------------

    def _top(self) -> tuple[int, int, int, int]:
        bids, asks = self._bids, self._asks
        return bids.best, bids.sizes[bids.best], asks.best, asks.sizes[asks.best]

    def _snapshot(self) -> BookSnapshot:
        self._update_id = 1
        bids, asks = self._bids, self._asks
        bids.changed, asks.changed = {}, {}
        return BookSnapshot(*self._stamps(), 1, bids.levels(bids.sizes), asks.levels(asks.sizes))

    def _stamps(self) -> tuple[int, int]:
        """When it happened, and when it reaches us: after all that was sent before it."""
        delay = self._latency_ns * (256 + self._bits(8)) >> 8
        self._arrived_ns = arrived = max(self._now_ns + delay, self._arrived_ns + 1_000)
        return self._now_ns, arrived

    def _publish(self, side: Side, prints: list[Print], top: tuple[int, int, int, int]) -> list[MarketEvent]:
        """What the public sees of an action: its trades, the new best prices if they changed, the changed levels."""
        happened, arrived = self._stamps()
        events: list[MarketEvent] = []
        for price, lots in prints:
            self._trade_id += 1
            events.append(Trade(happened, arrived, self._trade_id, price, lots, side))
            arrived += 20_000
        bids, asks = self._bids, self._asks
        first = self._update_id + 1
        self._update_id = last = self._update_id + len(bids.changed) + len(asks.changed)
        now = self._top()
        if now != top:
            events.append(TopOfBook(happened, arrived, last, *now))
            arrived += 200_000
        events.append(BookDelta(happened, arrived, first, last, bids.levels(bids.changed), asks.levels(asks.changed)))
        self._arrived_ns = arrived
        bids.changed, asks.changed = {}, {}
        return events
