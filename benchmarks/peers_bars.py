"""Run by another Python, which has vectorbt and backtesting.py and not AutoHedge: a peer's passes over the same bars.

`python peers_bars.py BARS.npz` answers each line of JSON that it reads with another one: CPU seconds, total return and round
trips of a pass and the peak memory until then, or the error. The rule is that of the benchmark: EMA cross, one unit, 5 bp,
long or flat, at the close of the crossing.
"""

import json
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

CASH = 1_000_000.0
FEE = 0.0005


def vectorbt_pass(engine, closes, pairs):
    """All pairs at once, as its users do it."""
    import vectorbt

    vectorbt.settings["engine"] = engine
    series = pd.Series(closes, index=pd.date_range("2022-01-01", periods=len(closes), freq="1min"))
    began = time.process_time()
    fast = vectorbt.MA.run(series, [pair[0] for pair in pairs], ewm=True, short_name="fast")
    slow = vectorbt.MA.run(series, [pair[1] for pair in pairs], ewm=True, short_name="slow")
    entries, exits = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
    portfolio = vectorbt.Portfolio.from_signals(series, entries, exits, size=1.0, fees=FEE, init_cash=CASH, freq="1min")
    gains, trades = np.atleast_1d(portfolio.total_return()), np.atleast_1d(portfolio.trades.closed.count())
    return time.process_time() - began, float(gains[0]), int(trades[0])


def backtesting_pass(columns, fast_span, slow_span):
    """Its strategy class, called on every bar."""
    import backtesting

    class Cross(backtesting.Strategy):
        def init(self):
            def average(values, span):
                return pd.Series(values).ewm(span=span, adjust=False).mean().to_numpy()

            self.fast = self.I(average, self.data.Close, fast_span)
            self.slow = self.I(average, self.data.Close, slow_span)
            self.was_above = False

        def next(self):
            is_above = self.fast[-1] > self.slow[-1]
            if is_above and not self.was_above:
                self.buy(size=1)
            elif self.was_above and not is_above:
                self.position.close()
            self.was_above = is_above

    frame = pd.DataFrame(columns, index=pd.date_range("2022-01-01", periods=len(columns["Close"]), freq="1min"))
    began = time.process_time()
    backtesting.backtesting._tqdm = lambda each, **_: each  # no progress bar
    run = backtesting.Backtest(frame, Cross, cash=CASH, commission=FEE, trade_on_close=True)
    stats = run.run()
    return time.process_time() - began, float(stats["Equity Final [$]"]) / CASH - 1, int(stats["# Trades"])


def main():
    """Answer until the input ends."""
    bars = np.load(sys.argv[1])
    columns = {name.capitalize(): bars[name] for name in ("open", "high", "low", "close", "volume")}
    for line in sys.stdin:
        asked = json.loads(line)
        part = {name: column[: asked["bars"]] for name, column in columns.items()}
        try:
            if asked["peer"] == "backtesting":
                cpu_s, gain, trades = backtesting_pass(part, *asked["pairs"][0])
            else:
                cpu_s, gain, trades = vectorbt_pass(asked["peer"].partition("-")[2], part["Close"], asked["pairs"])
        except Exception as error:  # whatever another library raises is the answer
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
            continue
        rss_mb = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
        print(json.dumps({"cpu_s": cpu_s, "gain": gain, "trades": trades, "rss_mb": rss_mb}), flush=True)


if __name__ == "__main__":
    main()
