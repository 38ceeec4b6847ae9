"""What a child has to say of its medium besides sound and pictures: its form, and what is wrong with it, told once."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import Any

from ascstream.capture.child import Outbox
from ascstream.capture.messages import Message, Note, Opened


class Report:
    """Speaks for one medium; from any thread."""

    def __init__(self, outbox: Outbox, opened: Opened) -> None:
        """Start without a word.

        Args:
            outbox: Where everything goes.
            opened: Its form, as far as it is known.
        """
        self._outbox = outbox
        self._opened = opened
        self._told: set[str] = set()
        self._lock = Lock()
        self.n_corrupt = 0
        """Packets, pictures and stretches of sound that could not be decoded."""
        self._open = False

    def begin(self) -> None:
        """Say that it is open."""
        with self._lock:
            self._open = True
            self._outbox.put(self._opened)

    def put(self, message: Message) -> None:
        """Say this."""
        self._outbox.put(message)

    def update(self, **form: Any) -> None:
        """Set fields of `Opened`, and say it again if any are new."""
        with self._lock:
            changed = replace(self._opened, **form)
            if changed == self._opened:
                return
            self._opened = changed
            if self._open:  # still under the lock: of two threads, the later form is to be said last
                self._outbox.put(changed)

    def note(self, kind: str, message: str) -> None:
        """Say this, the first time."""
        with self._lock:
            new = kind not in self._told
            self._told.add(kind)
        if new:
            self._outbox.put(Note(kind, message))

    def corrupt(self, what: str) -> None:
        """Count something that cannot be decoded.

        Args:
            what: "a picture", "a part of the sound".
        """
        with self._lock:
            self.n_corrupt += 1
        self.note("corrupt", f"{what} of {self._opened.name} cannot be decoded and is left out; so are more like it")
