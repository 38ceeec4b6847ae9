"""Keep C libraries from writing messages to standard error that nobody can act on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def muted_stderr() -> Iterator[None]:
    """Discard what C code writes to file descriptor 2.

    Some versions of ONNX Runtime, such as 1.23, warn on import, before any log level can be set, about a display that
    is not a PCI card, as on a Jetson (microsoft/onnxruntime#26763). A Jetson's driver prints several lines where the
    user may not open its device nodes. Real failures there raise an exception or return an error code anyway.
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
