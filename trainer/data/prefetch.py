"""Work done ahead by threads and handed over in order, so many pieces at a time and no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_AHEAD = 2
"""Pieces prepared beyond those that are being prepared."""
T = TypeVar("T")


def prefetched(work: Callable[[int], T], n: int, workers: int) -> Iterator[T]:
    """`work(0)` … `work(n − 1)` in order, up to `workers` at once; what is not asked for is not begun.

    An error of `work` is raised where its piece would have come. Leaving the iterator stops the threads.
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
