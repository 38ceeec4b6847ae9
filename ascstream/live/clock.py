"""The clocks of a live stream: a monotonic one, and wall-clock time, which may jump."""

from __future__ import annotations

import time
from datetime import datetime, timezone


class Clock:
    """The current time. Tests may substitute their own."""

    def monotonic(self) -> float:
        """Monotonic seconds, on one clock shared by all processes of the machine."""
        return time.monotonic()

    def utc(self) -> datetime:
        """Wall-clock time in UTC; may jump forwards or backwards."""
        return datetime.now(timezone.utc)


def utc_text(moment: datetime) -> str:
    """Format a time as in `Prediction.time`: `2026-11-21T15:04:05.123Z`."""
    text = moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
