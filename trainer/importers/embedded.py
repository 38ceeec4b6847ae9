"""Turns labelled clips into an encoder's features, using the runtime's own decoder, windower and front-end.

What is fitted on these features is therefore fitted on exactly what the runtime computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ascstream.classifier import Classifier
from ascstream.errors import SourceError
from engines.backends import Engines
from engines.base import Array, Engine, TensorSpec
from engines.bundle import Bundle
from engines.manifest import (
    SCENE_GRAPH,
    SCHEMA_VERSION,
    FileSpec,
    GraphSpec,
    InputSpec,
    Manifest,
    OutputSpec,
    WindowSpec,
    input_shape,
)
from trainer.data.clips import Clip
from trainer.data.labelled import OnClip, unwatched
from trainer.errors import DataError
from trainer.evaluate.metrics import Integers
from trainer.inputs import FEATURES, FRAMES, WAVEFORM, Inputs
from trainer.plans.media import spread_windows

Floats = NDArray[np.float32]
Embed = Callable[[Mapping[str, Floats]], Floats]
"""Maps the prepared inputs of n windows, by name, to [n, n_features]."""

_WINDOWS_A_CLIP = 60
"""At most, evenly spread: more windows of the same recording add little."""
N_WINDOWS = 20_000
"""Approximate number of windows of all clips together."""
_BATCH = 16
"""Windows embedded at once."""


@dataclass(frozen=True, slots=True)
class Rows:
    """An encoder's features of clips, one row per window."""

    features: Floats
    """[n, n_features]."""
    clips: Integers
    """[n] index of each window's clip in `kept`."""
    kept: tuple[Clip, ...]
    """Clips that gave at least one window."""
    n_unreadable: int
    """Number of clips that gave none."""


def embed_clips(
    embed: Embed,
    inputs: Inputs,
    window: WindowSpec,
    where: Path,
    clips: Sequence[Clip],
    *,
    n_windows: int = N_WINDOWS,
    on_clip: OnClip = unwatched,
) -> Rows:
    """Compute an encoder's features for the windows of all readable clips.

    Args:
        embed: The encoder.
        inputs: The inputs it takes.
        window: The window's length.
        where: Where the clips are; error messages name it.
        clips: The clips.
        n_windows: Approximate number of windows altogether: the more clips, the fewer windows of each, but at least 1.
        on_clip: Called before each clip, and at the end.

    Raises:
        DataError: No clip can be read, or the encoder returns NaN or infinity.
    """
    listener = _Listener(_draft(inputs, window))
    at_most = max(1, min(_WINDOWS_A_CLIP, n_windows // max(1, len(clips))))
    parts: list[Floats] = []
    kept: list[Clip] = []
    why = ""
    for number, clip in enumerate(clips):
        on_clip(number, len(clips))
        try:
            features = _embed_clip(embed, listener, clip, at_most)
        except SourceError as error:
            why = why or str(error)
            continue
        if len(features):
            parts.append(features)
            kept.append(clip)
    on_clip(len(clips), len(clips))
    if not kept:
        reason = why or "no window of them has what the network perceives"
        raise DataError(f"--data: {where}: expected clips that can be read, got none: {reason}")
    features = np.concatenate(parts)
    if not np.isfinite(features).all():
        raise DataError(
            f"--data: {where}: expected finite features of every window, got others; are the weights whole?"
        )
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return Rows(features, owners, tuple(kept), len(clips) - len(kept))


def _embed_clip(embed: Embed, listener: _Listener, clip: Clip, at_most: int) -> Floats:
    """Features [n_windows, n_features] of at most `at_most` usable windows of a clip, without overlap."""
    parts: list[Floats] = []
    for feeds in _batches(listener.windows(clip, at_most)):
        names = feeds[0].keys()
        parts.append(np.asarray(embed({name: np.concatenate([one[name] for one in feeds]) for name in names})))
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def _batches(feeds: Iterator[Mapping[str, Array]]) -> Iterator[list[Mapping[str, Array]]]:
    """Group windows into batches of at most `_BATCH`."""
    batch: list[Mapping[str, Array]] = []
    for one in feeds:
        batch.append(one)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class _Listener(Engine):
    """Takes the place of the scene graph in a classifier, and records the inputs it is given."""

    def __init__(self, manifest: Manifest) -> None:
        shapes = {entry.name: input_shape(entry, manifest.window) for entry in manifest.inputs}
        specs = {name: TensorSpec(name, "float32", (None, *shape)) for name, shape in shapes.items()}
        super().__init__(SCENE_GRAPH, "none", specs, {})
        self._classifier = Classifier(Bundle(Path(), manifest), Engines(self, None, "float32"))
        self._fed: list[Mapping[str, Array]] = []

    def windows(self, clip: Clip, at_most: int) -> Iterator[Mapping[str, Array]]:
        """Yield the inputs [1, …] of at most `at_most` of the clip's windows that the runtime would classify."""
        classifier = self._classifier
        classifier.reset()
        for window in spread_windows(classifier, clip, at_most):
            self._fed.clear()
            classifier.score(window)
            yield from self._fed

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        self._fed.append({name: array.copy() for name, array in feeds.items()})
        return {"fused": np.zeros((1, 2), np.float32)}


def _draft(inputs: Inputs, window: WindowSpec) -> Manifest:
    """A manifest that requires these inputs; there is no bundle behind it."""
    specs = [InputSpec(name, audio=audio) for name, audio in ((FEATURES, inputs.audio), (WAVEFORM, inputs.waveform))
             if audio is not None]  # fmt: skip
    if inputs.video is not None:
        specs.append(InputSpec(FRAMES, video=inputs.video))
    graph = "scene.onnx"
    return Manifest(
        schema=SCHEMA_VERSION,
        name="to-be-fitted",
        version="0",
        description="An encoder whose head is being fitted.",
        licence="NOASSERTION",
        labels=("a", "b"),
        window=window,
        inputs=tuple(specs),
        outputs=(OutputSpec("fused"),),
        graphs=(GraphSpec(SCENE_GRAPH, {"float32": graph}),),
        files={graph: FileSpec("0" * 64, 0)},
    )
