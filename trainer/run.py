"""A run on recordings: a folder with one network per split, its held-out predictions, and the report on them.

    runs/slim-audio/  config.json  recordings.json  report.json
                      fold-0/ … source-moodist/ … final/   checkpoint.pt  log.csv  predictions.npz  baseline.npz

Every file is written atomically; an interrupted run resumes where it stopped.
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
    """A recording as listed in a run's recordings.json."""

    file: str
    """Path as given in the list."""
    label: str
    """Its scene, or the `none` label."""
    group: str
    """Group of recordings that is never divided between training and evaluation."""
    source: str
    """Source of the recording."""
    confidence: str
    """How certain the label is."""
    licence: str
    """Licence terms."""
    sha256: str
    """SHA-256 of the file."""
    seconds: float
    """Length in seconds."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """One network's predictions on recordings it was not trained on."""

    logits: NDArray[np.float32]
    """[n_windows, n_labels], ordered by recording and time."""
    recordings: NDArray[np.int64]
    """[n_windows] index of each window's recording in the run's list."""


@dataclass(frozen=True, slots=True)
class Run:
    """An open run folder."""

    folder: Path
    """Path of the run folder."""
    config: Config
    """The configuration the run was started with."""
    labels: tuple[str, ...]
    """Scenes, in the order of the logits."""
    entries: tuple[Entry, ...]
    """The recordings trained on, followed by those of none of the scenes."""
    splits: tuple[Split, ...]
    """Folds, held-out sources, and the final network trained on everything."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """[n_recordings] index of each recording's scene; −1 for none of the scenes."""
        return np.array([self.labels.index(e.label) if e.label in self.labels else -1 for e in self.entries], np.int64)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The configured scene groups, restricted to trained scenes; groups left empty are dropped."""
        groups = sorted(self.config.data.groups.items())
        pairs = ((group, tuple(label for label in members if label in self.labels)) for group, members in groups)
        return {group: members for group, members in pairs if members}

    def predictions(self, split: Split, name: str = PREDICTIONS) -> Predictions:
        """The predictions of one split's network, or of its baseline.

        Raises:
            RunError: They are missing or unreadable: the split has not been trained yet.
        """
        path = self.folder / split.name / name
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return Predictions(arrays["logits"], arrays["recordings"])
        except UNREADABLE_ARRAYS:
            raise RunError(f"{path}: expected held-out answers, got none; {_RESUME}") from None


def start_run(folder: Path, config: Config, corpus: Corpus, lengths: Sequence[float], splits: Sequence[Split]) -> Run:
    """Create a run folder, or reopen an existing one to resume it.

    Args:
        folder: Path of the run folder.
        config: The configuration.
        corpus: The recordings.
        lengths: Length of each recording in seconds, those of none of the scenes last.
        splits: What each network is trained on and what is held out, in order.

    Raises:
        RunError: The folder holds a run with another configuration or other recordings.
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
    """Open an existing run folder.

    Raises:
        RunError: The folder does not hold a valid run.
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
    """The folder in `root` with the most recent report.

    Raises:
        RunError: No folder has a report.
    """
    reports = sorted(root.glob(f"*/{REPORT}"), key=lambda path: path.stat().st_mtime)
    if not reports:
        raise RunError(f"{root}: expected a finished run, got none; {_BEGIN}")
    return reports[-1].parent


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions in the format that `Run.predictions` reads."""
    write_whole(path, lambda file: np.savez(file, logits=predictions.logits, recordings=predictions.recordings))


def _entry(item: Recording, seconds: float) -> Entry:
    """The entry of a recording, with its hash and length."""
    hashed = item.sha256()
    return Entry(
        item.file, item.label, item.group, item.source, item.confidence, item.licence, hashed, round(seconds, 3)
    )
