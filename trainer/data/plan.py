"""Assign clips to shards before anything is decoded, so that an interrupted run can be resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ascstream import SourceError, open_media
from engines.errors import ManifestError
from engines.schema import decode, encode, rule
from trainer.data.clips import Clip, Corpus
from trainer.data.index import SCHEMA
from trainer.data.settings import Settings
from trainer.data.shards import PARTS, ShardTask, keys_of, printable
from trainer.errors import ConfigError
from trainer.files import write_whole

SHARD_BYTES = 256 << 20
"""Target size of a shard in a large corpus."""
_SMALLEST_SHARD = 8 << 20
_FEWEST_SHARDS = 64
"""Minimum number of shards, if the corpus is large enough: many processes can then share the work to the end."""
_SAMPLED = 8
"""Number of files per type that are opened to estimate their duration per byte."""
_UNKNOWN_SECONDS_A_BYTE = 1e-5
"""Used if none of them can be opened."""
_PICTURE_BYTES_A_PIXEL = 0.4
"""JPEG bytes per pixel; an overestimate."""
_PLAN = "plan.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """The planned content of a folder."""

    settings: Settings = rule("an object")
    """How clips are decoded."""
    corpus: str = rule("a name")
    """Name of the corpus."""
    n_clips: int = rule("an integer", minimum=0)
    """Number of clips in it."""
    clips_sha256: str = rule("64 hexadecimal digits")
    """Hash of everything known about the clips in advance."""
    shard_sizes: tuple[int, ...] = rule("a list of integers", minimum=1)
    """Number of clips in each shard."""
    schema: int = rule("an integer", default=SCHEMA)
    """Schema version of the files."""


def make_tasks(corpus: Corpus, folder: Path, settings: Settings) -> list[ShardTask]:
    """The shards to write into `folder`, from an existing plan there or from a new one, which is saved.

    Raises:
        ConfigError: The folder has other content, or was begun with other clips or settings; the message says what
            differs.
    """
    path = folder / PARTS / _PLAN
    name, digest = printable(corpus.name), _digest(corpus)
    if path.is_file():
        plan = _read(path)
        _check_same(folder, plan, Plan(settings, name, len(corpus.clips), digest, plan.shard_sizes))
    else:
        if folder.exists() and (not folder.is_dir() or any(entry.name != PARTS for entry in folder.iterdir())):
            raise ConfigError(
                f"{folder}: expected a new folder, or one that trainer prepare began, got something else; "
                "choose another"
            )
        sizes = _divide(estimate_bytes(corpus.clips, settings))
        plan = Plan(settings, name, len(corpus.clips), digest, sizes)
        text = json.dumps(encode(plan), indent=1)
        write_whole(path, lambda file: file.write(text.encode()))
    named = list(zip(keys_of(corpus.clips), corpus.clips, strict=True))
    tasks, first = [], 0
    for number, size in enumerate(plan.shard_sizes):
        tasks.append(ShardTask(folder, number, tuple(named[first : first + size]), settings))
        first += size
    return tasks


def estimate_bytes(clips: Sequence[Clip], settings: Settings) -> list[int]:
    """Approximate size of each clip in its shard, from its file's size and the duration of a few files of that type."""
    sizes = [_size(clip.audio) for clip in clips]
    seconds_a_byte = {
        suffix: _seconds_a_byte([clip.audio for clip in clips if clip.audio.suffix == suffix])
        for suffix in {clip.audio.suffix for clip in clips}
    }
    rate = 0.0
    if settings.sound is not None:
        rate += 2 * settings.sound.n_channels * settings.sound.sample_rate
    if settings.picture is not None:
        pixels = settings.picture.width * settings.picture.height
        rate += settings.picture.frame_rate * (_PICTURE_BYTES_A_PIXEL * pixels + 1024)
    return [round(size * seconds_a_byte[clip.audio.suffix] * rate) for clip, size in zip(clips, sizes, strict=True)]


def _divide(sizes: Sequence[int]) -> tuple[int, ...]:
    """Number of clips in each shard: consecutive clips are grouped until a shard's target size is reached."""
    target = min(max(sum(sizes) // _FEWEST_SHARDS, _SMALLEST_SHARD), SHARD_BYTES)
    shards: list[int] = []
    filled = target
    for size in sizes:
        if filled >= target or filled + size > 1.5 * target:
            shards.append(0)
            filled = 0
        shards[-1] += 1
        filled += size
    return tuple(shards)


def _seconds_a_byte(paths: Sequence[Path]) -> float:
    """Seconds per byte of files of one type, from a sample spread over the list."""
    seconds = n_bytes = 0.0
    for path in paths[:: -(-len(paths) // _SAMPLED)]:
        try:
            with open_media(path) as source:
                length = source.info.duration_seconds
        except SourceError:
            continue
        if length:
            seconds += length
            n_bytes += _size(path)
    return seconds / n_bytes if n_bytes else _UNKNOWN_SECONDS_A_BYTE


def _size(path: Path) -> int:
    """Size of a file in bytes; 0 if it cannot be read."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _digest(corpus: Corpus) -> str:
    """Hash of the clips' names, labels and splits; independent of where the corpus is stored."""
    digest = hashlib.sha256(repr(corpus.labels).encode())
    for clip in corpus.clips:
        files = [
            path.relative_to(corpus.root).as_posix() if path.is_relative_to(corpus.root) else path.name
            for path in (clip.audio, clip.video)
            if path is not None
        ]
        facts = (clip.scene_label, clip.city, clip.location, clip.segment, clip.split, clip.device, *files)
        digest.update(repr(facts).encode())
    return digest.hexdigest()


def _read(path: Path) -> Plan:
    try:
        plan = decode(Plan, json.loads(path.read_bytes()))
    except (ManifestError, OSError, ValueError) as error:
        raise ConfigError(f"{path}: expected what trainer prepare wrote, got: {error}; choose another folder") from None
    if sum(plan.shard_sizes) != plan.n_clips:
        raise ConfigError(f"{path}: expected shards of {plan.n_clips} clips, got other sizes; choose another folder")
    return plan


def _check_same(folder: Path, begun: Plan, wanted: Plan) -> None:
    """Check that the folder was begun with the same clips and settings.

    Raises:
        ConfigError: It was not.
    """
    differing = begun.settings.differences(wanted.settings)
    if begun.schema != wanted.schema:
        differing.append(f"schema: {begun.schema} and {wanted.schema}")
    if begun.clips_sha256 != wanted.clips_sha256:
        differing.append(
            f"clips: {begun.n_clips:,} of {begun.corpus} and {wanted.n_clips:,} of {wanted.corpus}"
            + (", with other names, labels or splits" if begun.n_clips == wanted.n_clips else "")
        )
    if differing:
        raise ConfigError(
            f"{folder}: expected what it was begun with, got a difference: {'; '.join(differing)}; "
            "name another folder, or delete this one"
        )
