"""Recordings as the runtime meets them: their windows, and what graphs are fed with."""

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
"""Windows that ranges of int8 are measured on, at most: what `trainer export` takes of a small network."""


def windows_of(classifier: Classifier, clip: Clip, step: Fraction) -> Iterator[Window]:
    """The windows of a recording, as `ascstream file` cuts them.

    Args:
        classifier: Whose windows.
        clip: The recording.
        step: Between two windows, in seconds.

    Raises:
        SourceError: It gives nothing that the bundle perceives, or breaks off.
    """
    with open_clip(clip) as source:
        yield from windows_in(classifier, source, step)


def windows_in(classifier: Classifier, source: Source, step: Fraction) -> Iterator[Window]:
    """The windows of an open source; else as `windows_of`."""
    require_input(source.info, classifier.manifest)
    windower = Windower(classifier.manifest, step)
    for item in source.items(classifier.wants(step)):
        if not isinstance(item, StreamEvent):
            windower.push(item)
            yield from windower.ready()
    yield from windower.finish()


class RangeFeeds:
    """What each graph of a bundle is fed with by recordings: up to `N_RANGES` windows, spread over files and time.

    Through decoder, front-end and float32 graphs of the runtime, so that int8 meets what it will meet in use.
    """

    def __init__(
        self, bundle: Bundle, engines: Engines, media: Sequence[Clip], say: Callable[[str], None], n: int = N_RANGES
    ) -> None:
        """Prepare; nothing is decoded yet.

        Args:
            bundle: Which.
            engines: Its float32 graphs; they stay open.
            media: The recordings.
            say: Told of a file that cannot be read, in a sentence.
            n: Windows at most.
        """
        self._bundle, self._engines, self._say = bundle, engines, say
        places = np.linspace(0, len(media) - 1, min(n, len(media))).astype(int).tolist()
        self._media = [media[place] for place in places]
        self._per_file = n // max(1, len(self._media))
        self.n_windows = 0
        """Windows that the last graph was given."""

    def of(self, graph: GraphName) -> Iterator[Mapping[str, Array]]:
        """What that graph is fed with, one call after another; decoded as it is asked for.

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
                for window in self._some_windows(classifier, clip):
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

    def _some_windows(self, classifier: Classifier, clip: Clip) -> Iterator[Window]:
        """Windows of a recording without overlap, evenly spread as far as its length is known."""
        seconds = Fraction(str(classifier.manifest.window.seconds))
        with open_clip(clip) as source:
            n_windows = int((source.info.duration_seconds or 0) / seconds)
        every = max(1, n_windows // self._per_file)
        given = 0
        for index, window in enumerate(windows_of(classifier, clip, seconds)):
            if index % every == 0:
                yield window
                given += 1
            if given == self._per_file:
                return


class _Tap(Engine):
    """An engine that keeps what it is fed with."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.name, engine.backend, engine.inputs, engine.outputs)
        self._engine = engine
        self._taken: list[Mapping[str, Array]] = []

    def take(self) -> list[Mapping[str, Array]]:
        """What came since the last time."""
        taken, self._taken = self._taken, []
        return taken

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        self._taken.append({name: array.copy() for name, array in feeds.items()})
        return self._engine.infer(feeds)
