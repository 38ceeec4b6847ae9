"""What a child reports about its medium besides sound and pictures: its format, and each kind of problem once."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import Any

from ascstream.capture.child import Outbox
from ascstream.capture.messages import Message, Note, Opened


class Report:
    """Sends the reports about one medium; thread-safe."""

    def __init__(self, outbox: Outbox, opened: Opened) -> None:
        """Prepare without sending anything.

        Args:
            outbox: Where to send everything.
            opened: The medium's format, as far as it is known.
        """
        self._outbox = outbox
        self._opened = opened
        self._told: set[str] = set()
        self._lock = Lock()
        self.n_corrupt = 0
        """Number of packets, pictures and pieces of sound that could not be decoded."""
        self._open = False

    def begin(self) -> None:
        """Report that the medium is open."""
        with self._lock:
            self._open = True
            self._outbox.put(self._opened)

    def put(self, message: Message) -> None:
        """Send a message."""
        self._outbox.put(message)

    def update(self, **form: Any) -> None:
        """Set fields of `Opened`, and send it again if any of them changed."""
        with self._lock:
            changed = replace(self._opened, **form)
            if changed == self._opened:
                return
            self._opened = changed
            if self._open:  # under the lock, so that the latest format is sent last
                self._outbox.put(changed)

    def note(self, kind: str, message: str) -> None:
        """Send a `Note`, but only the first one of each kind."""
        with self._lock:
            new = kind not in self._told
            self._told.add(kind)
        if new:
            self._outbox.put(Note(kind, message))

    def corrupt(self, what: str) -> None:
        """Count something that cannot be decoded, and report it the first time.

        Args:
            what: Subject of the message: "a picture", "a part of the sound".
        """
        with self._lock:
            self.n_corrupt += 1
        self.note("corrupt", f"{what} of {self._opened.name} cannot be decoded and is left out; so are more like it")
