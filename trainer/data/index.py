"""The index.json of a prepared corpus: its clips, their location in the shards, and what was left out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from engines.errors import ManifestError
from engines.schema import decode, encode, rule
from trainer.data.clips import NONE, place_name
from trainer.data.settings import Settings
from trainer.errors import DataError

SCHEMA = 1
INDEX = "index.json"
BLOCK = 512
"""Tar block size: a header is one block, and data are padded to whole blocks."""
_LONGEST_SECONDS = 10_000_000
"""About 116 days: no clip is longer."""
_PRINTABLE = ("key", "label", "city", "device")
"""Texts shown in lists and stored in bundles must be printable; `location` may be a file name, with arbitrary bytes."""
_ADVICE = "decode it again, into a new folder: trainer prepare CORPUS OUT --config CONFIG"


@dataclass(frozen=True, slots=True)
class PreparedClip:
    """One decoded clip, and where it is stored."""

    key: str
    """Its name in the shards, unique within a corpus."""
    label: str
    """Its scene."""
    city: str
    """City of the recording, or the source it comes from; may be ""."""
    location: str
    """The place in that city, or the recording it was cut from: clips that share it must stay in one split."""
    segment: str
    """Which part of that place's recordings this is."""
    device: str
    """Recording device; may be ""."""
    split: str
    """"train", "validation" or "evaluate", or a fold's name."""
    seconds: float
    """Length of the sound or, without sound, of the picture."""
    shard: int
    """Index of its shard."""
    offset: int
    """Byte offset, in the shard, of the first tar header after KEY.json."""
    n_samples: int
    """Samples per channel; 0 without sound."""
    n_clipped: int
    """Number of samples beyond ±1, which 16 bits cannot represent."""
    frame_times: tuple[float, ...]
    """Seconds since the start of the clip, ascending."""
    frame_sizes: tuple[int, ...]
    """Size of each JPEG in bytes."""

    @property
    def place(self) -> str:
        """City and location, which no two splits may share; see `place_name`."""
        return place_name(self.city, self.location)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A clip that could not be decoded."""

    key: str = rule("a key")
    """The key it would have had."""
    reason: str = rule("a sentence")
    """Why it could not be decoded."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar file."""

    file: str = rule("a file name")
    """File name within the folder."""
    size: int = rule("an integer number of bytes", minimum=1)
    """Size in bytes."""
    sha256: str = rule("64 hexadecimal digits")
    """SHA-256 of the file."""


@dataclass(frozen=True, slots=True)
class Index:
    """Everything that is known of a prepared corpus."""

    name: str
    """Name of the corpus, for model cards."""
    licence: str
    """Licence terms."""
    labels: tuple[str, ...]
    """Scenes in alphabetical order."""
    remarks: tuple[str, ...]
    """Remarks from the corpus's reader."""
    settings: Settings
    """How the clips were decoded."""
    shards: tuple[Shard, ...]
    """The tar files, in order."""
    clips: tuple[PreparedClip, ...]
    """Clips, in the order of the corpus."""
    left_out: tuple[LeftOut, ...]
    """Clips that could not be decoded."""


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:05d}.tar"


