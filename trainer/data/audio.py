"""Decode recordings to samples with the runtime's own decoder, so that training hears what the runtime will hear."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ascstream.records import AudioBlock
from ascstream.sources.base import AudioWants, Wants
from trainer.data.decoding import whole_items
from trainer.errors import DataError

Mono: TypeAlias = NDArray[np.float32]
"""[n_samples] float32 in −1…1."""


def decode(path: Path, sample_rate: int) -> Mono:
    """Read a whole file as mono samples; gaps become zeros, as in a stream, but missing sound at the end is cut off.

    Args:
        path: Any file FFmpeg can read.
        sample_rate: Target sample rate in Hz.

    Raises:
        DataError: Part of the file cannot be decoded, or it has no sound.
    """
    items = whole_items(path, Wants(AudioWants(sample_rate, 1), None))
    blocks = [item for item in items if isinstance(item, AudioBlock)]
    while blocks and blocks[-1].lost:
        blocks.pop()
    if not blocks:
        raise DataError(f"{path}: expected a recording, got no sound")
    return np.concatenate([block.samples[0] for block in blocks])


def decode_all(paths: Sequence[Path], sample_rate: int, at_least: int) -> list[Mono]:
    """Read files into memory; an hour at 24 kHz takes 350 MB.

    Args:
        paths: The files.
        sample_rate: Target sample rate in Hz.
        at_least: Minimum number of samples a file must have.

    Raises:
        DataError: A file cannot be decoded or is too short.
    """
    recordings = []
    for path in paths:
        samples = decode(path, sample_rate)
        if samples.size < at_least:
            raise DataError(
                f"{path}: expected at least one window of {at_least / sample_rate:g} s, "
                f"got {samples.size / sample_rate:.2f} s"
            )
        recordings.append(samples)
    return recordings


def load_responses(folder: Path | None, sample_rate: int) -> list[Mono]:
    """Impulse responses of microphones, each scaled to unit energy, without silent ones; empty if `folder` is None.

    Raises:
        DataError: The folder has none, or one cannot be decoded.
    """
    if folder is None:
        return []
    files = sorted(folder.glob("*.wav")) if folder.is_dir() else []
    if not files:
        raise DataError(
            f"{folder}: expected impulse responses as .wav files, got none; "
            "to do without, type: --set data.impulse_responses="
        )
    responses = [decode(file, sample_rate) for file in files]
    return [response / np.sqrt(np.square(response).sum()) for response in responses if np.any(response)]
