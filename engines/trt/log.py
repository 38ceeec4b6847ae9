"""What TensorRT says: one logger a process. TensorRT keeps the first it is given, also after that one is gone."""

from __future__ import annotations

import sys
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any

from engines.errors import one_line

if TYPE_CHECKING:
    import tensorrt as trt

_MOST_LINES = 500
"""On stderr."""


@cache
def process_log() -> Any:
    """The logger of this process, for whatever TensorRT makes: it keeps the last `errors` for messages.

    Once its `tells` is true, warnings and errors go to stderr as well, a bounded number of them.
    """
    import tensorrt as trt

    class Log(trt.ILogger):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=8)
            self.tells = False
            self._n_lines = 0

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            level = int(severity)
            if level <= int(trt.ILogger.Severity.ERROR):
                self.errors.append(msg)
            if self.tells and level <= int(trt.ILogger.Severity.WARNING) and self._n_lines < _MOST_LINES:
                self._n_lines += 1
                sys.stderr.write(f"TensorRT: {one_line(' '.join(msg.split()))}\n")

    return Log()


def begin() -> Any:
    """The logger, with no errors of earlier calls in it."""
    log = process_log()
    log.errors.clear()
    return log


def reason() -> str:
    """The last errors in a line, the first of which is mostly the cause; they are not told again."""
    errors = process_log().errors
    said = " ".join(" ".join(errors).split())
    errors.clear()
    return one_line(said) if said else "it does not say why"
