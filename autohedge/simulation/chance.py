"""Seeded chance that remembers nothing: each draw is a function of (seed, stream, counter), over integers alone.

Promise: plain Python and compiled code draw the same numbers, on every machine; draws of one stream never depend on how many
another has made, so a new source of chance changes no old result. It is for simulations, never for secrets.

The mixing is that of splitmix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014) cut to 63 bits, so
that every intermediate value is right in signed 64-bit arithmetic, which wraps, and in Python's, which does not.
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

_MASK = 0x7FFF_FFFF_FFFF_FFFF
_STEP = 0x1E37_79B9_7F4A_7C15
_FIRST = 0x3F58_476D_1CE4_E5B9
_SECOND = 0x14D0_49BB_1331_11EB
_ONE_IN_2_53 = 1.0 / 9007199254740992.0


def mix(value: int) -> int:
    """A 63-bit whole number in which every bit of `value` (its lowest 63 bits) has a say; one to one."""
    value = value & _MASK
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


def stream_key(seed: int, stream: int) -> int:
    """What `draw` needs of a seed and a stream; any 64-bit whole numbers, negative ones too."""
    return mix(mix(seed + _STEP) + stream * _STEP)


def draw(key: int, counter: int) -> float:
    """Uniform in [0, 1): draw number `counter` of the stream behind `key`."""
    return (mix(key + counter * _STEP) >> 10) * _ONE_IN_2_53


def uniform(seed: int, stream: int, counter: int) -> float:
    """Uniform in [0, 1), from a seed, a stream and a counter."""
    return draw(stream_key(seed, stream), counter)
