"""Ids: sequential, the same in every replay, never shared."""

from __future__ import annotations

from itertools import product

from autohedge.domain.ids import IdFactory


def test_ids_count_up_and_name_their_symbol() -> None:
    ids = IdFactory("BTC/USDT")
    assert [ids.order(), ids.order()] == ["BTC-USDT-000001", "BTC-USDT-000002"]
    assert [ids.fill(), ids.fill()] == ["BTC-USDT-f000001", "BTC-USDT-f000002"]
    assert [ids.cycle(), ids.cycle()] == ["BTC-USDT-c0001", "BTC-USDT-c0002"]
    assert [ids.mandate(), ids.mandate()] == ["BTC-USDT-m0001", "BTC-USDT-m0002"]


def drawn(symbol: str, count: int) -> list[str]:
    ids = IdFactory(symbol)
    return [each() for _ in range(count) for each in (ids.order, ids.fill, ids.cycle, ids.mandate)]


def test_a_replay_makes_the_same_ids() -> None:
    assert drawn("ETH/USDT", 50) == drawn("ETH/USDT", 50)


def test_no_id_comes_twice_within_a_run_of_many_orders() -> None:
    everything = drawn("ETH/USDT", 12_000)
    assert len(set(everything)) == len(everything)


def test_symbols_that_look_alike_share_no_id() -> None:
    """A-USD is a ticker quoted in USD, A/USD a pair: both may run in one session."""
    symbols = ("A-USD", "A/USD", "A.USD", "AUSD", "A-U/SD")
    for one, other in product(symbols, symbols):
        if one != other:
            assert not set(drawn(one, 3)) & set(drawn(other, 3)), (one, other)


def test_an_id_has_no_character_that_a_file_name_or_a_url_would_mind() -> None:
    assert "/" not in "".join(drawn("BTC/USDT", 3))
