"""Embeddings of a corpus's frames: encoded once each, saved in parts beside the run, looked up by clip and time.

`trainer.fit.encoding` decides when this is done, and with which encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ascstream.frontend import image_tensor, is_dark
from engines.manifest import Thresholds, VideoInput, WindowSpec
from trainer.data.pictures import newest_frames
from trainer.data.prefetch import prefetched
from trainer.data.store import ClipStore
from trainer.errors import TrainerError
from trainer.files import UNREADABLE_ARRAYS, write_whole

Floats = NDArray[np.float32]
Encode = Callable[[Floats], Floats]
"""Maps [n, 3, height, width] to [n, embedding_size]."""
OnFrames = Callable[[int, int], object]
"""Called with the number of frames encoded and the total."""
_AT_ONCE = 64
"""Number of frames encoded per call."""
_PART = 16 * _AT_ONCE
"""Number of frames per file: the most work that is lost when a run is stopped."""
_NOTHING, _BLACK = 0, 1
"""Rows before those of frames: zeros, used for windows whose picture is absent; a black frame, used where a clip has no
frame."""
_N_BEFORE = 2
_SLACK_SECONDS = 1e-3
"""Window positions are whole samples, so a window may start this much later than its time in seconds says."""


@dataclass(frozen=True, slots=True)
class FrameList:
    """The frames to encode, in order."""

    times: Sequence[NDArray[np.float64]]
    """For every clip of the corpus: the times of all its frames, ascending."""
    clips: NDArray[np.int64]
    """[n] clip index of each frame."""
    numbers: NDArray[np.int64]
    """[n] index of each frame within its clip."""

    def __len__(self) -> int:
        return len(self.clips)


def list_frames(
    store: ClipStore,
    times: Sequence[NDArray[np.float64]],
    clips: Sequence[int],
    video: VideoInput,
    window: WindowSpec,
) -> FrameList:
    """Every frame that a window of these clips can use, at whatever position the window starts.

    Args:
        store: Provides the length of clips.
        times: For every clip of `store`: the times of its frames, ascending.
        clips: The clips that are used.
        video: When a window's frames are taken.
        window: The window's length, and how far it may extend beyond the end of a clip.
    """
    owners, numbers = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    slots = np.array(video.frame_times_seconds)
    for clip in clips:
        last = max(0.0, store.seconds(clip) - window.seconds) + window.pad_seconds + _SLACK_SECONDS
        first_taken = np.maximum(newest_frames(times[clip], slots.tolist(), np.inf), 0)
        last_taken = newest_frames(times[clip], (slots + last).tolist(), np.inf)
        taken = np.zeros(len(times[clip]), bool)
        for begin, end in zip(first_taken, last_taken, strict=True):
            taken[begin : end + 1] = True
        numbers.append(np.flatnonzero(taken))
        owners.append(np.full(numbers[-1].size, clip, np.int64))
    return FrameList(times, np.concatenate(owners), np.concatenate(numbers))


class EmbeddingStore:
    """Embeddings of frames, held in memory; safe to read from several threads."""

    def __init__(self, frames: FrameList, embeddings: Floats, dark: NDArray[np.bool_]) -> None:
        """Wrap the arrays that `encode_frames` computed.

        Args:
            frames: The frames that were encoded.
            embeddings: [2 + n, embedding_size]: of zeros, of a black frame, then of `frames`.
            dark: [2 + n] whether each is too dark to show anything.
        """
        self._times = frames.times
        self._embeddings = embeddings
        self._dark = dark
        self._rows = [np.full(len(times), -1, np.int64) for times in frames.times]
        for row, (clip, number) in enumerate(zip(frames.clips, frames.numbers, strict=True), start=_N_BEFORE):
            self._rows[clip][number] = row

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._embeddings) - _N_BEFORE

    @property
    def nothing(self) -> Floats:
        """[embedding_size] the embedding of an all-zero tensor, which stands for an absent picture."""
        nothing: Floats = self._embeddings[_NOTHING]
        return nothing

    def take(
        self, clip: int, times: Sequence[float], max_age_seconds: float
    ) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
        """For each time, the embedding of the newest frame, chosen as in `ClipStore.frames`.

        Returns:
            Embeddings [n_frames, embedding_size], that of a black frame where there is none; whether each frame exists;
            whether each is dark.
        """
        numbers = newest_frames(self._times[clip], times, max_age_seconds)
        there = numbers >= 0
        rows = np.full(len(times), _BLACK)
        rows[there] = self._rows[clip][numbers[there]]
        if (rows < 0).any():
            raise ValueError(f"clip {clip}: expected frames that were encoded, got others at {list(times)} s")
        return self._embeddings[rows], there, self._dark[rows]


def encode_frames(
    store: ClipStore,
    frames: FrameList,
    video: VideoInput,
    encode: Encode,
    folder: Path,
    key: str,
    *,
    workers: int = 1,
    on_frames: OnFrames = lambda _done, _total: None,
) -> EmbeddingStore:
    """Encode frames, resuming where an earlier call stopped.

    Args:
        store: Reads the frames.
        frames: The frames to encode.
        video: How frames are converted to tensors.
        encode: The encoder; called with at most 64 frames at once.
        folder: Where parts are saved; parts with another key are deleted from it.
        key: Identifies everything the embeddings depend on; a part with another key is never used.
        workers: Number of threads that read frames ahead.
        on_frames: Called after each batch.

    Raises:
        DataError: A frame cannot be read.
        TrainerError: A part cannot be written to disk.
    """
    black = np.zeros((video.height, video.width, 3), np.uint8)
    tensor = image_tensor(black, video)
    before = encode(np.stack([np.zeros_like(tensor), tensor]))
    embeddings = np.empty((_N_BEFORE + len(frames), before.shape[1]), np.float32)
    dark = np.ones(len(embeddings), bool)
    embeddings[:_N_BEFORE] = before
    _remove_others(folder, key)
    for first in range(0, len(frames), _PART):
        part = slice(first, min(first + _PART, len(frames)))
        rows = slice(_N_BEFORE + part.start, _N_BEFORE + part.stop)
        path = folder / f"{key}-{first // _PART:05d}.npz"
        if not _read_part(path, embeddings[rows], dark[rows]):
            done = first
            for encoded, is_black in _encoded(store, frames, part, video, encode, workers):
                place = slice(_N_BEFORE + done, _N_BEFORE + done + len(encoded))
                embeddings[place], dark[place] = encoded, is_black
                done += len(encoded)
                on_frames(done, len(frames))
            _write_part(path, embeddings[rows], dark[rows])
    on_frames(len(frames), len(frames))
    return EmbeddingStore(frames, embeddings, dark)


def remove_embeddings(folder: Path) -> None:
    """Delete the parts that `encode_frames` saved; they are not needed once a network is trained."""
    _remove_others(folder, "")
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _encoded(
    store: ClipStore, frames: FrameList, part: slice, video: VideoInput, encode: Encode, workers: int
) -> Iterator[tuple[Floats, NDArray[np.bool_]]]:
    """Yield embeddings of some of the frames, batch by batch, and whether each frame is dark."""

    def read(number: int) -> tuple[Floats, NDArray[np.bool_]]:
        begin = part.start + number * _AT_ONCE
        rows = range(begin, min(begin + _AT_ONCE, part.stop))
        images: list[NDArray[np.uint8]] = []
        for clip, of_clip in groupby(rows, key=lambda row: int(frames.clips[row])):
            moments = [float(frames.times[clip][frames.numbers[row]]) for row in of_clip]
            images.extend(store.frames(clip, moments, 0.0)[0])
        tensors = np.stack([image_tensor(image, video) for image in images])
        return tensors, np.array([is_dark(image, Thresholds().dark_luma) for image in images])

    for tensors, dark in prefetched(read, -(-(part.stop - part.start) // _AT_ONCE), workers):
        yield encode(tensors), dark


def _read_part(path: Path, embeddings: Floats, dark: NDArray[np.bool_]) -> bool:
    """Fill rows from a file; False if there is no file that matches."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            kept, kept_dark = arrays["embeddings"], arrays["dark"]
    except UNREADABLE_ARRAYS:
        return False
    if (kept.shape, kept.dtype, kept_dark.shape, kept_dark.dtype) != (
        embeddings.shape,
        embeddings.dtype,
        dark.shape,
        dark.dtype,
    ):
        return False
    embeddings[:], dark[:] = kept, kept_dark
    return True


def _write_part(path: Path, embeddings: Floats, dark: NDArray[np.bool_]) -> None:
    """Save rows in a file."""

    def write(file: BinaryIO) -> None:
        np.savez(file, embeddings=embeddings, dark=dark)

    try:
        write_whole(path, write)
    except OSError as error:
        raise TrainerError(
            f"{path}: expected to keep embeddings of frames, got: {error.strerror}; make room and go on with --resume"
        ) from None


def _remove_others(folder: Path, key: str) -> None:
    """Delete the parts with other keys; with key "", all parts."""
    for path in folder.glob("*.npz"):
        if not key or not path.name.startswith(f"{key}-"):
            path.unlink(missing_ok=True)
