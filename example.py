"""The whole of AutoHedge in thirty lines: no key, no network, a simulated market that says so.

python example.py
"""

from pathlib import Path
from tempfile import mkdtemp

from autohedge import AutoHedge


def main() -> None:
    hedge = AutoHedge(
        stocks=["BTC/USDT", "ETH/USDT"],
        strategy="Stay close to neutral; prefer small inventories.",
        output_dir=Path(mkdtemp(prefix="autohedge-")),
        output_type="dict",
        cycles=3,
    )
    result = hedge.run(task="Make a market in both for three minutes.")

    summary = result["summary"]
    print(f"simulated: {summary['simulated']}; model: {summary['model'] or 'none, the rules decided'}")
    for log in hedge.logs:
        mandate = log["order"]["mandate"] if log["order"] else None
        print(
            f"{log['current_stock']}: {log['decision']['outcome']} ({log['decision']['sources']['execution_agent']}) {mandate}"
        )
    for symbol, lane in summary["per_symbol"].items():
        print(f"{symbol}: {lane['orders']['placed']} orders, {lane['fills']} fills, inventory {lane['inventory']}")
    print(f"value {summary['start_value']} -> {summary['final_value']}; every event is in {summary['csv']}")


if __name__ == "__main__":
    main()
