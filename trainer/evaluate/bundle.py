"""Answer windows with a bundle's graphs, and evaluate it on clips, to measure what a precision or a backend costs.

Segments and their inputs come from `trainer.data.segments`, so answers can be compared with the network's own,
segment by segment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engines.backends import REFERENCE_BACKEND, Engines, load_engines
from engines.base import Engine
from engines.bundle import Bundle
from engines.manifest import FRAME_INPUT, FRAME_OUTPUT, InputSpec, Manifest, WaveformFeature
from trainer.config import Config, DataConfig, TrainConfig
from trainer.data.segments import SegmentReader
from trainer.data.store import ClipStore
from trainer.errors import DataError
from trainer.evaluate.answers import Answers
from trainer.inputs import FEATURES, FRAMES, PRESENCE, WAVEFORM, Inputs

Floats = NDArray[np.float32]
_ENCODED = 32
"""Frames per encoder call."""
_ORDER = {"audio": 0, "video": 1}
"""The trainer's column order of presence flags."""


def bundle_inputs(manifest: Manifest) -> Inputs:
    """Convert a bundle's inputs to the trainer's form.

    Raises:
        DataError: It takes two inputs of one kind, which no network of this trainer does.
    """
    specs = inputs_by_name(manifest)
    return Inputs(
        audio=specs[FEATURES].audio if FEATURES in specs else None,
        waveform=specs[WAVEFORM].audio if WAVEFORM in specs else None,
        video=specs[FRAMES].video if FRAMES in specs else None,
    )


def evaluate_bundle(
    bundle: Bundle,
    store: ClipStore,
    clips: Sequence[int],
    labels: Sequence[str],
    *,
    precision: str = "float32",
    backend: str = REFERENCE_BACKEND,
    threads: int = 1,
) -> Answers:
    """Answer every segment of some clips with a bundle, with all modalities and, if supported, with each alone.

    Args:
        bundle: An opened bundle.
        store: Decoded clips, for `bundle_inputs`.
        clips: Their positions in `store`.
        labels: The clips' possible scenes; the bundle must have the same.
        precision: A precision that the bundle holds.
        backend: Backend that runs its graphs.
        threads: CPU threads per call.

    Returns:
        Logits; `Answers.clips` are positions in `store`.

    Raises:
        DataError: The bundle has other labels, or there is no clip.
        engines.errors.EngineError: It has no graph of that precision, or cannot be run.
    """
    manifest = bundle.manifest
    if tuple(labels) != manifest.labels:
        raise DataError(
            f"bundle {manifest.name}: expected the labels {', '.join(labels)}, got {', '.join(manifest.labels)}"
        )
    if not clips:
        raise DataError(f"bundle {manifest.name}: expected clips to evaluate it on, got none")
    config = Config(name=manifest.name, data=DataConfig(), window=manifest.window, train=TrainConfig())
    reader = SegmentReader(store, bundle_inputs(manifest), config, list(inputs_by_name(manifest)))
    with load_engines(bundle, backend=backend, precision=precision, threads=threads) as engines:
        return reader.answers(clips, lambda inputs: answer_windows(manifest, engines, inputs))


def answer_windows(manifest: Manifest, engines: Engines, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
    """Map the inputs of n windows, under the trainer's names, to logits [n, n_labels] per head."""
    feeds = {}
    for name, spec in inputs_by_name(manifest).items():
        values = inputs[name]
        if spec.presence is not None:
            values = np.ascontiguousarray(values[:, [_ORDER[modality] for modality in spec.presence]])
        elif spec.video is not None and spec.video.embedding_size is not None and engines.frame is not None:
            seen = inputs[PRESENCE][:, _ORDER["video"]] > 0 if PRESENCE in inputs else np.ones(len(values), bool)
            values = _encode(engines.frame, values, seen, spec.video.embedding_size)
        feeds[spec.name] = values
    heads = engines.scene.infer(feeds)
    return {output.name: heads[output.name] for output in manifest.outputs}


def _encode(encoder: Engine, frames: Floats, seen: NDArray[np.bool_], size: int) -> Floats:
    """[n, n_frames, 3, height, width] to [n, n_frames, size]; zeros for windows without video, as in the runtime."""
    encoded = np.zeros((*frames.shape[:2], size), np.float32)
    images = frames[seen].reshape(-1, *frames.shape[2:])
    batches = [images[first : first + _ENCODED] for first in range(0, len(images), _ENCODED)]
    if batches:
        parts = [encoder.infer({FRAME_INPUT: batch})[FRAME_OUTPUT] for batch in batches]
        encoded[seen] = np.concatenate(parts).reshape(-1, *encoded.shape[1:])
    return encoded


def inputs_by_name(manifest: Manifest) -> dict[str, InputSpec]:
    """A bundle's inputs under the trainer's names, in the manifest's order.

    Raises:
        DataError: It takes two inputs of one kind.
    """
    specs: dict[str, InputSpec] = {}
    for spec in manifest.inputs:
        name = PRESENCE if spec.presence is not None else FRAMES
        if spec.audio is not None:
            name = WAVEFORM if isinstance(spec.audio.feature, WaveformFeature) else FEATURES
        if name in specs:
            raise DataError(
                f"bundle {manifest.name}: expected one input of {name}, got {specs[name].name}, {spec.name}"
            )
        specs[name] = spec
    return specs
