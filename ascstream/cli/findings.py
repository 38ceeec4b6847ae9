"""The findings of `ascstream doctor`, and the machine it examines."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Status = Literal["ok", "missing", "failed"]
"""missing: absent, and `file` works without it · failed: should be there, and does not work."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    """What was checked."""
    status: Status
    """Whether it works."""
    value: str
    """What was found."""
    advice: str | None = None
    """What to do or type next."""
    needed: bool = True
    """Whether `ascstream file` does not work if this failed."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to look; tests may point elsewhere."""

    platform: str = sys.platform
    """As `sys.platform`."""
    root: Path = Path("/")
    """The folder that holds /dev, /proc, /sys, /etc and /run."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    """Environment variables."""
    folder: Path = Path()
    """Folder where results would be written."""

    def text(self, path: str) -> str:
        """Read a small file below the root; empty if it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    @property
    def contained(self) -> bool:
        """Whether this is a container, which has only the devices and sockets it was given."""
        marks = (self.root / ".dockerenv", self.root / "run/.containerenv")
        return any(mark.exists() for mark in marks) or bool(self.environment.get("container"))


def absent(name: str, value: str, advice: str | None) -> Check:
    """The finding for something absent that files do not need."""
    return Check(name, "missing", value, advice, needed=False)
