"""The log: levels, time, repeats folded, and a standard error that is gone."""

from __future__ import annotations

import errno
import io

from support.live_streams import SteppedClock

from ascstream.live.log import Log
from ascstream.records import StreamEvent


class Full(io.StringIO):
    """A standard error on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_line_has_time_level_and_sentence() -> None:
    out, clock = io.StringIO(), SteppedClock()
    log = Log("info", stream=out, clock=clock)
    log.write("debug", "nobody wants to know")
    log.write("info", "runs")
    clock.now += 61
    log.event(StreamEvent(3.0, "device_lost", "camera: no picture for 2 s"))
    log.event(StreamEvent(5.0, "device_back", "camera: back\nafter \x1b[31m2 s"))
    log.close()
    assert out.getvalue().splitlines() == [
        "2026-06-01T12:00:00Z info     runs",
        "2026-06-01T12:01:01Z warning  device_lost: camera: no picture for 2 s",
        "2026-06-01T12:01:01Z info     device_back: camera: back�after �[31m2 s",
    ]


def test_repeats_are_folded_whatever_their_numbers() -> None:
    out, clock = io.StringIO(), SteppedClock()
    log = Log("info", stream=out, clock=clock)
    for number in range(13):
        log.write("warning", f"lost {number}.5 s")
        clock.now += 2
    log.write("warning", "something else")
    assert out.getvalue().splitlines() == [
        "2026-06-01T12:00:00Z warning  lost 0.5 s",
        "2026-06-01T12:00:26Z warning  something else",
    ]
    clock.now += 4
    log.tick()
    assert out.getvalue().splitlines()[2:] == ["2026-06-01T12:00:30Z warning  lost 12.5 s … 12 more times in 30 s"]
    log.write("warning", "lost 14.5 s")
    log.write("warning", "lost 15.5 s")
    log.close()
    assert out.getvalue().splitlines()[3:] == [
        "2026-06-01T12:00:30Z warning  lost 14.5 s",
        "2026-06-01T12:00:30Z warning  lost 15.5 s … 1 more time in 0 s",
    ]


def test_what_is_counted_is_bounded() -> None:
    out = io.StringIO()
    log = Log("info", stream=out, clock=SteppedClock())
    for turn in range(2):
        for number in range(1000):
            log.write("error", "x" * number + str(turn))
    log.close()
    assert len(out.getvalue().splitlines()) == 2000


def test_a_standard_error_that_is_gone_is_no_error() -> None:
    out = io.StringIO()
    log = Log("info", stream=out)
    out.close()
    log.write("error", "nobody reads this")
    log = Log("info", stream=Full())
    log.write("error", "there is no room")
    log.close()
