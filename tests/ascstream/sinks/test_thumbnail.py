"""Tiny pictures: colours of the halves of cells, shades, sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascstream.sinks.thumbnail import n_columns, note, thumbnail, too_dark


def colours_at(row, column):
    """Upper and lower colour of a cell."""
    style = next(span.style for span in row.spans if span.start <= column < span.end)
    return tuple(style.color.triplet), tuple(style.bgcolor.triplet)


def test_a_cell_has_the_colours_of_its_two_halves():
    image = np.zeros((4, 4, 3), np.uint8)
    image[0, :2] = (240, 0, 0)
    image[1, :2] = (0, 240, 0)
    image[2:, 2:] = (0, 0, 240)
    rows = thumbnail(image, 2, 2, colours=True)
    assert [row.plain for row in rows] == ["▀▀", "▀▀"]
    assert colours_at(thumbnail(image, 4, 2, colours=True)[0], 0) == ((240, 0, 0), (0, 240, 0))
    assert colours_at(rows[0], 1) == ((0, 0, 0), (0, 0, 0))
    assert colours_at(rows[1], 1) == ((0, 0, 240), (0, 0, 240))


def test_a_part_has_its_mean_colour():
    image = np.zeros((8, 8, 3), np.uint8)
    image[::2] = 240
    (row,) = thumbnail(image, 1, 1, colours=True)
    assert colours_at(row, 0) == ((120, 120, 120), (120, 120, 120))


def test_without_colours_there_are_shades():
    image = np.repeat(np.linspace(0, 255, 10).astype(np.uint8), 3).reshape(1, 10, 3)
    assert [row.plain for row in thumbnail(image, 10, 1, colours=False)] == [" .:-=+*#%@"]


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    columns=st.integers(1, 40),
    rows=st.integers(1, 16),
    colours=st.booleans(),
)
def test_every_image_has_the_size_that_was_asked_for(height, width, columns, rows, colours):
    image = np.full((height, width, 3), 200, np.uint8)
    drawn = thumbnail(image, columns, rows, colours=colours)
    assert [row.cell_len for row in drawn] == [columns] * rows
    if colours:
        assert {colours_at(row, columns - 1) for row in drawn} == {((204, 204, 204), (204, 204, 204))}
    assert 1 <= n_columns(image.shape, rows, 40) <= 40


@pytest.mark.parametrize(
    ("shape", "columns"), [((224, 224, 3), 18), ((90, 160, 3), 32), ((160, 90, 3), 10), ((1, 500, 3), 40)]
)
def test_a_picture_keeps_its_shape(shape, columns):
    assert n_columns(shape, 9, 40) == columns


def test_a_covered_lens_is_told_from_a_night_with_lamps():
    dark = np.full((480, 640, 3), 4, np.uint8)
    assert too_dark(dark)
    dark[100:140, 200:260] = 250
    assert not too_dark(dark)


@given(text=st.text(max_size=60), width=st.integers(2, 40), rows=st.integers(2, 16))
def test_a_note_is_as_large_as_a_picture(text, width, rows):
    drawn = note(text.replace("\x00", ""), width, rows)
    assert len(drawn) == rows
    assert all(row.cell_len <= width for row in drawn)
