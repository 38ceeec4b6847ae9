"""Test windows for comparing a network with its graphs: computed sounds and pictures, the same on every machine.

An import comes without recordings. It matters little what the network answers here, as long as its answers differ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ascstream.frontend import audio_tensor, image_tensor
from engines.check import N_CASES
from engines.manifest import AudioInput, VideoInput
from trainer.data.synth_picture import draw_view
from trainer.data.synth_sound import draw_place, make_sound
from trainer.importers.imported import TEN_SCENES

Floats = NDArray[np.float32]


def sound_cases(audio: AudioInput, n_samples: int) -> Floats:
    """Return [N_CASES, …] cases of an audio input: windows of computed scenes; `n_samples` includes the context."""
    windows = []
    for case in range(N_CASES):
        rng = np.random.default_rng((1, case))
        sound = make_sound(draw_place(TEN_SCENES[case], rng), n_samples, rng)  # the sample rate does not matter here
        windows.append(audio_tensor(sound if audio.n_source_channels == 2 else sound[:1], audio))
    return np.stack(windows)


def picture_cases(video: VideoInput) -> Floats:
    """Return [N_CASES, n_frames, 3, height, width] cases of a video input: one computed view per case in all frames."""
    frames = []
    for case in range(N_CASES):
        view = draw_view(TEN_SCENES[case], np.random.default_rng((2, case))).background
        rows = np.arange(video.height) * view.shape[0] // video.height
        columns = np.arange(video.width) * view.shape[1] // video.width
        image = image_tensor(np.ascontiguousarray(view[rows][:, columns]), video)
        frames.append(np.stack([image] * len(video.frame_times_seconds)))
    return np.stack(frames)
