"""Ordered prefetching with threads: results are computed ahead, but only a limited number of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_AHEAD = 2
"""Number of results computed ahead, beyond those in progress."""
T = TypeVar("T")


def prefetched(work: Callable[[int], T], n: int, workers: int) -> Iterator[T]:
    """Yield `work(0)` … `work(n − 1)` in order, up to `workers` at once; only a few calls run ahead of the consumer.

    An exception in `work` is raised at the position of its result. Closing the iterator cancels pending calls and waits
    for those that are running.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[T]] = deque(pool.submit(work, number) for number in range(min(n, workers + _AHEAD)))
        begun = len(waiting)
        try:
            while waiting:
                piece = waiting.popleft().result()
                if begun < n:
                    waiting.append(pool.submit(work, begun))
                    begun += 1
                yield piece
        finally:
            for future in waiting:
                future.cancel()
