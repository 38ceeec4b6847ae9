"""Decode a corpus once: several processes write shards, resumably and reproducibly. For reading see prepared.py.

OUT/index.json           all clips, and where they are stored; written last
OUT/shard-00000.tar …    samples and pictures, see shards.py
OUT/.parts/              what is needed to resume after an interruption
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.data.clips import Corpus, first_few
from trainer.data.index import INDEX, Index, LeftOut, index_to_json
from trainer.data.plan import make_tasks
from trainer.data.prepared import Prepared, open_prepared
from trainer.data.settings import Settings
from trainer.data.shards import PARTS, ShardPart, ShardTask, read_part, remove_partials, write_shard
from trainer.data.workers import run_tasks
from trainer.errors import DataError, TrainerError
from trainer.files import write_whole

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of decoding."""

    done: int
    """Clips processed so far, including earlier runs."""
    total: int
    """Total number of clips."""
    resumed: int
    """Clips processed in earlier runs."""
    left_out: LeftOut | None = None
    """The clip just processed, if it was left out."""


def prepare_corpus(
    corpus: Corpus,
    folder: Path,
    settings: Settings,
    *,
    n_workers: int | None = None,
    strict: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Prepared:
    """Decode every clip of a corpus into shards, resuming where an earlier run was interrupted, however that happened.

    Args:
        corpus: The corpus to decode.
        folder: A new folder, or one begun with the same corpus and settings.
        settings: What is kept of each clip.
        n_workers: Number of processes; None: one per core.
        strict: Whether a clip that cannot be decoded is an error instead of being left out.
        on_progress: Called at the start and after each clip.

    Raises:
        ConfigError: The folder has other content, or was begun with something else.
        DataError: A clip cannot be decoded and `strict` is set; or so many cannot that a label or a split is left
            without clips.
        TrainerError: The disk is full, or another process is working in the folder.
    """
    say = on_progress or (lambda _: None)
    try:
        tasks = make_tasks(corpus, folder, settings)
        with _only_one(folder):
            remove_partials(folder)
            parts = {task.number: part for task in tasks if (part := _finished(task, strict=strict)) is not None}
            open_tasks = [task for task in tasks if task.number not in parts]
            if open_tasks:
                (folder / INDEX).unlink(missing_ok=True)
                _write_shards(folder, open_tasks, parts, len(corpus.clips), n_workers or n_cores(), strict, say)
                parts |= {task.number: _written(task) for task in open_tasks}
            if not (folder / INDEX).is_file():
                _finish(corpus, folder, settings, [parts[task.number] for task in tasks], tasks)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise TrainerError(
            f"{folder}: expected room for the shards, got: {error.strerror}; free some and type the same command again "
            "to go on"
        ) from None
    return open_prepared(folder)


def n_cores() -> int:
    """Number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _write_shards(
    folder: Path,
    tasks: Sequence[ShardTask],
    parts: dict[int, ShardPart],
    total: int,
    n_workers: int,
    strict: bool,
    say: Callable[[Progress], None],
) -> None:
    """Write the missing shards."""
    resumed = done = sum(len(part.clips) + len(part.left_out) for part in parts.values())
    say(Progress(done, total, resumed))

    def on_clip(left_out: LeftOut | None) -> None:
        nonlocal done
        done += 1
        if strict and left_out is not None:
            raise DataError(
                f"{left_out.reason}; mend it and type the same command again, or leave out what is broken: no --strict"
            )
        say(Progress(done, total, resumed, left_out))

    try:
        run_tasks(write_shard, tasks, n_workers, on_clip)
    finally:
        remove_partials(folder)


def _finished(task: ShardTask, *, strict: bool) -> ShardPart | None:
    """The content of a finished shard, else None; to a strict run, one that left clips out is unfinished."""
    part = read_part(task)
    return None if part is None or (strict and part.left_out) else part


def _written(task: ShardTask) -> ShardPart:
    part = read_part(task)
    if part is None:
        raise TrainerError(f"{task.path}: expected the shard just written, got something else; is the folder in use?")
    return part


def _finish(
    corpus: Corpus, folder: Path, settings: Settings, parts: Sequence[ShardPart], tasks: Sequence[ShardTask]
) -> None:
    """Write the index, if the remaining clips can be trained on."""
    left_out = tuple(entry for part in parts for entry in part.left_out)
    clips = tuple(clip for part in parts for clip in part.clips)
    try:
        _check_enough(corpus, {clip.key for clip in clips}, tasks, left_out)
    except DataError:
        for task, part in zip(tasks, parts, strict=True):
            if part.left_out:  # so that the same command tries them again
                task.part_path.unlink()
        raise
    shards = tuple(part.shard for part in parts)
    remarks, labels = corpus.remarks, corpus.labels
    index = Index(corpus.name, corpus.licence, labels, remarks, settings, shards, clips, left_out)
    write_whole(folder / INDEX, lambda file: file.write(index_to_json(index)))


def _check_enough(corpus: Corpus, kept: set[str], tasks: Sequence[ShardTask], left_out: Sequence[LeftOut]) -> None:
    """Check that no label and no split is left without clips.

    Raises:
        DataError: One is.
    """
    clips = tuple(clip for task in tasks for key, clip in task.clips if key in kept)
    lost = sorted({clip.split for clip in corpus.clips} - {clip.split for clip in clips})
    reasons = f"{len(left_out):,} clips cannot be decoded, as {first_few([entry.reason for entry in left_out[:1]])}"
    if lost:
        raise DataError(f"{corpus.root}: expected clips of the split {lost[0]!r}, got none: {reasons}")
    try:
        replace(corpus, clips=clips)
    except DataError as error:
        raise DataError(f"{error}: {reasons}") from None


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes; the lock disappears with the process, however it ends.

    Raises:
        TrainerError: Another process holds the lock.
    """
    with (folder / PARTS / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainerError(
                f"{folder}: expected to be alone there, got another trainer prepare at work; wait for it, or end it"
            ) from None
        yield
