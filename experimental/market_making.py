"""The market maker alone, without the director: `python experimental/market_making.py [replay:PATH]`.

It runs on the simulated market unless a recording is named, and prints what it did. Nothing here is a promise of profit: with
the default fee a quote at the touch loses, and the report says so.
"""

import asyncio
import sys

from autohedge import MarketMaker, MarketMakingConfig


async def main(market: str) -> None:
    maker = MarketMaker(MarketMakingConfig(trading_pair="BTC/USDT"), market=market, cycles=5)
    summary = await maker.run()
    print(f"{summary['market']}: {summary['orders']}, {summary['fills']} fills, volume {summary['volume_quote']}")
    print(f"inventory {maker.current_inventory}, value {summary['start_value']} -> {summary['final_value']}")
    print(f"log {maker.csv_filename}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "sim"))
