"""CLIP's tokeniser: byte-pair encoding with a list of merges that the user provides.

Radford et al. 2021, after Sennrich et al. 2016. The list is OpenAI's `bpe_simple_vocab_16e6.txt.gz` or transformers'
`merges.txt`: a header line, then one pair per line. Token numbers follow from its order: 256 bytes, the same bytes at
the end of a word, the merges, and the start and end marks of a sentence. As in OpenAI's code, HTML entities are
unescaped twice. OpenAI also repairs wrongly decoded text (ftfy); here quotation marks are only straightened and
characters composed (NFC).
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
"""Of a list, packed or unpacked; OpenAI's has 1.4 MB and 3.2 MB."""
_GZIP = b"\x1f\x8b"
_N_OTHERS = 2 * 256 + 2
"""Token numbers that are not merges."""
_WORD_END = "</w>"
_STRAIGHT = str.maketrans("‘’“”", "''\"\"")
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Word pieces, and the merges that build them."""

    numbers: Mapping[str, int]
    """Piece to token number; bytes are written as in the list."""
    ranks: Mapping[tuple[str, str], int]
    """Pair to its position in the list: earlier pairs are merged first."""

    @property
    def begin(self) -> int:
        """Token number of the start mark; the end mark is the next one."""
        return len(self.numbers)

    def encode(self, sentence: str, n_tokens: int) -> list[int]:
        """Return the token numbers of a sentence, start and end marks included.

        Args:
            sentence: Any text.
            n_tokens: The most tokens the network takes.

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
        """Split a word into pieces: its bytes, merged in the order of the list as far as possible."""
        pieces = [_LETTERS[byte] for byte in word.encode()]
        pieces[-1] += _WORD_END
        while len(pieces) > 1:
            best = min(pairwise(pieces), key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            pieces = _joined(pieces, best)
        return pieces


def read_vocabulary(source: SourceFile, n_words: int) -> Vocabulary:
    """Build the vocabulary from a list of merges.

    Args:
        source: The list, plain or packed by gzip.
        n_words: Size of the network's vocabulary; it determines how many merges are taken.

    Raises:
        DataError: The file is not such a list, repeats a merge, or is too short for this network.
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
    """The text of a list, unpacked if need be."""
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
    """Map each byte to the character that the list writes for it: its own if visible, otherwise one from 256 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {**{byte: chr(byte) for byte in seen}, **{byte: chr(256 + place) for place, byte in enumerate(hidden)}}


_LETTERS = _letters()
"""Byte to character, in the order of token numbers."""


def _words(text: str) -> Iterator[str]:
    """Split text into runs of letters, single digits, runs of other signs, and English contractions ("'s")."""
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
    """Kind of a character: L: letter · N: digit or other number · " ": white space · S: any other sign."""
    category = unicodedata.category(char)[0]
    return category if category in "LN" else " " if char.isspace() else "S"


def _joined(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """The pieces with every occurrence of the pair merged, from the left."""
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined
