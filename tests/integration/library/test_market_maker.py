"""`MarketMaker` in its familiar names: manual trades to the letter, sizes, runs, stops, and what may be seen meanwhile."""

from __future__ import annotations

import asyncio
import csv
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loguru import logger

from autohedge import MarketData, MarketMaker, MarketMakingConfig
from autohedge.bootstrap import Plan
from autohedge.domain.records import CycleOutcome, CycleRequest, DecisionSource
from autohedge.errors import AutoHedgeError, ConfigError, MarketDataError, StorageError
from autohedge.rerun import rerun
from autohedge.storage.csv_log import replay_csv
from autohedge.storage.database import open_database
from autohedge.storage.runs import list_runs
from autohedge.testing import ManualClock

QUICK: dict[str, Any] = {"cycles": 1, "every": "10s"}
NO_FEE = MarketMakingConfig(maker_fee_bps=Decimal(0))


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What the log is told while a test runs."""
    told: list[str] = []
    sink = logger.add(lambda message: told.append(str(message).rstrip("\n")), format="{level} {message}", level="WARNING")
    yield told
    logger.remove(sink)


def rows(maker: MarketMaker) -> list[dict[str, str]]:
    with Path(maker.csv_filename).open(newline="") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------- manual trades


def test_a_manual_buy_and_a_sell_to_the_letter(tmp_path: Path) -> None:
    """The result, the inventory with the fee in quote, and one CSV row each behind START, marked simulated."""
    maker = MarketMaker(output_dir=tmp_path)
    assert maker.current_inventory == {"base": 0, "quote": 10_000}
    bought = maker.simulate_order("buy", 100, "2.5")
    assert bought == {"order_id": "manual-000001", "type": "buy", "price": 100, "amount": Decimal("2.5"), "status": "filled"}
    assert maker.current_inventory == {"base": Decimal("2.5"), "quote": Decimal("9749.75")}  # 250 and 10 bps of it
    sold = maker.simulate_order("sell", Decimal("110"), 1)
    assert sold["status"] == "filled" and sold["order_id"] != bought["order_id"]
    assert maker.current_inventory == {"base": Decimal("1.5"), "quote": Decimal("9859.64")}
    assert [(row["event_type"], row["simulated"], row["decision_source"]) for row in rows(maker)] == [
        ("START", "true", ""),
        ("BUY", "true", "manual"),
        ("SELL", "true", "manual"),
    ]
    assert rows(maker)[0]["quote_inventory"] == "10000"
    assert Decimal(rows(maker)[2]["total_value"]) == Decimal("1.5") * 110 + Decimal("9859.64")
    rebuilt = replay_csv(Path(maker.csv_filename)).inventories["BTC/USDT"]
    assert {"base": rebuilt.base, "quote": rebuilt.quote} == maker.current_inventory and rebuilt.simulated


def test_what_the_balance_does_not_allow_warns_and_does_nothing(tmp_path: Path, warnings: list[str]) -> None:
    """{} and the familiar words; no row, no change, and not even a file where nothing was traded."""
    maker = MarketMaker(output_dir=tmp_path)
    assert maker.simulate_order("buy", 10_000, 1) == {}  # the price alone would fit, its fee does not
    assert maker.simulate_order("sell", 100, "0.00000001") == {}
    assert [line.split(":")[0] for line in warnings] == ["WARNING Insufficient funds", "WARNING Insufficient base asset"]
    assert "10010" in warnings[0] and "10000 held" in warnings[0]
    assert maker.current_inventory == {"base": 0, "quote": 10_000}
    assert list(tmp_path.iterdir()) == []
    exact = MarketMaker(NO_FEE, output_dir=tmp_path)
    assert exact.simulate_order("buy", 10_000, 1)["status"] == "filled"
    assert exact.current_inventory == {"base": 1, "quote": 0}
    assert exact.simulate_order("sell", 1, 1)["status"] == "filled"


@pytest.mark.parametrize(
    "bad",
    [float("nan"), float("inf"), float("-inf"), 0, -1, "", "ten", None, True, [], {}, b"1", 1j, "NaN", "-0", Decimal("sNaN")],
)
def test_what_is_no_positive_number_is_refused_and_nothing_changed(tmp_path: Path, bad: Any) -> None:
    """In price and in amount, ConfigError in one line that names which."""
    maker = MarketMaker(output_dir=tmp_path)
    for price, amount, named in ((bad, 1, "price"), (1, bad, "amount")):
        with pytest.raises(ConfigError, match=named) as caught:
            maker.simulate_order("buy", price, amount)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="buy or sell"):
        maker.simulate_order("hold", 1, 1)
    assert maker.current_inventory == {"base": 0, "quote": 10_000} and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("price", "amount"), [("1e-90", "1e-90"), ("1e999999", 1), (1, "1e-999999"), ("1e60", "1e70")])
def test_a_trade_that_could_not_be_kept_to_the_last_digit_is_refused(tmp_path: Path, price: Any, amount: Any) -> None:
    """Nothing is rounded in silence: more than 120 digits are refused, with nothing changed."""
    maker = MarketMaker(output_dir=tmp_path)
    with pytest.raises(ConfigError, match="120 digits"):
        maker.simulate_order("buy", price, amount)
    assert maker.current_inventory == {"base": 0, "quote": 10_000} and not list(tmp_path.iterdir())


AMOUNTS = st.decimals(min_value="1e-18", max_value=1_000, allow_nan=False, allow_infinity=False, places=18)


@settings(max_examples=50, deadline=None)
@given(trades=st.lists(st.tuples(st.sampled_from(["buy", "sell"]), AMOUNTS, AMOUNTS), max_size=12))
def test_any_manual_trades_conserve_to_the_last_digit(tmp_path_factory: pytest.TempPathFactory, trades: list[Any]) -> None:
    """Far more digits than the usual 28: what was paid and got is exact, and no balance is ever negative."""
    maker = MarketMaker(MarketMakingConfig(maker_fee_bps=Decimal("7.5")), output_dir=tmp_path_factory.mktemp("exact"))
    base, quote = Fraction(0), Fraction(10_000)
    for side, price, amount in trades:
        sign = 1 if side == "buy" else -1
        notional = Fraction(price) * Fraction(amount)
        if maker.simulate_order(side, price, amount):
            base += sign * Fraction(amount)
            quote -= sign * notional + notional * Fraction(75, 100_000)
        held = maker.current_inventory
        assert held["base"] >= 0 and held["quote"] >= 0
        assert (Fraction(held["base"]), Fraction(held["quote"])) == (base, quote)


def test_eight_threads_of_two_hundred_trades_conserve_exactly_and_end(tmp_path: Path) -> None:
    """One writer, a lock that is not taken twice: nothing lost or doubled, every id used once, and the CSV says the same."""
    config = MarketMakingConfig(initial_base=Decimal(10), maker_fee_bps=Decimal(3))
    maker = MarketMaker(config, output_dir=tmp_path)
    together = threading.Barrier(8)

    def trade(number: int) -> list[dict[str, Any]]:
        together.wait(10)
        done = []
        for step in range(200):
            done.append(maker.simulate_order("buy" if (number + step) % 2 else "sell", 100, "0.01"))
            held = maker.current_inventory
            assert held["base"] >= 0 and held["quote"] >= 0
        return done

    with ThreadPoolExecutor(8) as pool:
        results = [result for future in [pool.submit(trade, number) for number in range(8)] for result in future.result(60)]
    filled = [result for result in results if result]
    buys = sum(result["type"] == "buy" for result in filled)
    sells = len(filled) - buys
    assert len(filled) == 1_600 and len({result["order_id"] for result in filled}) == 1_600
    fee = Decimal("0.0003")
    assert maker.current_inventory == {
        "base": 10 + (buys - sells) * Decimal("0.01"),
        "quote": 10_000 - (buys - sells) * Decimal(1) - 1_600 * fee,
    }
    rebuilt = replay_csv(Path(maker.csv_filename)).inventories["BTC/USDT"]
    assert rebuilt.fills == 1_600 and {"base": rebuilt.base, "quote": rebuilt.quote} == maker.current_inventory


def test_a_trade_that_cannot_be_written_did_not_happen(tmp_path: Path) -> None:
    """The row comes before the balance: an output folder that cannot be had leaves the inventory as it was."""
    (tmp_path / "file").write_text("")
    maker = MarketMaker(output_dir=tmp_path / "out", clock=ManualClock())
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(ConfigError, match="out"):
        maker.simulate_order("buy", 1, 1)
    assert maker.current_inventory == {"base": 0, "quote": 10_000}
    (tmp_path / "out").unlink()
    assert maker.simulate_order("buy", 1, 1)["order_id"] == "manual-000001"


def test_a_write_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full at the second trade: StorageError, the first one stands, the second never was."""
    maker = MarketMaker(output_dir=tmp_path)
    maker.simulate_order("buy", 100, 1)
    before = maker.current_inventory
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError):
        maker.simulate_order("buy", 100, 1)
    monkeypatch.setattr(os, "write", real)
    assert maker.current_inventory == before
    assert maker.simulate_order("buy", 100, 1)["order_id"] == "manual-000002"
    assert replay_csv(Path(maker.csv_filename)).inventories["BTC/USDT"].fills == 2


# ---------------------------------------------------------------- sizes, names


def market(price: str | Decimal) -> MarketData:
    exact = Decimal(price)
    return MarketData(timestamp=1, best_bid=exact, best_ask=exact, last_price=exact, volume=Decimal(0))


def test_the_order_size_is_the_least_of_size_cap_and_cash(tmp_path: Path) -> None:
    """min(capital x size, cap - base held, free quote / (1 + fee)) / price in whole lots; a sell is bounded by the base."""
    maker = MarketMaker(output_dir=tmp_path)
    with pytest.raises(MarketDataError, match="no price is known"):
        maker.calculate_order_size()
    maker.market_data = market(30)
    assert maker.calculate_order_size() == maker.calculate_order_size(side="buy") == Decimal("3.3333")
    assert maker.calculate_order_size("sell") == 0
    maker.simulate_order("buy", 30, 65)  # 1,950 of the 2,000 that may be held
    assert maker.calculate_order_size() == Decimal("1.6666")
    assert maker.calculate_order_size("sell") == Decimal("3.3333")
    maker.simulate_order("buy", 30, "1.4")  # 8 are left, below the venue's minimum of 10
    assert maker.calculate_order_size() == 0
    maker.market_data = market(1_000)  # the base alone is worth more than the cap
    assert maker.calculate_order_size() == 0 and maker.calculate_order_size("sell") == Decimal("0.1")
    with pytest.raises(ConfigError, match="buy or sell"):
        maker.calculate_order_size("hold")


def test_the_order_size_leaves_room_for_the_fee(tmp_path: Path) -> None:
    """With no more than one order's cash left, what is bought and its fee fit into it."""
    config = MarketMakingConfig(
        order_size_percentage=Decimal("0.5"), max_inventory_exposure=Decimal(1), maker_fee_bps=Decimal(100)
    )
    maker = MarketMaker(config, output_dir=tmp_path)
    maker.simulate_order("buy", 1, 9_000)
    left = maker.current_inventory["quote"]
    maker.market_data = market(1)
    size = maker.calculate_order_size()
    assert size * Decimal("1.01") <= left < (size + Decimal("0.0002")) * Decimal("1.01")
    assert maker.simulate_order("buy", 1, size)["status"] == "filled"


def test_the_pairs_slash_never_reaches_the_file_name(tmp_path: Path) -> None:
    """Defect: a file name made of BTC/USDT. One path component, inside the output folder, for manual trades and for a run."""
    maker = MarketMaker(MarketMakingConfig(trading_pair="BTC/USDT"), output_dir=tmp_path, **QUICK)
    manual = Path(maker.csv_filename)
    assert manual.parent == tmp_path and manual.name.startswith("trades_BTC-USDT_")
    maker.simulate_order("buy", 100, 1)
    assert manual.exists()
    asyncio.run(maker.run())
    ran = Path(maker.csv_filename)
    assert ran != manual and ran.parent.parent == tmp_path and ran.name.startswith("trades_BTC-USDT_")


def test_what_is_public_cannot_be_bent(tmp_path: Path) -> None:
    """The inventory is a copy, the configuration frozen, and settings that belong elsewhere are refused."""
    maker = MarketMaker(output_dir=tmp_path)
    maker.current_inventory["quote"] = Decimal(0)
    assert maker.current_inventory["quote"] == 10_000
    with pytest.raises(ValueError, match="frozen"):
        maker.config.total_capital = Decimal(1)  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        market(1).last_price = Decimal(2)  # type: ignore[misc]
    with pytest.raises(ConfigError, match="give config"):
        MarketMaker(output_dir=tmp_path, settings={"maker": {"maker_fee_bps": 1}})
    with pytest.raises(ConfigError, match="trading_pair"):
        MarketMaker(output_dir=tmp_path, settings={"symbols": ["ETH/USDT"]})
    assert maker.active_orders == {} and maker.market_data is None


