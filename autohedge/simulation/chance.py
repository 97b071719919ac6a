"""Seeded chance that remembers nothing: each draw is a function of (seed, stream, counter), over integers alone.

Promise: plain Python and compiled code draw the same numbers, on every machine; draws of one stream never depend on how many
another has made, so a new source of chance changes no old result. It is for simulations, never for secrets.

The mixing is that of Philox-2x32-7 (Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3", 2011) with words
of 31 bits, so that no product leaves signed 64-bit integers: compiled code may assume that none does.
"""

from __future__ import annotations

API_FAILURE = 1
"""Stream: whether a request to the venue fails; one draw per request."""
SLIPPAGE = 2
"""Stream: how bad a fill's slippage is; one draw per fill."""
ORDER_LATENCY = 3
"""Stream: how long a command takes to the venue; one draw per command."""
FEED_LATENCY = 4
"""Stream: how long an event takes to us; one draw per event."""

_MASK = 0x7FFF_FFFF
_MULTIPLIER = 0xD256_D193
_WEYL = 0x1E37_79B9
_ROUNDS = 7
_ONE_IN_2_53 = 1.0 / 9007199254740992.0


def mixed(high: int, low: int, key: int) -> int:
    """62 bits in which every bit of two 31-bit words has a say, under a 31-bit key; one to one."""
    for _ in range(_ROUNDS):
        product = high * _MULTIPLIER
        high = ((product >> 31) ^ key ^ low) & _MASK
        low = product & _MASK
        key = (key + _WEYL) & _MASK
    return (high << 31) | low


def stream_key(seed: int, stream: int) -> int:
    """What `draw` needs of a seed (its lowest 62 bits count) and a stream (31 bits)."""
    return mixed((seed >> 31) & _MASK, seed & _MASK, stream & _MASK)


def draw(key: int, counter: int) -> float:
    """Uniform in [0, 1), a multiple of 2^−53: draw number `counter` (0 … 2^62 − 1) of the stream behind `key`."""
    return (mixed(((counter >> 31) ^ (key >> 31)) & _MASK, counter & _MASK, key & _MASK) >> 9) * _ONE_IN_2_53


def uniform(seed: int, stream: int, counter: int) -> float:
    """Uniform in [0, 1), from a seed, a stream and a counter."""
    return draw(stream_key(seed, stream), counter)
