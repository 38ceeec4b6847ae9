"""What the view is drawn with: widths, majorities, clocks, letters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascstream.intervals import Interval
from ascstream.sinks.drawing import Legend, axis, bar, cells, clock, duration, speed, to_ascii
from ascstream.sinks.letters import N_ROWS, large


def interval(start: float, end: float, label: str) -> Interval:
    return Interval(start, end, label, "scene", 0.9)


@given(fraction=st.floats(-1, 2), width=st.integers(1, 80))
def test_a_bar_is_as_wide_as_it_should_be(fraction, width):
    text = bar(fraction, width, "red")
    assert text.cell_len == width
    filled = text.plain.count("━") + 0.5 * text.plain.count("╸")
    assert abs(filled - width * min(max(fraction, 0), 1)) <= 0.25 + 1e-9
    assert to_ascii(text).plain.isascii()


def test_a_cell_shows_what_held_longest_in_it():
    parts = [interval(0, 2.6, "a"), interval(2.6, 4.0, "b"), interval(6.0, 8.0, "a")]
    assert cells(parts, 0.0, 10.0, 5) == ["a", "b", None, "a", None]
    assert cells(parts, 0.0, 10.0, 1) == ["a"]
    assert cells([], 0.0, 10.0, 3) == [None] * 3
    assert cells(parts, 5.0, 5.0, 3) == [None] * 3


@given(cuts=st.lists(st.floats(0.01, 5), min_size=1, max_size=30), n_cells=st.integers(1, 60))
def test_cells_of_a_gapless_stretch_are_all_filled(cuts, n_cells):
    time, parts = 0.0, []
    for index, length in enumerate(cuts):
        parts.append(interval(time, time + length, "ab"[index % 2]))
        time += length
    found = cells(parts, 0.0, time, n_cells)
    assert len(found) == n_cells
    assert None not in found


def test_marks_differ_and_stay():
    legend = Legend()
    labels = ["shopping_mall", "street_pedestrian", "street_traffic", "sss", "unknown"]
    letters = [legend.mark(label).letter for label in labels]
    assert letters == ["S", "P", "T", "A", "?"]
    assert [legend.mark(label).letter for label in labels] == letters
    assert len({legend.mark(label).colour for label in labels}) == 5


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (7.9, "0:07"), (59.9999999, "1:00"), (3723, "1:02:03")])
def test_a_clock(seconds, text):
    assert clock(seconds) == text


def test_durations_and_speeds():
    assert [duration(value) for value in (-0.18, -2.44, -0.00042)] == ["-180 ms", "-2.4 s", "-420 µs"]
    assert [duration(value) for value in (0.00042, 0.0031, 0.99, 2.44)] == ["420 µs", "3.1 ms", "990 ms", "2.4 s"]
    assert [speed(value) for value in (0.02, 0.5, 0.0, 2.0)] == ["50×", "2.0×", "0.0×", "0.5×"]


@pytest.mark.parametrize("width", [1, 4, 10, 16, 80])
def test_an_axis_is_no_wider_than_its_strip(width):
    assert len(axis(0.0, 20.0, width).plain) <= max(width, 4)
    assert axis(0.0, 20.0, 80).plain.split() == ["0:00", "0:10", "0:20"]


def test_large_letters_are_rows_of_one_length():
    rows = large("street_traffic-0123456789")
    assert rows is not None
    assert len(rows) == N_ROWS
    assert len({len(row) for row in rows}) == 1
    assert large("park") == ["█▀▄ ▄▀▄ █▀▄ █ █", "█▀  █▀█ █▀▄ █▀▄", "▀   ▀ ▀ ▀ ▀ ▀ ▀"]
    assert large("straße") is None
    assert large("") is None
