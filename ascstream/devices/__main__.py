"""`python -m ascstream.devices`: what PortAudio says, as JSON on stdout; what its libraries print goes elsewhere."""

from __future__ import annotations

import json
import sys

from ascstream.devices.microphones import ask_here

if __name__ == "__main__":
    sys.stdout.write(json.dumps(ask_here()))
