"""Large letters made of half blocks, three rows high: the scene's name, readable across a room."""

from __future__ import annotations

N_ROWS = 3
"""Rows of text a large line takes: six rows of pixels, the last one empty."""

_PIXELS = {
    "a": ".#./#.#/###/#.#/#.#",
    "b": "##./#.#/##./#.#/##.",
    "c": ".##/#../#../#../.##",
    "d": "##./#.#/#.#/#.#/##.",
    "e": "###/#../##./#../###",
    "f": "###/#../##./#../#..",
    "g": ".##/#../#.#/#.#/.##",
    "h": "#.#/#.#/###/#.#/#.#",
    "i": "#/#/#/#/#",
    "j": "..#/..#/..#/#.#/.#.",
    "k": "#.#/#.#/##./#.#/#.#",
    "l": "#../#../#../#../###",
    "m": "#...#/##.##/#.#.#/#...#/#...#",
    "n": "#..#/##.#/#.##/#..#/#..#",
    "o": "###/#.#/#.#/#.#/###",
    "p": "##./#.#/##./#../#..",
    "q": "###/#.#/#.#/###/..#",
    "r": "##./#.#/##./#.#/#.#",
    "s": ".##/#../.#./..#/##.",
    "t": "###/.#./.#./.#./.#.",
    "u": "#.#/#.#/#.#/#.#/###",
    "v": "#.#/#.#/#.#/#.#/.#.",
    "w": "#...#/#...#/#.#.#/##.##/#...#",
    "x": "#.#/#.#/.#./#.#/#.#",
    "y": "#.#/#.#/.#./.#./.#.",
    "z": "###/..#/.#./#../###",
    "0": "###/#.#/#.#/#.#/###",
    "1": ".#/##/.#/.#/.#",
    "2": "##./..#/.#./#../###",
    "3": "##./..#/.#./..#/##.",
    "4": "#.#/#.#/###/..#/..#",
    "5": "###/#../##./..#/##.",
    "6": ".##/#../###/#.#/###",
    "7": "###/..#/.#./.#./.#.",
    "8": "###/#.#/###/#.#/###",
    "9": "###/#.#/###/..#/##.",
    "-": ".../.../###/.../...",
    " ": "../../../../..",
}
_BLOCKS = {"..": " ", "#.": "▀", ".#": "▄", "##": "█"}
"""Upper and lower pixel → character."""


def large_width(text: str) -> int | None:
    """Width of the text in large letters, in columns; None if a character has no large form."""
    glyphs = [_PIXELS.get(character) for character in text.lower().replace("_", " ")]
    if not glyphs or None in glyphs:
        return None
    return sum(len(glyph.partition("/")[0]) + 1 for glyph in glyphs if glyph) - 1


def large(text: str) -> list[str] | None:
    """The text in large letters, with `_` as a space.

    Returns:
        N_ROWS lines of equal length, or None if a character has no large form.
    """
    glyphs = [_PIXELS.get(character) for character in text.lower().replace("_", " ")]
    if not glyphs or any(glyph is None for glyph in glyphs):
        return None
    rows = [".".join(row) for row in zip(*(glyph.split("/") for glyph in glyphs if glyph), strict=True)]
    rows.append("." * len(rows[0]))
    pairs = zip(rows[0::2], rows[1::2], strict=True)
    return ["".join(_BLOCKS[top + bottom] for top, bottom in zip(upper, lower, strict=True)) for upper, lower in pairs]
