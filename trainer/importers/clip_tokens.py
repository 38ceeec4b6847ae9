"""Sentences to the numbers of CLIP's word pieces: byte pairs, by a list of merges that the user gives.

Radford et al. 2021, after Sennrich et al. 2016. The list is OpenAI's `bpe_simple_vocab_16e6.txt.gz` or transformers'
`merges.txt`, a pair a line under a headline; numbers follow from its order: 256 bytes, the same at a word's end, the
merges, and the marks of a sentence's beginning and end. As there, HTML's entities are read twice. OpenAI also repairs
text that was decoded wrongly (ftfy); here only quotation marks are made straight and characters composed (NFC).
"""

from __future__ import annotations

import html
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from trainer.errors import ConfigError, DataError
from trainer.importers.files import SourceFile

MAX_BYTES = 16 << 20
"""OpenAI's list has 1.4 MB, and 3.2 MB unpacked."""
_GZIP = b"\x1f\x8b"
_N_OTHERS = 2 * 256 + 2
"""Numbers that are no merges."""
_WORD_END = "</w>"
_STRAIGHT = str.maketrans("‘’“”", "''\"\"")
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Word pieces and how they are made."""

    numbers: Mapping[str, int]
    """Piece to number; bytes are written as the list writes them."""
    ranks: Mapping[tuple[str, str], int]
    """Pair to its place in the list: earlier ones are joined first."""

    @property
    def begin(self) -> int:
        """What a sentence begins with; one more is what it ends with."""
        return len(self.numbers)

    def encode(self, sentence: str, n_tokens: int) -> list[int]:
        """The numbers of a sentence, its beginning and end included.

        Args:
            sentence: Any text.
            n_tokens: How many the network takes.

        Raises:
            ConfigError: The sentence has more.
        """
        composed = unicodedata.normalize("NFC", sentence.translate(_STRAIGHT))
        text = " ".join(html.unescape(html.unescape(composed)).split()).lower()
        pieces = [piece for word in _words(text) for piece in self._pieces(word)]
        if len(pieces) + 2 > n_tokens:
            raise ConfigError(
                f"prompts: expected sentences of at most {n_tokens - 2} word pieces, got {len(pieces)} in "
                f"{sentence[:40]!r}…; shorten it"
            )
        return [self.begin, *(self.numbers[piece] for piece in pieces), self.begin + 1]

    def _pieces(self, word: str) -> list[str]:
        """A word in as few pieces as the merges make of its bytes."""
        pieces = [_LETTERS[byte] for byte in word.encode()]
        pieces[-1] += _WORD_END
        while len(pieces) > 1:
            best = min(pairwise(pieces), key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            pieces = _joined(pieces, best)
        return pieces


def read_vocabulary(source: SourceFile, n_words: int) -> Vocabulary:
    """The vocabulary of a list of merges.

    Args:
        source: The list, packed by gzip or plain.
        n_words: How many word pieces the network knows: as many merges are taken as that needs.

    Raises:
        DataError: It is no such list, or too short for this network.
    """
    lines = _text(source).split("\n")
    if "#version" not in lines[0]:
        raise DataError(
            f"{source.path}: expected a list of merges under a headline with #version, got another file; name "
            "bpe_simple_vocab_16e6.txt.gz or merges.txt with --vocabulary"
        )
    merges: list[tuple[str, str]] = []
    for line in lines[1 : n_words - _N_OTHERS + 1]:
        pair = line.split()
        if len(pair) != 2:
            break
        merges.append((pair[0], pair[1]))
    letters = list(_LETTERS.values())
    pieces = [*letters, *(letter + _WORD_END for letter in letters), *(first + second for first, second in merges)]
    numbers = dict(zip(pieces, range(len(pieces)), strict=True))
    if len(pieces) + 2 != n_words or len(numbers) != len(pieces):
        raise DataError(
            f"{source.path}: expected {n_words - _N_OTHERS:,} distinct merges, which give the {n_words:,} word pieces "
            f"of this network, got {len(numbers) - 2 * 256:,}; is this the list that it was trained with?"
        )
    return Vocabulary(numbers, dict(zip(merges, range(len(merges)), strict=True)))


def _text(source: SourceFile) -> str:
    """The text of a list."""
    data = source.data
    try:
        if data.startswith(_GZIP):
            unpacker = zlib.decompressobj(wbits=31)
            data = unpacker.decompress(data, MAX_BYTES)
            if not unpacker.eof:
                raise ValueError("it is shortened, or unpacks to more than a list of merges has")  # noqa: TRY301
        return data.decode()
    except (zlib.error, ValueError) as error:
        raise DataError(
            f"{source.path}: expected a list of merges, plain or packed by gzip, got: {error}; get a fresh copy"
        ) from None


def _letters() -> dict[int, str]:
    """Byte to the character that the list writes for it: its own where that can be seen, else one from 256 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {**{byte: chr(byte) for byte in seen}, **{byte: chr(256 + place) for place, byte in enumerate(hidden)}}


_LETTERS = _letters()
"""In the order of the numbers."""


def _words(text: str) -> Iterator[str]:
    """Runs of letters, single digits, runs of other signs; an English contraction stands apart where a word begins."""
    position = 0
    while position < len(text):
        kind = _kind(text[position])
        contraction = next((short for short in _CONTRACTIONS if text.startswith(short, position)), None)
        end = position + (len(contraction) if contraction else 1)
        if contraction is None and kind in "LS":
            while end < len(text) and _kind(text[end]) == kind:
                end += 1
        if kind != " ":
            yield text[position:end]
        position = end


def _kind(char: str) -> str:
    """L: a letter · N: a digit or another number · " ": a gap · S: any other sign."""
    category = unicodedata.category(char)[0]
    return category if category in "LN" else " " if char.isspace() else "S"


def _joined(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """The pieces with that pair made one wherever it stands, from the left."""
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined
