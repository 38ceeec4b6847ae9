"""A tiny picture made of characters: two pixels per cell in colour, otherwise shades of grey."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.color import Color
from rich.style import Style
from rich.text import Text

from ascstream.features.usable import is_dark
from ascstream.records import Image
from ascstream.sinks.drawing import shorten

_SHADES = " .:-=+*#%@"
"""From black to white."""
_LEAST_SAMPLES = 96
"""Fewest rows and columns sampled from a larger image; fewer than twice as many are."""
_DARK_LUMA = 10.0
"""Mean luma (0…255) of a covered lens: the default of a bundle's thresholds."""
_COLOUR_STEP = 12
"""Colours are rounded to multiples of this: fewer styles to create, and no visible difference."""


def too_dark(image: Image) -> bool:
    """Whether the image shows a covered lens, or night."""
    return is_dark(_thin(image), _DARK_LUMA)


def n_columns(shape: tuple[int, ...], n_rows: int, most: int) -> int:
    """Columns of an image [height, width, 3] in `n_rows` rows, a cell being twice as high as wide; at most `most`."""
    height, width = shape[:2]
    return max(1, min(round(2 * n_rows * width / max(height, 1)), most))


def thumbnail(image: Image, width: int, n_rows: int, *, colours: bool) -> list[Text]:
    """Draw an image in `n_rows` rows of `width` columns.

    Args:
        image: [height, width, 3] RGB.
        width: Columns.
        n_rows: Rows.
        colours: Whether to draw two coloured halves per cell; otherwise one shade.
    """
    if not colours:
        luma = _shrink(image, n_rows, width) @ np.array([0.299, 0.587, 0.114])
        levels = np.minimum((luma / 256 * len(_SHADES)).astype(int), len(_SHADES) - 1)
        return [Text("".join(_SHADES[level] for level in row)) for row in levels]
    small = _shrink(image, 2 * n_rows, width)
    rounded = np.minimum(np.round(small / _COLOUR_STEP) * _COLOUR_STEP, 255).astype(int).tolist()
    return [_halves(upper, lower, width) for upper, lower in zip(rounded[0::2], rounded[1::2], strict=True)]


def note(text: str, width: int, n_rows: int) -> list[Text]:
    """A box that says why there is no picture, as large as one would be."""
    inner = max(width - 2, 0)
    words = [shorten(line, inner) for line in _wrap(text, inner)][: max(n_rows - 2, 0)] if inner else []
    above = (n_rows - 2 - len(words)) // 2
    rows = [Text("╭" + "─" * inner + "╮", "bright_black")]
    for index in range(n_rows - 2):
        line = words[index - above] if 0 <= index - above < len(words) else ""
        left = (inner - cell_len(line)) // 2
        right = inner - left - cell_len(line)
        rows.append(Text("│", "bright_black").append(" " * left + line + " " * right, "yellow").append("│"))
    return [*rows, Text("╰" + "─" * inner + "╯", "bright_black")]


def _halves(upper: list[list[int]], lower: list[list[int]], width: int) -> Text:
    """A row of upper half blocks: the foreground is the upper pixel, the background the lower one."""
    row = Text("▀" * width)
    begin = 0
    for column in range(1, width + 1):  # adjacent cells that look alike share a style
        if column == width or upper[column] != upper[begin] or lower[column] != lower[begin]:
            row.stylize(_style(tuple(upper[begin]), tuple(lower[begin])), begin, column)
            begin = column
    return row


@lru_cache(4096)
def _style(upper: tuple[int, ...], lower: tuple[int, ...]) -> Style:
    return Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower))


def _thin(image: Image) -> Image:
    """Every n-th row and column, so that a large image costs no more than a small one."""
    height, width = image.shape[:2]
    return image[:: max(1, height // _LEAST_SAMPLES), :: max(1, width // _LEAST_SAMPLES)]


def _shrink(image: Image, n_rows: int, n_columns: int) -> NDArray[np.float64]:
    """[n_rows, n_columns, 3]: the mean of each part, 0…255; if there are too few pixels, they are repeated."""
    thin = _thin(image)
    rows = _edges(thin.shape[0], n_rows)
    columns = _edges(thin.shape[1], n_columns)
    sums = np.add.reduceat(np.add.reduceat(thin, rows[:-1], axis=0, dtype=np.int64), columns[:-1], axis=1)
    heights = np.maximum(np.diff(rows), 1)
    widths = np.maximum(np.diff(columns), 1)
    means: NDArray[np.float64] = sums / (heights[:, None, None] * widths[None, :, None])
    return means


def _edges(size: int, n_parts: int) -> NDArray[np.intp]:
    """Where each of `n_parts` parts of `size` pixels begins, and the end."""
    edges: NDArray[np.intp] = np.arange(n_parts + 1) * size // n_parts
    edges[:-1] = np.minimum(edges[:-1], size - 1)
    return edges


def _wrap(text: str, width: int) -> list[str]:
    """Distribute the words over as many lines as they need."""
    lines: list[str] = []
    for word in text.split():
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
