"""Recordings as the runtime processes them: their windows, and the inputs of each graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from ascstream.classifier import Classifier
from ascstream.errors import SourceError
from ascstream.pipeline import require_input
from ascstream.records import StreamEvent, Window
from ascstream.sources.base import Source
from ascstream.windows import Windower
from engines.backends import Engines
from engines.base import Array, Engine
from engines.bundle import Bundle
from engines.manifest import FRAME_GRAPH, GraphName
from trainer.data.clips import Clip
from trainer.errors import DataError
from trainer.evaluate.sources import open_clip

N_RANGES = 256
"""Most windows that int8 ranges are measured on: as many as `trainer export` uses for a small network."""


def windows_of(classifier: Classifier, clip: Clip, step: Fraction) -> Iterator[Window]:
    """Yield the windows of a recording, as `ascstream file` cuts them.

    Args:
        classifier: The classifier that the windows are for.
        clip: The recording.
        step: Step between windows, in seconds.

    Raises:
        SourceError: It has no input that the bundle uses, or breaks off.
    """
    with open_clip(clip) as source:
        yield from _windows_in(classifier, source, step)


def spread_windows(classifier: Classifier, clip: Clip, at_most: int) -> Iterator[Window]:
    """Yield at most `at_most` windows of a recording, without overlap, evenly spread if its length is known.

    Each is the middle one of its part of the recording, as recordings begin with handling noise.

    Args:
        classifier: The classifier that the windows are for.
        clip: The recording; it is opened once.
        at_most: The most windows to yield.

    Raises:
        SourceError: It has no input that the bundle uses, or breaks off.
    """
    step = Fraction(str(classifier.manifest.window.seconds))
    with open_clip(clip) as source:
        n_windows = int((source.info.duration_seconds or 0) / step)
        every = -(-n_windows // at_most) or 1
        for index, window in enumerate(_windows_in(classifier, source, step)):
            if index >= every * at_most:
                return
            if index % every == (every - 1) // 2:
                yield window


def _windows_in(classifier: Classifier, source: Source, step: Fraction) -> Iterator[Window]:
    """Like `windows_of`, for an open source."""
    require_input(source.info, classifier.manifest)
    windower = Windower(classifier.manifest, step)
    for item in source.items(classifier.wants(step)):
        if not isinstance(item, StreamEvent):
            windower.push(item)
            yield from windower.ready()
    yield from windower.finish()


class RangeFeeds:
    """The inputs that recordings give each graph of a bundle: up to `n` windows, spread over files and time.

    They pass through the runtime's decoder, front-end and float32 graphs, so int8 is calibrated on what it gets in use.
    """

    def __init__(
        self, bundle: Bundle, engines: Engines, media: Sequence[Clip], say: Callable[[str], None], n: int = N_RANGES
    ) -> None:
        """Choose the recordings; nothing is decoded yet.

        Args:
            bundle: The bundle.
            engines: Its float32 graphs; they are not closed.
            media: The recordings.
            say: Called with a sentence about each file that cannot be read.
            n: The most windows to use.
        """
        self._bundle, self._engines, self._say = bundle, engines, say
        places = np.linspace(0, len(media) - 1, min(n, len(media))).astype(int).tolist()
        self._media = [media[place] for place in places]
        self._per_file = n // max(1, len(self._media))
        self.n_windows = 0
        """Windows given to the most recent graph."""

    def of(self, graph: GraphName) -> Iterator[Mapping[str, Array]]:
        """Yield the graph's inputs call by call, decoding on demand.

        Raises:
            DataError: No recording gives a window.
        """
        engines = self._engines
        if graph == FRAME_GRAPH and engines.frame is not None:
            tap = _Tap(engines.frame)
            classifier = Classifier(self._bundle, replace(engines, frame=tap))
        else:
            tap = _Tap(engines.scene)
            classifier = Classifier(self._bundle, replace(engines, scene=tap))
        self.n_windows = 0
        for clip in self._media:
            classifier.reset()
            try:
                for window in spread_windows(classifier, clip, self._per_file):
                    classifier.score(window)
                    taken = tap.take()
                    self.n_windows += bool(taken)
                    yield from taken
            except SourceError as error:
                self._say(f"left out of the calibration: {error}")
        if self.n_windows == 0:
            raise DataError(
                "--calibrate: expected recordings with sound or pictures that the bundle perceives, got no window"
            )


class _Tap(Engine):
    """Wraps an engine and records its inputs."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.name, engine.backend, engine.inputs, engine.outputs)
        self._engine = engine
        self._taken: list[Mapping[str, Array]] = []

    def take(self) -> list[Mapping[str, Array]]:
        """Return the inputs recorded since the last call."""
        taken, self._taken = self._taken, []
        return taken

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        self._taken.append({name: array.copy() for name, array in feeds.items()})
        return self._engine.infer(feeds)
