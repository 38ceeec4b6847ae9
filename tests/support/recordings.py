"""Real recordings for tests: some seconds of files in the folder that ASCSTREAM_TEST_DATA names, through PyAV."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

SCENES = (
    "scenes_audio/moodist/busy-street.mp3",
    "scenes_audio/moodist/airport.mp3",
    "esc10/001 - Dog bark/1-100032-A.ogg",
)
"""A street, a hall, and a short sound with digital silence around it."""


def data_folder() -> Path:
    """The folder of test data; the test is skipped where there is none."""
    folder = os.environ.get("ASCSTREAM_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set ASCSTREAM_TEST_DATA to the folder of test data")
    return Path(folder)


def recording(name: str, sample_rate: int, seconds: float, n_channels: int = 1) -> NDArray[np.float32]:
    """The first `seconds` of a file: [n_channels, n_samples] float32."""
    layout = "mono" if n_channels == 1 else "stereo"
    wanted = round(seconds * sample_rate)
    resampler = av.AudioResampler("fltp", layout, sample_rate)
    blocks: list[NDArray[np.float32]] = []
    with av.open(str(data_folder() / name)) as container:
        for frame in container.decode(audio=0):
            blocks.extend(out.to_ndarray() for out in resampler.resample(frame))
            if sum(block.shape[1] for block in blocks) >= wanted:
                break
    return np.concatenate(blocks, axis=1)[:, :wanted].astype(np.float32)
