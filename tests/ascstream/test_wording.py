"""Counts and sizes as users read them."""

import pytest

from ascstream.wording import counted, size_text, wrap_phrases


def test_one_has_no_plural():
    assert [counted(n, "window") for n in (0, 1, 2)] == ["0 windows", "1 window", "2 windows"]


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (3_100_000, "3,027 KiB"),
        ((10 << 20) - 1, "10,240 KiB"),
        (10 << 20, "10 MiB"),
        (5 << 30, "5,120 MiB"),
    ],
)
def test_a_size_has_one_unit(n_bytes, text):
    assert size_text(n_bytes) == text


def test_lines_break_between_phrases_only():
    text = "bundle b 1.0.0, 1 thread; microphone USB Audio, window 1 s, step 0.5 s"
    assert wrap_phrases(text, len(text)) == text
    assert wrap_phrases(text, 30) == "bundle b 1.0.0, 1 thread;\n  microphone USB Audio,\n  window 1 s, step 0.5 s"
    assert wrap_phrases("one phrase, and another", 5) == "one phrase,\n  and another"