def padded(size: int) -> int:
    """Size of a tar member's data after padding, without its header."""
    return -(-size // BLOCK) * BLOCK


def index_to_json(index: Index) -> bytes:
    """Serialise an index to JSON."""
    head = {"schema": SCHEMA, "name": index.name, "licence": index.licence, "labels": index.labels}
    head |= {"remarks": index.remarks, "settings": encode(index.settings)}
    body = {"shards": encode(index.shards), "left_out": encode(index.left_out)}
    clips = ",\n".join(json.dumps(clip_to_json(clip)) for clip in index.clips)
    text = json.dumps(head | body, indent=1)[:-2]
    return f'{text},\n "clips": [\n{clips}\n]}}\n'.encode()


def clip_to_json(clip: PreparedClip) -> dict[str, Any]:
    """A clip in the form that `clip_from_json` reads."""
    return {field.name: getattr(clip, field.name) for field in fields(clip)}


def clip_from_json(data: Mapping[str, Any]) -> PreparedClip:
    """Parse a clip; ten times as fast as the strict decoder, since there are tens of thousands of clips.

    Raises:
        ValueError: A key is missing or unknown, or has an invalid value.
    """
    if data.keys() != _KINDS.keys():
        raise ValueError(f"expected the keys {', '.join(_KINDS)}, got {', '.join(map(str, data))}")
    for name, kind in _KINDS.items():
        if not isinstance(data[name], kind) or isinstance(data[name], bool):
            raise ValueError(f"{name}: expected another type, got {json.dumps(data[name])[:60]}")  # noqa: TRY004
        if name in _PRINTABLE and not data[name].isprintable():
            raise ValueError(f"{name}: expected printable text, got {ascii(data[name])[:60]}")
    times, sizes = data["frame_times"], data["frame_sizes"]
    numbers = [data[name] for name in ("seconds", "shard", "offset", "n_samples", "n_clipped")]
    if len(times) != len(sizes) or times != sorted(times):
        raise ValueError("frame_times: expected ascending times, one for each of frame_sizes")
    if not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError("frame_sizes: expected whole numbers above 0")
    if not all(isinstance(time, (int, float)) and math.isfinite(time) for time in times):
        raise ValueError("frame_times: expected numbers")
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError("expected numbers of 0 or more, got less")
    if data["seconds"] > _LONGEST_SECONDS:
        raise ValueError(f"seconds: expected at most {_LONGEST_SECONDS:,}, got {data['seconds']:g}")
    return PreparedClip(**{**data, "frame_times": tuple(times), "frame_sizes": tuple(sizes)})


def end_of(clip: PreparedClip, settings: Settings) -> int:
    """Byte offset at which a clip's last member ends in its shard."""
    end = clip.offset
    if settings.sound is not None:
        end += BLOCK + padded(2 * settings.sound.n_channels * clip.n_samples)
    return end + sum(BLOCK + padded(size) for size in clip.frame_sizes)


def read_index(folder: Path) -> Index:
    """Read and check the index of a prepared corpus; its shards are not opened.

    Raises:
        DataError: There is no index, or it is not one that `trainer prepare` wrote.
    """
    path = folder / INDEX
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{folder}: expected a prepared corpus, got no {INDEX} in it; type (again, if it was stopped): "
            "trainer prepare CORPUS OUT --config CONFIG"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: expected the index of a prepared corpus, got: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: expected the index of a prepared corpus, got broken JSON; {_ADVICE}") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        got = data.get("schema") if isinstance(data, dict) else "something else"
        raise DataError(f"{path}: expected an index of schema {SCHEMA}, got {got}; {_ADVICE}")
    try:
        index = _parse(data)
        _check(index)
    except (ManifestError, ValueError, KeyError, TypeError) as error:
        fault = f"no key {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path}: expected what trainer prepare wrote, got a fault: {fault}; {_ADVICE}") from None
    return index


def _parse(data: Mapping[str, Any]) -> Index:
    return Index(
        name=str(data["name"]),
        licence=str(data["licence"]),
        labels=_texts(data["labels"]),
        remarks=_texts(data["remarks"]),
        settings=decode(Settings, data["settings"], "settings"),
        shards=tuple(decode(Shard, entry, f"shards[{number}]") for number, entry in enumerate(data["shards"])),
        clips=tuple(clip_from_json(entry) for entry in data["clips"]),
        left_out=tuple(decode(LeftOut, entry, f"left_out[{number}]") for number, entry in enumerate(data["left_out"])),
    )


def _texts(data: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(entry) for entry in data)


def _check(index: Index) -> None:
    """Check that shards have their expected names, and that clips lie within their shards and have known labels.

    Raises:
        ValueError: One of these does not hold.
    """
    for number, shard in enumerate(index.shards):
        if shard.file != shard_name(number):
            raise ValueError(f"shards[{number}].file: expected {shard_name(number)}, got {shard.file!r}")
    for clip in index.clips:
        if clip.shard >= len(index.shards) or end_of(clip, index.settings) > index.shards[clip.shard].size:
            raise ValueError(f"clip {clip.key}: expected to end inside of its shard, got a place beyond")
        if clip.label not in (*index.labels, NONE):
            raise ValueError(f"clip {clip.key}: expected one of the labels, got {clip.label!r}")


_BY_TYPE: dict[str, type | tuple[type, ...]] = {"float": (int, float), "int": int, "str": str}
_KINDS = {field.name: _BY_TYPE.get(str(field.type), list) for field in fields(PreparedClip)}
