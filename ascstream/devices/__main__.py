"""`python -m ascstream.devices`: prints PortAudio's devices as JSON to stdout; its libraries' output goes to stderr."""

from __future__ import annotations

import json
import os

from ascstream.capture.child import take_stdout
from ascstream.devices.microphones import ask_here


def main() -> None:
    """Ask PortAudio and write the answer; stdout holds nothing but JSON, whatever a library prints."""
    answers = take_stdout()
    with os.fdopen(answers, "wb") as file:
        file.write(json.dumps(ask_here()).encode())


if __name__ == "__main__":
    main()
