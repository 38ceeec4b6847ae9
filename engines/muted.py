"""Keeping C libraries from writing to standard error what nobody can act on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def muted_stderr() -> Iterator[None]:
    """Drop what C code writes to file descriptor 2.

    Importing some versions of ONNX Runtime, as 1.23, warns of a display that is no PCI card, as on a Jetson, before
    any log level can be set (microsoft/onnxruntime#26763); a Jetson's driver complains in several lines where the user
    may not open its nodes. What goes wrong there is an exception or a code, not a line.
    """
    try:
        saved = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  (a device)
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
