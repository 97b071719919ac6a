"""A market maker's session as a ledger sees it: the same records for the same seed, over real inventories.

Run as a program it writes one byte to stdout per step, so that whoever started it can kill it where it likes.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from autohedge.domain.ids import ClientOrderId, IdFactory, RunId
from autohedge.domain.instrument import Instrument
from autohedge.domain.inventory import Inventory
from autohedge.domain.mandate import Clamped, Mandate, MandateProposal, Regime, RiskLevel
from autohedge.domain.market_data import BUY, SELL, Side
from autohedge.domain.orders import Liquidity, OrderFilled, OrderState
from autohedge.domain.records import (
    CycleOutcome,
    DecisionRecord,
    DecisionSource,
    FillRecord,
    MandateRecord,
    ModelCallRecord,
    OpeningRecord,
    OrderEventRecord,
    OrderRecord,
    QuoteStateRecord,
)
from autohedge.errors import StorageError
from autohedge.ports import Ledger
from autohedge.storage.database import DATABASE_NAME, open_database
from autohedge.storage.ledger import RunInfo, RunKind, RunLedger, RunStatus

START_NS = 1_723_161_255_123_456_789
HOSTILE = '=cmd|"/c calc"!A1\r\n,;\t\u202e"quoted" \ud83d\ude00 \ud800 \0 ' + "ü" * 3
RUN_ID = RunId("20240808T235415-kill")


def instrument(base: str, tick: str, lot: str) -> Instrument:
    """A pair against USDT."""
    return Instrument(
        symbol=f"{base}/USDT",
        base=base,
        quote="USDT",
        tick_size=Decimal(tick),
        lot_size=Decimal(lot),
        min_qty=Decimal(lot),
        max_qty=Decimal(9000),
        min_notional=Decimal(10),
        max_notional=None,
        venue="paper",
        rules_as_of="2024-08-08",
    )


INSTRUMENTS = (instrument("BTC", "0.01", "0.00001"), instrument("ETH", "0.01", "0.0001"))


class ManualClock:
    """Wall time that moves one microsecond per look."""

    def __init__(self) -> None:
        self._now_ns = 1_800_000_000_000_000_000

    def now_ns(self) -> int:
        """The next microsecond."""
        self._now_ns += 1_000
        return self._now_ns

    def monotonic_s(self) -> float:
        """The same clock in seconds."""
        return self.now_ns() / 1e9

    async def sleep(self, seconds: float) -> None:
        """No waiting."""


def run_info(run_id: str = RUN_ID) -> RunInfo:
    """What such a run says about itself."""
    return RunInfo(
        run_id=RunId(run_id),
        kind=RunKind.RUN,
        settings={"capital": Decimal("10000.10"), "seed": 7, "out": Path("outputs")},
        market={"kind": "sim", "start_price": "100"},
        market_fingerprint="sim:7",
        symbols=tuple(each.symbol for each in INSTRUMENTS),
        simulated=True,
        seed=7,
        version="1.0.0a1",
    )


class _Maker:
    """One symbol: quotes, gets filled, now and then hears from its desk."""

    def __init__(self, rules: Instrument, ledger: Ledger, rng: random.Random) -> None:
        self.rules, self.ledger, self.rng = rules, ledger, rng
        self.ids = IdFactory(rules.symbol)
        self.inventory = Inventory(rules, 0, rules.quote_atoms_floor(Decimal(10_000)))
        self.working: dict[ClientOrderId, tuple[Side, int, int]] = {}
        self.mid_ticks = 6_000_000
        self.quoting = False

    def open(self, ts_ns: int) -> None:
        """The opening record."""
        price, quote = self.rules.price(self.mid_ticks), self.rules.quote_amount(self.inventory.quote_atoms)
        self.ledger.opening(OpeningRecord(self.rules.symbol, ts_ns, price, Decimal(0), quote, quote))

    def step(self, number: int, ts_ns: int) -> None:
        """One thing happens."""
        self.mid_ticks += self.rng.randint(-50, 50)
        if number % 97 == 0:
            self.hear_from_desk(ts_ns)
        elif number % 53 == 0:
            self.quoting = not self.quoting
            self.ledger.quote_state(QuoteStateRecord(self.rules.symbol, ts_ns, "bid", self.quoting, "stale" + HOSTILE))
        elif self.working and self.rng.random() < 0.3:
            self.fill(ts_ns)
        else:
            self.place(ts_ns)

    def place(self, ts_ns: int) -> None:
        """An order, sometimes denied, otherwise committed before it is sent and then accepted."""
        order_id, side = self.ids.order(), self.rng.choice([BUY, SELL])
        price_ticks = self.mid_ticks - int(side) * 100
        lots = self.rng.randint(20, 50)
        denied = side is SELL and self.rules.lots_of_base(self.inventory.base_atoms) < 2 * lots
        state = OrderState.DENIED if denied else OrderState.PENDING_SUBMIT
        size, price = self.rules.size(lots), self.rules.price(price_ticks)
        words = ("balance", HOSTILE) if denied else ("quote", "")
        name = side.name.lower()
        self.ledger.order(
            OrderRecord(self.rules.symbol, ts_ns, order_id, name, "limit", price, size, True, state, *words, "m1", "rules")
        )
        self.ledger.commit()
        if not denied:
            self.working = {order_id: (side, price_ticks, lots)}
            self.ledger.order_event(OrderEventRecord(self.rules.symbol, ts_ns, order_id, "accepted", OrderState.SUBMITTED, ""))

    def fill(self, ts_ns: int) -> None:
        """The working order fills."""
        order_id, (side, price_ticks, lots) = self.working.popitem()
        fee_asset = self.rules.base if side is BUY and self.rng.random() < 0.5 else self.rng.choice(["USDT", "BNB"])
        fee_atoms = self.rng.randint(-3, 9)
        trade_id = self.ids.fill()
        self.inventory.apply(
            OrderFilled(ts_ns, order_id, trade_id, side, price_ticks, lots, Liquidity.MAKER, fee_asset, fee_atoms)
        )
        base, quote = self.inventory.base_atoms, self.inventory.quote_atoms
        self.ledger.fill(
            FillRecord(
                symbol=self.rules.symbol,
                ts_ns=ts_ns,
                trade_id=trade_id,
                client_order_id=order_id,
                side=side.name.lower(),
                price=self.rules.price(price_ticks),
                size=self.rules.size(lots),
                fee=Decimal(fee_atoms).scaleb(-8),
                fee_asset=fee_asset,
                liquidity=Liquidity.MAKER,
                base_after=self.rules.base_amount(base),
                quote_after=self.rules.quote_amount(quote),
                total_value=self.rules.quote_amount(self.inventory.value_atoms(2 * self.mid_ticks)),
                mandate_id="m1",
                decision_source="rules",
                reason="quote" + HOSTILE,
            )
        )

    def hear_from_desk(self, ts_ns: int) -> None:
        """A cycle with two decisions, one call, and a mandate with a clamp."""
        cycle_id = self.ids.cycle()
        proposal = MandateProposal(1.0 + self.rng.random(), 0.1 + 0.2, 1.0, 60.0, Regime.VOLATILE, RiskLevel.HIGH)
        decisions = tuple(
            DecisionRecord(
                cycle_id=cycle_id,
                symbol=self.rules.symbol,
                ts_ns=ts_ns,
                sequence=number,
                role=role,
                schema="QuantAnalysis",
                source=source,
                reason_code="ok",
                reason=HOSTILE,
                model=None,
                prompt_hash="p",
                input_hash="i",
                input_tokens=10,
                output_tokens=None,
                cost_usd=Decimal("0.0000012345678901234567890123"),
                latency_ms=1.5,
                attempts=1,
                value={"text": HOSTILE, "score": 0.1, "levels": [1, None]},
            )
            for number, (role, source) in enumerate(
                [("quant_analyst", DecisionSource.LLM), ("sentiment_analyst", DecisionSource.ABSTAINED)]
            )
        )
        call = ModelCallRecord(
            cycle_id, self.rules.symbol, "quant_analyst", 1, "m", "ok", "", "[]", HOSTILE, 10, 5, None, 1_800_000_000, 1.5
        )
        mandate = Mandate(
            mandate_id=self.ids.mandate(),
            cycle_id=cycle_id,
            symbol=self.rules.symbol,
            spread_multiplier=1.5,
            inventory_bias=0.25,
            size_multiplier=1.0,
            regime=Regime.VOLATILE,
            risk_level=RiskLevel.HIGH,
            effective_ns=ts_ns,
            valid_until_ns=ts_ns + 60_000_000_000,
            source="llm",
            reason=HOSTILE,
            clamps=(Clamped("inventory_bias", proposal.inventory_bias, 0.25, "inventory_bias_max_change"),),
        )
        outcome = CycleOutcome(
            cycle_id, self.rules.symbol, ts_ns, "proposal", HOSTILE, proposal, DecisionSource.LLM, 0, decisions, (call,)
        )
        self.ledger.cycle(outcome, MandateRecord(self.rules.symbol, ts_ns + 5, cycle_id, "mandate", HOSTILE, mandate))


def play(ledger: Ledger, steps: int, after_step: Callable[[int], None] = lambda number: None) -> dict[str, Inventory]:
    """Record `steps` steps of two makers; returns their inventories."""
    rng = random.Random(7)
    makers = [_Maker(rules, ledger, rng) for rules in INSTRUMENTS]
    for maker in makers:
        maker.open(START_NS)
    for number in range(1, steps + 1):
        rng.choice(makers).step(number, START_NS + number * 1_000_003)
        ledger.commit()
        after_step(number)
    return {maker.rules.symbol: maker.inventory for maker in makers}


def start(out: Path, run_id: str = RUN_ID) -> RunLedger:
    """A ledger of a run in `out`."""
    return RunLedger.start(open_database(out / DATABASE_NAME), out / run_id, run_info(run_id), ManualClock())


def _announce(number: int) -> None:
    os.write(1, b".")


def until_killed(out: Path, steps: int) -> None:
    """Play, and wait to be killed."""
    ledger = start(out)
    _announce(0)
    play(ledger, steps, _announce)
    sys.stdin.read()


def until_full(out: Path, steps: int, limit_bytes: int) -> None:
    """Play on a disk on which no file may grow beyond a limit; say what came of it."""
    ledger = start(out)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    said = {}
    try:
        play(ledger, steps)
    except StorageError as error:
        said["play"] = str(error)
    try:
        ledger.commit()
    except StorageError as error:
        said["commit"] = str(error)
    try:
        ledger.finish(RunStatus.FAILED, {}, note="disk full")
    except StorageError as error:
        said["finish"] = str(error)
    print(json.dumps({**said, "seq": ledger.seq}))


if __name__ == "__main__":
    if sys.argv[1] == "kill":
        until_killed(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        until_full(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
