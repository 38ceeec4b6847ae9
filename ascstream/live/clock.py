"""The clocks of a live stream: one that only goes forward, and the one on the wall, which may jump."""

from __future__ import annotations

import time
from datetime import datetime, timezone


class Clock:
    """What time it is. A test may stand in its place."""

    def monotonic(self) -> float:
        """Seconds that only go forward; one clock for all processes of the machine."""
        return time.monotonic()

    def utc(self) -> datetime:
        """Wall time; may jump either way."""
        return datetime.now(timezone.utc)


def utc_text(moment: datetime) -> str:
    """`2026-11-21T15:04:05.123Z`, as in `Prediction.time`."""
    text = moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
