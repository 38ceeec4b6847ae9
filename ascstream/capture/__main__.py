"""Entry point of a recording child: `python -m ascstream.capture`, with its request as the first line of stdin.

The request is not an argument, since every user of the machine can see those, and a URL may contain a password.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from ascstream.capture.child import Outbox, read_line, take_stdout, tell_mistake
from ascstream.capture.messages import Failed
from ascstream.capture.requests import MicrophoneRequest, Request, from_json


def main() -> NoReturn:
    """Record until the device ends or the parent is gone; exits without waiting for any library's cleanup."""
    for name in ("SIGINT", "SIGHUP", "SIGTERM"):  # the parent handles these, and this process ends with it
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    try:
        request = from_json(read_line().decode())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        sys.stderr.write(
            f"expected a request of ascstream as the first line of stdin, got something else ({type(error).__name__}); "
            "type: ascstream live\n"
        )
        sys.stderr.flush()
        os._exit(2)
    outbox = Outbox(take_stdout())
    try:
        _record(request, outbox)
    except BaseException as error:  # noqa: BLE001  the last resort is to report it, by type only: the text may hold secrets
        outbox.put(Failed(f"recording broke off because of a mistake of ours ({type(error).__name__})"))
        tell_mistake(error)
    outbox.close()
    os._exit(0)


def _record(request: Request, outbox: Outbox) -> None:
    """Record from the requested kind of device, importing only what it needs."""
    if isinstance(request, MicrophoneRequest):
        from ascstream.capture.microphone import record

        record(request, outbox)
    else:
        from ascstream.capture.media import record as record_media

        record_media(request, outbox)


if __name__ == "__main__":
    main()
