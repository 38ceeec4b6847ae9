"""A corpus decoded by `trainer prepare`: its clips, and any stretch of them, read without decoding the sound."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.data.clips import Clip, Corpus
from trainer.data.index import BLOCK, Index, LeftOut, PreparedClip, padded, read_index
from trainer.data.pictures import decode_picture, newest_frames
from trainer.data.settings import Settings, check_settings
from trainer.data.store import Frames, Samples
from trainer.errors import DataError
from trainer.files import digest_of
from trainer.inputs import Inputs

__all__ = ["LeftOut", "Prepared", "PreparedClip", "ShardStore", "open_prepared", "verify_prepared"]

_SCALE = np.float32(1 / 32768)
_ADVICE = "type the same trainer prepare command again: it decodes that shard anew"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared corpus whose index has been checked."""

    folder: Path
    """Its folder."""
    index: Index
    """Everything known of it."""

    @property
    def name(self) -> str:
        """Name of the corpus, for model cards."""
        return self.index.name

    @property
    def licence(self) -> str:
        """Licence terms."""
        return self.index.licence

    @property
    def labels(self) -> tuple[str, ...]:
        """Scenes in alphabetical order."""
        return self.index.labels

    @property
    def clips(self) -> tuple[PreparedClip, ...]:
        """Clips, in the order of the corpus; a store indexes them in this order."""
        return self.index.clips

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Clips that could not be decoded."""
        return self.index.left_out

    def corpus(self) -> Corpus:
        """The same clips, in the same order, as a corpus that can be divided; its paths are keys, not real files.

        Raises:
            DataError: Splits share a location.
        """
        clips = [Clip(Path(c.key), None, c.label, c.city, c.location, c.segment, c.split, c.device) for c in self.clips]
        return Corpus(self.name, self.folder, self.labels, tuple(clips), self.licence, self.index.remarks)

    def store(self, inputs: Inputs) -> ShardStore:
        """A store that reads clips for these inputs.

        Raises:
            DataError: The corpus was not prepared for these inputs; the message says what differs.
        """
        check_settings(str(self.folder), self.index.settings, inputs)
        return ShardStore(self.folder, self.index, inputs.n_source_channels)


class ShardStore:
    """A `ClipStore` over shards. It keeps no file open, so any thread or process may read from it.

    Samples are read in place: a shard is a plain tar, and 16-bit samples need no decoding. They are read instead of
    memory-mapped because a truncated file or a failing disk would otherwise kill the process.
    """

    def __init__(self, folder: Path, index: Index, n_channels: int) -> None:
        """Read the clips of `index`; `n_channels` 1 mixes their sound down to mono, 0 ignores it."""
        self._paths = [str(folder / shard.file) for shard in index.shards]
        self._clips = index.clips
        self._settings: Settings = index.settings
        sound = index.settings.sound
        self._kept_channels = 0 if sound is None else sound.n_channels
        self._n_channels = n_channels
        self._sample_rate = sound.sample_rate if sound is not None and n_channels else 0
        self._frame_times = [np.array(clip.frame_times, np.float64) for clip in index.clips]
        self._frame_offsets = [self._place_frames(clip) for clip in index.clips]

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz; 0 without sound."""
        return self._sample_rate

    def __len__(self) -> int:
        return len(self._clips)

    def seconds(self, clip: int) -> float:
        """Length of a clip in seconds."""
        return self._clips[clip].seconds

    def samples(self, clip: int, start: int, n_samples: int) -> Samples:
        """Samples from position `start` on: [n_channels, n_samples], zeros outside the clip.

        Raises:
            DataError: The shard cannot be read.
        """
        entry = self._clips[clip]
        begin, end = max(start, 0), min(start + n_samples, entry.n_samples)
        if not self._n_channels:
            raise DataError(f"clip {entry.key}: expected to be asked for pictures alone, got asked for sound")
        if begin >= end:
            return np.zeros((self._n_channels, n_samples), np.float32)
        width = 2 * self._kept_channels
        data = self._read(entry, entry.offset + BLOCK + width * begin, width * (end - begin))
        stored = np.frombuffer(data, "<i2").reshape(-1, self._kept_channels).T
        whole = begin == start and end == start + n_samples
        out = (
            np.empty((self._n_channels, n_samples), np.float32)
            if whole
            else np.zeros((self._n_channels, n_samples), np.float32)
        )
        target = out[:, begin - start : end - start]
        if self._n_channels == self._kept_channels:
            np.multiply(stored, _SCALE, out=target)
        else:
            np.multiply(stored.sum(axis=0, dtype=np.int32), _SCALE / self._kept_channels, out=target[0])
        return out

    def frames(self, clip: int, times: Sequence[float], max_age_seconds: float) -> tuple[Frames, NDArray[np.bool_]]:
        """For each time, the newest frame with a timestamp at or before it and at most `max_age_seconds` older.

        Returns:
            Frames, black where there is none, and whether each exists: [n_frames].

        Raises:
            DataError: The shard cannot be read, or a picture in it is damaged.
        """
        picture = self._settings.picture
        if picture is None:
            raise DataError("expected a corpus that was prepared with pictures, got one without")
        newest = newest_frames(self._frame_times[clip], times, max_age_seconds)
        out = np.zeros((len(times), picture.height, picture.width, 3), np.uint8)
        last = -1
        for slot, number in enumerate(newest):
            if number >= 0:
                out[slot] = out[slot - 1] if number == last else self._frame(clip, int(number))
            last = int(number)
        return out, newest >= 0

    def _frame(self, clip: int, number: int) -> Frames:
        """Decode one picture: [height, width, 3]."""
        entry = self._clips[clip]
        data = self._read(entry, int(self._frame_offsets[clip][number]), entry.frame_sizes[number])
        try:
            image = decode_picture(data)
        except (OSError, SyntaxError, ValueError):
            image = None
        picture = self._settings.picture
        if image is None or picture is None or image.shape != (picture.height, picture.width, 3):
            raise DataError(
                f"{self._paths[entry.shard]}: expected frame {number} of clip {entry.key} as a picture, got something "
                f"else; delete the shard and {_ADVICE}"
            )
        return image

    def _place_frames(self, clip: PreparedClip) -> NDArray[np.int64]:
        """Byte offset of each frame's data in the shard: [n_frames]."""
        first = clip.offset
        if self._kept_channels:
            first += BLOCK + padded(2 * self._kept_channels * clip.n_samples)
        taken = [0, *(BLOCK + padded(size) for size in clip.frame_sizes[:-1])] if clip.frame_sizes else []
        return first + BLOCK + np.cumsum(taken, dtype=np.int64)

    def _read(self, clip: PreparedClip, offset: int, size: int) -> bytes:
        """Read `size` bytes at `offset` from a clip's shard."""
        path = self._paths[clip.shard]
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.pread(file, size, offset)
            finally:
                os.close(file)
        except OSError as error:
            raise DataError(f"{path}: expected a readable shard, got: {error.strerror}; {_ADVICE}") from None
        if len(data) != size:
            raise DataError(
                f"{path}: expected {size:,} bytes of clip {clip.key} at {offset:,}, got {len(data):,}; {_ADVICE}"
            )
        return data


