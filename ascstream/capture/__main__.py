"""The start of a recording child: `python -m ascstream.capture`, its request the first line of stdin.

Not an argument: those are shown to every user of the machine, and an address may hold a password.
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
    """Record until the device ends or the parent is gone; ends the process without waiting for any library."""
    for name in ("SIGINT", "SIGHUP", "SIGTERM"):  # the parent's business: this process ends with it
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
    except BaseException as error:  # noqa: BLE001  the last that can be done is to say it; the text may hold secrets
        outbox.put(Failed(f"recording broke off because of a mistake of ours ({type(error).__name__})"))
        tell_mistake(error)
    outbox.close()
    os._exit(0)


def _record(request: Request, outbox: Outbox) -> None:
    """Only what this kind of device needs is loaded."""
    if isinstance(request, MicrophoneRequest):
        from ascstream.capture.microphone import record

        record(request, outbox)
    else:
        from ascstream.capture.media import record as record_media

        record_media(request, outbox)


if __name__ == "__main__":
    main()
