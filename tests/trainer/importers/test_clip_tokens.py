"""Byte pairs by a small list of merges: pieces and numbers worked out by hand."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from support.published_clip import MERGES, N_WORDS, write_merges

from trainer.errors import ConfigError, DataError
from trainer.importers.clip_tokens import Vocabulary, read_vocabulary
from trainer.importers.files import read_file

BEGIN, END = N_WORDS - 2, N_WORDS - 1


def number(piece: str) -> int:
    """A merged piece's number: 512, and its place in the list."""
    return 512 + [merge.replace(" ", "") for merge in MERGES].index(piece)


def letter(char: str, *, last: bool = False) -> int:
    """A printable ASCII character's: bytes from 33 on come first; 256 more at a word's end."""
    return ord(char) - 33 + 256 * last


@pytest.fixture(name="vocabulary")
def read(tmp_path: Path) -> Vocabulary:
    return read_vocabulary(read_file(write_merges(tmp_path / "merges.txt"), 1 << 20), N_WORDS)


def test_the_earliest_pair_of_a_word_is_joined_first(vocabulary: Vocabulary) -> None:
    assert vocabulary.encode("the photo", 77) == [BEGIN, number("the</w>"), number("photo</w>"), END]
    # l o w e r: "e r" is no pair at the word's end, where the list has none; "lo", "low", "lowe r</w>" stay apart
    pieces = [number("low"), letter("e"), letter("r", last=True)]
    assert vocabulary.encode("lower", 77) == [BEGIN, *pieces, END]
    assert vocabulary.encode("lowers", 77) == [BEGIN, number("low"), number("er"), letter("s", last=True), END]
    assert vocabulary.encode("", 77) == [BEGIN, END]


def test_words_digits_signs_and_contractions_are_taken_apart(vocabulary: Vocabulary) -> None:
    a, one, two = letter("a", last=True), letter("1", last=True), letter("2", last=True)
    assert vocabulary.encode("  A\n12 ", 77) == [BEGIN, a, one, two, END]
    assert vocabulary.encode("a's", 77) == [BEGIN, a, number("'s</w>"), END]
    assert vocabulary.encode("a’s", 77) == vocabulary.encode("a's", 77)  # made straight
    assert vocabulary.encode("a&amp;#39;s", 77) == vocabulary.encode("a's", 77)  # read twice, as OpenAI does
    signs = [letter("!"), letter("?", last=True)]
    assert vocabulary.encode("a!?a", 77) == [BEGIN, a, *signs, a, END]
    assert vocabulary.encode("!'s", 77) == [BEGIN, letter("!"), letter("'", last=True), letter("s", last=True), END]


def test_other_alphabets_are_bytes(vocabulary: Vocabulary) -> None:
    # é is C3 A9: 33…126 are 94 bytes, 161…172 twelve, 174…255 the next
    first, second = 94 + 12 + 0xC3 - 174, 94 + 0xA9 - 161
    assert vocabulary.encode("é", 77) == [BEGIN, first, 256 + second, END]
    assert vocabulary.encode("e\u0301", 77) == vocabulary.encode("é", 77)  # composed
    # the euro sign is E2 82 AC: 0x82 is not seen, and numbered after all that are: 0…32 and 127…
    third = 188 + 33 + 0x82 - 127
    assert vocabulary.encode("€", 77) == [BEGIN, 94 + 12 + 0xE2 - 174, third, 256 + 94 + 0xAC - 161, END]


def test_openais_packed_list_is_the_same(vocabulary: Vocabulary, tmp_path: Path) -> None:
    lines = ['"bpe_simple_vocab_16e6.txt#version: 0.2', *MERGES, "more than", "is needed"]
    path = tmp_path / "bpe_simple_vocab_16e6.txt.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert read_vocabulary(read_file(path, 1 << 20), N_WORDS) == vocabulary


def test_a_long_sentence_is_not_cut(vocabulary: Vocabulary) -> None:
    assert len(vocabulary.encode("the " * 75, 77)) == 77
    with pytest.raises(ConfigError, match="expected sentences of at most 75 word pieces, got 76 in 'the the"):
        vocabulary.encode("the " * 76, 77)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"t h\nth e</w>\n", "expected a list of merges under a headline with #version, got another file"),
        (b"#version: 0.2\nt h\nth e</w>\n", "expected 70 distinct merges, which give the 584 word pieces of this"),
        (b"#version: 0.2\n" + b"t h\n" * 70, "expected 70 distinct merges"),
        (b"\x80\x81", "expected a list of merges, plain or packed by gzip, got: 'utf-8' codec"),
        (gzip.compress(b"#version: 0.2\n" * 9)[:-9], "got: it is shortened, or unpacks to more than a list"),
        (gzip.compress(bytes(17 << 20)), "got: it is shortened, or unpacks to more than a list of merges has"),
    ],
)
def test_what_is_no_list_of_merges_is_refused(data: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "merges.txt"
    path.write_bytes(data)
    with pytest.raises(DataError) as raised:
        read_vocabulary(read_file(path, 1 << 20), N_WORDS)
    assert str(raised.value).startswith(f"{path}: ")
    assert expected in str(raised.value)
