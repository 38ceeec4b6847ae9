"""A run: a folder with one network a split, its held-out answers, and the report made of them.

    runs/slim-audio/  config.json  recordings.json  report.json
                      fold-0/ … source-moodist/ … final/   checkpoint.pt  log.csv  predictions.npz  baseline.npz

Every file appears whole; a run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.schema import encode
from trainer.config import Config, parse_config
from trainer.data.recordings import Corpus, Recording
from trainer.data.splits import Split
from trainer.errors import RunError
from trainer.files import UNREADABLE_ARRAYS, write_whole
from trainer.run_folder import start_folder

CONFIG, RECORDINGS, REPORT = "config.json", "recordings.json", "report.json"
PREDICTIONS, BASELINE = "predictions.npz", "baseline.npz"
FINAL = "final"
_RESUME = "go on with: trainer fit CONFIG --resume"
_BEGIN = "make one with: trainer fit CONFIG"


@dataclass(frozen=True, slots=True)
class Entry:
    """A recording as a run remembers it."""

    file: str
    """Path as the list names it."""
    label: str
    """Its scene, or the `none` label."""
    group: str
    """What is never split."""
    source: str
    """Where it comes from."""
    confidence: str
    """How sure the label is."""
    licence: str
    """Its terms."""
    sha256: str
    """Hash of the file."""
    seconds: float
    """Length."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What one network said of recordings it never heard."""

    logits: NDArray[np.float32]
    """[n_windows, n_labels], in order of recordings and of time."""
    recordings: NDArray[np.int64]
    """[n_windows] position of each window's recording in the run's list."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder, opened."""

    folder: Path
    """Where it lies."""
    config: Config
    """What it was asked to do."""
    labels: tuple[str, ...]
    """Scenes, in order of the logits."""
    entries: tuple[Entry, ...]
    """Recordings that are trained on, then those of none of the scenes."""
    splits: tuple[Split, ...]
    """Folds, held-out sources, and the final network on everything."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """[n_recordings] position of each recording's scene; −1 for none of them."""
        return np.array([self.labels.index(e.label) if e.label in self.labels else -1 for e in self.entries], np.int64)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The configured groups, as far as their scenes are trained."""
        groups = sorted(self.config.data.groups.items())
        pairs = ((group, tuple(label for label in members if label in self.labels)) for group, members in groups)
        return {group: members for group, members in pairs if members}

    def predictions(self, split: Split, name: str = PREDICTIONS) -> Predictions:
        """The answers of one split's network, or of its baseline.

        Raises:
            RunError: It is not trained yet.
        """
        path = self.folder / split.name / name
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return Predictions(arrays["logits"], arrays["recordings"])
        except UNREADABLE_ARRAYS:
            raise RunError(f"{path}: expected held-out answers, got none; {_RESUME}") from None


def start_run(folder: Path, config: Config, corpus: Corpus, lengths: Sequence[float], splits: Sequence[Split]) -> Run:
    """Make a run's folder, or open it to go on.

    Args:
        folder: Where.
        config: What to do.
        corpus: Recordings.
        lengths: Seconds of each recording, those of none of the scenes last.
        splits: What is trained and held out, in order.

    Raises:
        RunError: There is one of another configuration or other recordings.
    """
    recordings = (*corpus.recordings, *corpus.none)
    known = {
        "labels": list(corpus.labels),
        "recordings": [asdict(_entry(item, seconds)) for item, seconds in zip(recordings, lengths, strict=True)],
        "splits": [{"name": split.name, "train": list(split.train), "test": list(split.test)} for split in splits],
    }
    start_folder(folder, {CONFIG: encode(config), RECORDINGS: known})
    return open_run(folder)


def open_run(folder: Path) -> Run:
    """Open a run's folder.

    Raises:
        RunError: It is none.
    """
    try:
        config = parse_config(json.loads((folder / CONFIG).read_text(encoding="utf-8")), str(folder / CONFIG))
        known = json.loads((folder / RECORDINGS).read_text(encoding="utf-8"))
        entries = tuple(Entry(**entry) for entry in known["recordings"])
        splits = tuple(Split(s["name"], tuple(s["train"]), tuple(s["test"])) for s in known["splits"])
        return Run(folder, config, tuple(known["labels"]), entries, splits)
    except OSError as error:
        raise RunError(f"{folder}: expected a run, got: {error.strerror}; {_BEGIN}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder}: expected a run, got a broken one ({error}); {_BEGIN}") from None


def newest_run(root: Path) -> Path:
    """The folder in `root` whose report is the newest.

    Raises:
        RunError: None has a report.
    """
    reports = sorted(root.glob(f"*/{REPORT}"), key=lambda path: path.stat().st_mtime)
    if not reports:
        raise RunError(f"{root}: expected a finished run, got none; {_BEGIN}")
    return reports[-1].parent


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Write what `Run.predictions` reads."""
    write_whole(path, lambda file: np.savez(file, logits=predictions.logits, recordings=predictions.recordings))


def _entry(item: Recording, seconds: float) -> Entry:
    """A recording with its hash and length."""
    hashed = item.sha256()
    return Entry(
        item.file, item.label, item.group, item.source, item.confidence, item.licence, hashed, round(seconds, 3)
    )
