"""TensorRT's messages: one logger per process, since TensorRT keeps the first it is given, even past its lifetime."""

from __future__ import annotations

import sys
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any

from engines.errors import one_line

if TYPE_CHECKING:
    import tensorrt as trt

_MOST_LINES = 500
"""Maximum number of lines written to stderr."""


@cache
def process_log() -> Any:
    """The logger of this process, for all TensorRT objects; it keeps the last `errors` for error messages.

    While its `tells` is true, it also writes warnings and errors to stderr, up to a maximum number.
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
    """Return the logger, cleared of earlier errors."""
    log = process_log()
    log.errors.clear()
    return log


def reason() -> str:
    """The last errors on one line, of which the first is usually the cause; clears them."""
    errors = process_log().errors
    said = " ".join(" ".join(errors).split())
    errors.clear()
    return one_line(said) if said else "it does not say why"