def test_wrong_arguments_are_told_by_the_constructor(tmp_path: Path) -> None:
    """ConfigError or MarketDataError, and nothing is written."""
    for arguments, kind in (
        ({"market": "mars"}, ConfigError),
        ({"market": "replay:nowhere"}, MarketDataError),
        ({"every": "never"}, ConfigError),
        ({"cycles": -2}, ConfigError),
        ({"config": MarketMakingConfig(total_capital=Decimal(100))}, ConfigError),
        ({"config": MarketMakingConfig(trading_pair="../x")}, ConfigError),
        ({"settings": {"desk": {"evry_s": 1}}}, ConfigError),
    ):
        with pytest.raises(kind):
            MarketMaker(output_dir=tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- running


class Looking:
    """A desk that looks at the maker each time it is asked: what a user's own code would see of a running session."""

    model_name = None

    def __init__(self, look: Any) -> None:
        self.look = look

    async def run_cycle(self, request: CycleRequest) -> CycleOutcome:
        waiting = self.look(request)
        if waiting is not None:
            await waiting
        return CycleOutcome(
            request.cycle_id, request.symbol, request.view.as_of_ns, "hold", "", None, DecisionSource.RULES, 0, (), ()
        )

    async def aclose(self) -> None:
        pass


def watched(maker: MarketMaker, look: Any) -> MarketMaker:
    """The same maker with another desk in its first plan."""
    plan: Plan | None = maker._plan
    assert plan is not None
    plan.desk = Looking(look)
    return maker


async def test_a_running_maker_shows_its_orders_market_and_inventory(tmp_path: Path) -> None:
    """active_orders, market_data, current_inventory and calculate_order_size are those of the session while it runs."""
    seen: list[dict[str, Any]] = []

    def look(request: CycleRequest) -> None:
        seen.append({"orders": maker.active_orders, "data": maker.market_data, "held": maker.current_inventory})
        seen[-1]["size"] = maker.calculate_order_size()
        with pytest.raises(ConfigError, match="cannot be set"):
            maker.market_data = market(1)
        with pytest.raises(ConfigError, match="before a session"):
            maker.simulate_order("buy", 1, 1)

    maker = watched(
        MarketMaker(MarketMakingConfig(min_profit_threshold=None), output_dir=tmp_path, cycles=4, every="60s"), look
    )
    summary = await maker.run()
    assert summary["fills"] > 0 and len(seen) == 4
    for each in seen[1:]:
        data = each["data"]
        assert isinstance(data, MarketData)
        assert data.best_bid < data.best_ask and abs(data.last_price / data.best_bid - 1) < Decimal("0.01")
        assert data.timestamp > 1_704_067_200 * 10**9 and data.volume >= 0
        assert each["orders"] and each["size"] > 0
        for order in each["orders"].values():
            assert set(order) == {"type", "price", "amount", "status"} and order["type"] in ("buy", "sell")
            bought = order["type"] == "buy"
            assert (order["price"] < data.best_ask) if bought else (order["price"] > data.best_bid)
    assert any(each["held"] != {"base": 0, "quote": 10_000} for each in seen)
    assert maker.active_orders == {}
    assert maker.current_inventory == {name: Decimal(value) for name, value in summary["inventory"].items()}
    assert maker.summary == summary and Path(maker.csv_filename) == Path(summary["csv"])
    last = rows(maker)[-1]
    assert (Decimal(last["base_inventory"]), Decimal(last["quote_inventory"])) == tuple(maker.current_inventory.values())


async def test_market_making_strategy_is_the_loop_without_signal_handlers(tmp_path: Path) -> None:
    """The same run, for those who own the signals of their process."""
    maker = MarketMaker(output_dir=tmp_path, **QUICK)
    summary = await maker.market_making_strategy()
    assert summary["cycles"] == 1 and summary["interrupted"] is False


async def test_while_the_market_is_unknown_it_is_not_shown_and_no_size_is_made_up(tmp_path: Path) -> None:
    """A book with a gap has no price: market_data is None and a size cannot be had; nothing is shown as zero."""
    seen: list[Any] = []

    def look(request: CycleRequest) -> None:
        assert maker._run is not None
        maker._run.session.lanes[0].book.clear()
        seen.append(maker.market_data)
        with pytest.raises(MarketDataError, match="no price is known"):
            maker.calculate_order_size()

    maker = watched(MarketMaker(output_dir=tmp_path, cycles=2, every="30s"), look)
    summary = await maker.run()
    assert seen == [None], "and a desk is not asked about it a second time"
    assert Decimal(summary["final_value"]) == 10_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_drains_a_running_maker_and_its_old_handler_comes_back(tmp_path: Path, number: signal.Signals) -> None:
    """run() takes the signals for as long as it runs, and not longer."""
    before = signal.getsignal(number)

    async def look(request: CycleRequest) -> None:
        if request.cycle_id.endswith("c0002"):
            os.kill(os.getpid(), number)
            await asyncio.sleep(0)

    maker = watched(MarketMaker(output_dir=tmp_path, cycles=100, every="30s"), look)
    summary = await maker.run()
    assert summary["interrupted"] is True and summary["cycles"] <= 2
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("from_thread", [False, True])
async def test_stop_drains_and_keeps_the_inventory(tmp_path: Path, from_thread: bool) -> None:
    """stop() from the loop's own thread or another one: quotes cancelled, told as interrupted, and the record replays."""

    async def look(request: CycleRequest) -> None:
        if request.cycle_id.endswith("c0003"):
            if from_thread:
                await asyncio.to_thread(maker.stop)
                await asyncio.sleep(0)
            else:
                maker.stop()

    maker = watched(MarketMaker(output_dir=tmp_path, cycles=100, every="30s"), look)
    summary = await maker.run()
    assert summary["interrupted"] is True and summary["cycles"] <= 3
    assert maker.active_orders == {}
    assert sum(summary["orders"][name] for name in ("cancelled", "rejected")) <= summary["orders"]["placed"]
    maker.stop()
    result = await rerun(tmp_path, summary["run_id"])
    assert result.equal and not result.cut_short


async def test_a_maker_runs_once_at_a_time_and_goes_on_from_where_it_was(tmp_path: Path) -> None:
    """A second run while one runs is refused; a later one starts with the inventory of the first, and both replay."""
    refusals = []

    async def look(request: CycleRequest) -> None:
        with pytest.raises(ConfigError, match="already runs") as caught:
            await maker.run()
        refusals.append(caught.value)

    maker = watched(MarketMaker(output_dir=tmp_path, cycles=3, every="60s"), look)
    first = await maker.run()
    assert len(refusals) == 3 and first["fills"] > 0
    held = maker.current_inventory
    second = await maker.run()
    assert second["run_id"] != first["run_id"]
    start = rows(maker)[0]
    assert (Decimal(start["base_inventory"]), Decimal(start["quote_inventory"])) == (held["base"], held["quote"])
    for summary in (first, second):
        assert (await rerun(tmp_path, summary["run_id"])).equal


async def test_manual_trades_are_where_a_session_starts(tmp_path: Path) -> None:
    """The opening inventory is what the trials left; one finer than the assets' atoms is refused, and nothing runs."""
    maker = MarketMaker(output_dir=tmp_path, **QUICK)
    maker.simulate_order("buy", 100, 3)
    summary = await maker.run()
    start = rows(maker)[0]
    assert (Decimal(start["base_inventory"]), Decimal(start["quote_inventory"])) == (3, Decimal("9699.7"))
    assert (await rerun(tmp_path, summary["run_id"])).equal
    fine = MarketMaker(output_dir=tmp_path / "fine", **QUICK)
    fine.simulate_order("buy", 100, "0.000000001")
    with pytest.raises(ConfigError, match="finer than the assets"):
        await fine.run()
    assert fine.simulate_order("sell", 100, "0.000000001")["status"] == "filled", "a refused start leaves the trials open"


async def test_a_run_that_breaks_is_recorded_as_failed_and_the_maker_can_be_looked_at(tmp_path: Path) -> None:
    """An exception from the desk ends the run: files closed, status failed with the note, no order left; it can run again."""

    def look(request: CycleRequest) -> None:
        if request.cycle_id.endswith("c0002"):
            raise RuntimeError("a defect of mine")

    maker = watched(MarketMaker(output_dir=tmp_path, cycles=3, every="30s"), look)
    with pytest.raises(RuntimeError, match="a defect of mine"):
        await maker.run()
    assert maker.summary is not None and maker.summary["cycles"] == 1
    assert maker.active_orders == {}
    engine = open_database(tmp_path / "autohedge.db")
    (run,) = list_runs(engine)
    engine.dispose()
    assert (run.status.value, run.note) == ("failed", "a defect of mine")
    result = await rerun(tmp_path, run.run_id)
    assert result.equal and not result.cut_short
    assert (await maker.run())["cycles"] == 3


async def test_the_inventory_is_never_negative_whatever_the_seed(tmp_path: Path) -> None:
    """Every row of several runs, and everything that was looked at, holds balances of zero or more."""
    for seed in (1, 2, 3):
        maker = MarketMaker(
            MarketMakingConfig(spread_percentage=Decimal("0.0005"), min_profit_threshold=None, fee_asset="received"),
            output_dir=tmp_path / str(seed),
            cycles=2,
            every="60s",
            seed=seed,
        )
        await maker.run()
        assert len(rows(maker)) > 3
        for row in rows(maker):
            assert Decimal(row["base_inventory"]) >= 0 and Decimal(row["quote_inventory"]) >= 0


def test_errors_of_the_maker_are_all_of_one_family() -> None:
    """Whoever catches AutoHedgeError catches what a maker raises on purpose."""
    assert issubclass(ConfigError, AutoHedgeError) and issubclass(MarketDataError, AutoHedgeError)
