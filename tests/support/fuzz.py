"""Damage done to bytes by a seeded generator: cuts, flips, zeros, huge numbers, pieces doubled, dropped and joined."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

HUGE = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 10_000_000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 63) - 1, 1 << 63)
"""What length, size and rate fields are overwritten with."""


def mutate(rng: random.Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """One kind of damage, somewhere; headers and indices, at both ends, are hit more often than what lies between."""
    kinds: list[Callable[[random.Random, bytearray], None]] = [_cut, _flip, _flip, _set, _set, _zero, _huge, _huge]
    kinds += [_swap, _double, _drop]
    if others and rng.random() < 0.05:
        return data + rng.choice(others)
    damaged = bytearray(data)
    rng.choice(kinds)(rng, damaged)
    return bytes(damaged)


def _place(rng: random.Random, data: bytearray) -> int:
    """A position: anywhere, near the beginning, or near the end."""
    near = min(len(data), 600)
    return rng.choice((rng.randrange(len(data)), rng.randrange(near), len(data) - 1 - rng.randrange(near)))


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[_place(rng, data) :]


def _flip(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 3, 30))):
        data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 2, 5))):
        data[_place(rng, data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _zero(rng: random.Random, data: bytearray) -> None:
    at, length = _place(rng, data), rng.choice((4, 16, 200, 5000))
    data[at : at + length] = bytes(len(data[at : at + length]))


def _huge(rng: random.Random, data: bytearray) -> None:
    width = rng.choice((2, 4, 8))
    at = _place(rng, data)
    value = rng.choice(HUGE) & ((1 << 8 * width) - 1)
    data[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))


def _swap(rng: random.Random, data: bytearray) -> None:
    first, second, length = _place(rng, data), _place(rng, data), rng.choice((1, 4, 32))
    data[first : first + length], data[second : second + length] = (
        data[second : second + length],
        data[first : first + length],
    )


def _double(rng: random.Random, data: bytearray) -> None:
    at = _place(rng, data)
    data[at:at] = data[at : at + rng.choice((8, 188, 1000))]


def _drop(rng: random.Random, data: bytearray) -> None:
    at = _place(rng, data)
    del data[at : at + rng.choice((1, 8, 188, 1000))]
