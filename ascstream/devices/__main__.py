"""`python -m ascstream.devices`: what PortAudio says, as JSON on stdout; what its libraries print goes to stderr."""

from __future__ import annotations

import json
import os

from ascstream.capture.child import take_stdout
from ascstream.devices.microphones import ask_here


def main() -> None:
    """Ask, and answer; whatever a library prints into stdout, JSON stands there alone."""
    answers = take_stdout()
    with os.fdopen(answers, "wb") as file:
        file.write(json.dumps(ask_here()).encode())


if __name__ == "__main__":
    main()