def open_prepared(folder: Path) -> Prepared:
    """Open what `trainer prepare` made; checks the index and the shards' sizes, `verify_prepared` their hashes.

    Raises:
        DataError: It is missing, incomplete or damaged; the message names the shard.
    """
    index = read_index(folder)
    for shard in index.shards:
        path = folder / shard.file
        try:
            size = path.stat().st_size
        except OSError as error:
            raise DataError(f"{path}: expected a shard, got: {error.strerror}; {_ADVICE}") from None
        if size != shard.size:
            raise DataError(f"{path}: expected {shard.size:,} bytes, got {size:,}; {_ADVICE}")
    return Prepared(folder, index)


def verify_prepared(folder: Path) -> Prepared:
    """Open a prepared corpus and verify the hash of every shard.

    Raises:
        DataError: Shards have changed since they were written; the message names them all.
    """
    prepared = open_prepared(folder)
    broken = [shard.file for shard in prepared.index.shards if hash_of(folder / shard.file) != shard.sha256]
    if broken:
        raise DataError(
            f"{folder}: expected {len(prepared.index.shards)} shards as they were written, got {', '.join(broken)} "
            f"changed; delete {'it' if len(broken) == 1 else 'them'} and type the same trainer prepare command again"
        )
    return prepared


def hash_of(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return digest_of(file)
    except OSError as error:
        raise DataError(f"{path}: expected a readable shard, got: {error.strerror}; {_ADVICE}") from None
