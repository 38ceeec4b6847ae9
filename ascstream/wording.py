"""Counts and sizes as users read them."""

from __future__ import annotations

import re


def counted(n: int, noun: str) -> str:
    """A number with its noun: "1 window", "3 windows"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def size_text(n_bytes: int) -> str:
    """A size in bytes, in KiB from 1 KiB on, or in MiB from 10 MiB on: "4 B", "338 KiB", "12 MiB"."""
    if n_bytes < 1024:
        return f"{n_bytes} B"
    return f"{n_bytes / 1024:,.0f} KiB" if n_bytes < 10 << 20 else f"{n_bytes / (1 << 20):,.0f} MiB"


def wrap_phrases(text: str, width: int) -> str:
    """Wrap a text after commas and semicolons only; further lines are indented, a longer phrase stays whole."""
    lines: list[str] = []
    for phrase in re.split(r"(?<=[,;]) ", text):
        if lines and len(lines[-1]) + 1 + len(phrase) <= width:
            lines[-1] += f" {phrase}"
        else:
            lines.append(f"  {phrase}" if lines else phrase)
    return "\n".join(lines)
