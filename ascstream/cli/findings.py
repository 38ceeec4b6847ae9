"""What `ascstream doctor` finds, and where it looks."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Status = Literal["ok", "missing", "failed"]
"""missing: not there, and `file` works without it · failed: there should be one, and it does not work."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    """What it is."""
    status: Status
    """Whether it works."""
    value: str
    """What was found."""
    advice: str | None = None
    """What to type next."""
    needed: bool = True
    """Whether `ascstream file` does not work where this failed."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to look; a test may point elsewhere."""

    platform: str = sys.platform
    """As `sys.platform`."""
    root: Path = Path("/")
    """Where /dev, /proc, /sys, /etc and /run are."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    """Its variables."""
    folder: Path = Path()
    """Where results would be written."""

    def text(self, path: str) -> str:
        """A small file below the root; empty where it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    @property
    def contained(self) -> bool:
        """Whether this is a container: its devices and sockets are those that it was given."""
        marks = (self.root / ".dockerenv", self.root / "run/.containerenv")
        return any(mark.exists() for mark in marks) or bool(self.environment.get("container"))


def absent(name: str, value: str, advice: str | None) -> Check:
    """Something that is not there, and that files need not."""
    return Check(name, "missing", value, advice, needed=False)
