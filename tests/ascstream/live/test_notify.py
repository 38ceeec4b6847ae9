"""What is said to systemd, heard by a real socket."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.live_streams import SteppedClock
from support.predictions import make_prediction

from ascstream.live.notify import Notifier

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("needs Unix sockets", allow_module_level=True)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket and what NOTIFY_SOCKET says."""
    name = f"ascstream-{secrets.token_hex(8)}"
    address = str(tmp_path / "notify") if request.param == "path" else f"@{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.setblocking(False)
        listening.bind("\0" + name if request.param == "abstract" else address)
        yield listening, address


def heard(listening: socket.socket) -> list[str]:
    words = []
    while True:
        try:
            words += listening.recv(4096).decode().split("\n")
        except BlockingIOError:
            return words


def test_ready_status_and_a_sign_of_life_at_half_of_the_time(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    clock = SteppedClock()
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "10000000"}, clock)
    notifier.judged(make_prediction(1.0, "park", 0.87))
    assert heard(listening) == ["READY=1", "STATUS=park 87 %", "WATCHDOG=1"]
    clock.now += 4.9
    notifier.judged(make_prediction(2.0, "park"))
    assert heard(listening) == []
    clock.now += 0.2
    notifier.judged(make_prediction(3.0, "park", lost={"camera": 12.3}))
    assert heard(listening) == ["STATUS=park 80 %, camera lost for 12 s", "WATCHDOG=1"]
    notifier.judged(make_prediction(4.0, "bus"))
    assert heard(listening) == ["STATUS=bus 80 %"]
    notifier.stopping()
    assert heard(listening) == ["STOPPING=1"]
    notifier.close()
    notifier.close()
    notifier.judged(make_prediction(5.0, "tram"))
    assert heard(listening) == []


def test_there_is_no_sign_of_life_while_the_engine_hangs(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    clock = SteppedClock()
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}, clock)
    for reason, expected in (("engine", False), ("engine", False), ("no_input", True)):
        clock.now += 1.5
        notifier.judged(make_prediction(clock.now, "unknown", level="unknown", reason=reason))
        words = heard(listening)
        assert ("WATCHDOG=1" in words) == expected
    notifier.close()


@pytest.mark.parametrize("watchdog", [{}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}])
def test_nobody_hears_of_life_who_does_not_watch(manager: tuple[socket.socket, str], watchdog: dict[str, str]) -> None:
    listening, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address, **watchdog})
    notifier.judged(make_prediction(1.0))
    notifier.close()
    assert heard(listening) == ["READY=1", "STATUS=park 80 %"]


@pytest.mark.parametrize("address", ["", "relative/path", "/nonexistent/notify", "vsock:2:1234"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.judged(make_prediction(1.0))
    notifier.stopping()
    notifier.close()


def test_a_manager_that_does_not_listen_costs_nothing(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    for number in range(2000):  # far more than its queue holds
        notifier.judged(make_prediction(float(number), "park" if number % 2 else "bus"))
    notifier.close()
    assert heard(listening)[0] == "READY=1"


def test_what_a_manager_did_not_hear_is_said_again(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    notifier = Notifier({"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "10000000"}, SteppedClock())
    notifier.judged(make_prediction(1.0, "park"))  # nobody is there
    for first in (True, False):  # nor does a manager that starts anew stay unheard of
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.setblocking(False)
            listening.bind(str(address))
            notifier.judged(make_prediction(2.0, "park"))
            notifier.judged(make_prediction(3.0, "bus"))
            words = heard(listening)
        address.unlink()
        assert words[-1] == "STATUS=bus 80 %"
        if first:
            assert words == ["READY=1", "STATUS=park 80 %", "WATCHDOG=1", "STATUS=bus 80 %"]
    notifier.close()
