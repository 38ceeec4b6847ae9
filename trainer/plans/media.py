"""Recordings as the runtime meets them: which files there are, their labels, their windows, what graphs are fed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from ascstream.classifier import Classifier
from ascstream.errors import SourceError
from ascstream.pipeline import require_input
from ascstream.records import StreamEvent, Window
from ascstream.sources.base import Source
from ascstream.sources.inputs import expand_inputs
from ascstream.sources.media import open_media
from ascstream.windows import Windower
from engines.backends import Engines
from engines.base import Array, Engine
from engines.bundle import Bundle
from engines.manifest import FRAME_GRAPH, GraphName
from trainer.config import DataConfig
from trainer.data.corpora import LABELS
from trainer.data.recordings import load_corpus
from trainer.errors import DataError

_LISTS = (".csv",)
N_RANGES = 256
"""Windows that ranges of int8 are measured on, at most: what `trainer export` takes of a small network."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One recording."""

    path: str
    """Where it lies."""
    label: str | None
    """Its scene, if that is known and one of the bundle's."""


def find_media(data: Path, labels: Sequence[str]) -> tuple[Labelled, ...]:
    """The recordings that a user points to.

    Args:
        data: A file; a CSV with `file,scene_label`, or a folder that holds it as `labels.csv`; or a folder, whose files
            are labelled by the nearest folder above them that bears a label's name.
        labels: The bundle's.

    Raises:
        DataError: A CSV cannot be read, or names files that are not there.
        SourceNotFoundError: There is nothing at `data`, or no media in it.
    """
    known = set(labels)
    listed = data / LABELS if data.is_dir() else data
    if listed.suffix.lower() in _LISTS and listed.is_file():
        corpus = load_corpus(listed.parent, DataConfig(labels=listed.name, min_recordings=1))
        rows = [*corpus.recordings, *corpus.none, *corpus.left_out]
        return tuple(Labelled(str(row.path), row.label if row.label in known else None) for row in rows)
    found = []
    for name in expand_inputs([data]):
        above = Path(name).relative_to(data).parts[:-1] if data.is_dir() else ()
        found.append(Labelled(name, next((part for part in reversed(above) if part in known), None)))
    return tuple(found)


def windows_of(classifier: Classifier, where: str, step: Fraction) -> Iterator[Window]:
    """The windows of a recording, as `ascstream file` cuts them.

    Args:
        classifier: Whose windows.
        where: The recording.
        step: Between two windows, in seconds.

    Raises:
        SourceError: It gives nothing that the bundle perceives, or breaks off.
    """
    with open_media(where) as source:
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
        self, bundle: Bundle, engines: Engines, media: Sequence[Labelled], say: Callable[[str], None], n: int = N_RANGES
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
        for entry in self._media:
            classifier.reset()
            try:
                for window in self._some_windows(classifier, entry.path):
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

    def _some_windows(self, classifier: Classifier, where: str) -> Iterator[Window]:
        """Windows of a recording without overlap, evenly spread as far as its length is known."""
        seconds = Fraction(str(classifier.manifest.window.seconds))
        with open_media(where) as source:
            n_windows = int((source.info.duration_seconds or 0) / seconds)
        every = max(1, n_windows // self._per_file)
        given = 0
        for index, window in enumerate(windows_of(classifier, where, seconds)):
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
