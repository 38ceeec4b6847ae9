"""Inside a child: one of PortAudio's devices, at its own rate, its samples stamped by its own clock."""

from __future__ import annotations

from ascstream.capture.child import Outbox
from ascstream.capture.messages import Failed
from ascstream.capture.requests import MicrophoneRequest


def record(request: MicrophoneRequest, outbox: Outbox) -> None:
    """Send what the microphone hears until it ends; the last message says why."""
    outbox.put(Failed(f"no microphone is read yet: {request.name}"))
