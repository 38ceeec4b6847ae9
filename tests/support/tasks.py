"""Work for several processes: each function is found by its module's name in another process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable


def square(number: int, send: Callable[[int], None]) -> None:
    """Send the square."""
    send(number * number)


def tell_process(number: int, send: Callable[[tuple[int, int]], None]) -> None:
    """Send the number and who does it, after a moment in which others can take the next one."""
    time.sleep(0.2)
    send((number, os.getpid()))


def fail_at_three(number: int, send: Callable[[int], None]) -> None:
    """Send the number; the third raises."""
    if number == 3:
        raise ValueError("three is too many")
    send(number)


def die_at_three(number: int, send: Callable[[int], None]) -> None:
    """Send the number; the third is killed."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    send(number)


def die_of_real_time_signal(number: int, send: Callable[[int], None]) -> None:
    """End by a signal that has no name."""
    os.kill(os.getpid(), signal.SIGRTMIN + 2)


def send_for_ever(number: int, send: Callable[[tuple[int, int]], None]) -> None:
    """Send until nobody listens."""
    while True:
        send((number, os.getpid()))
        time.sleep(0.01)
