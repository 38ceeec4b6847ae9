"""A run on prepared clips: a folder with one network, what it said of clips it never saw, and the report made of that.

    runs/slim-av/  config.json  clips.json  report.json …
                   network/  checkpoint.pt  log.csv  curves.png  validation.npz  calibration.npz  evaluation.npz

Every file appears whole; a run that was stopped goes on where it was. Runs on recordings are `trainer.run`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.schema import encode
from trainer.config import Config, parse_config
from trainer.data.clips import EVALUATE, NONE, VALIDATION, place_name
from trainer.data.divide import CALIBRATION as CALIBRATION
from trainer.errors import ConfigError, RunError
from trainer.evaluate.answers import Answers, load_answers
from trainer.run import CONFIG
from trainer.run_folder import start_folder

CLIPS = "clips.json"
NETWORK = "network"
EVALUATION = "evaluation"
SETS: Mapping[str, str] = {VALIDATION: VALIDATION, CALIBRATION: CALIBRATION, EVALUATION: EVALUATE}
"""Name of a set of answers to the split of its clips; where none are for calibration, those of validation serve."""
_BEGIN = "make one with: trainer fit CONFIG"


@dataclass(frozen=True, slots=True)
class ClipEntry:
    """A clip as a run remembers it."""

    key: str
    """Its name in the prepared corpus."""
    label: str
    """Its scene."""
    city: str
    """Where it was recorded; "" where the corpus does not say."""
    location: str
    """The place: what no two splits share."""
    device: str
    """What recorded it; "" where the corpus does not say."""
    split: str
    """"train", "validation", "calibration" or "evaluate"; "none" or "none evaluate" of clips of none of the scenes."""
    seconds: float
    """Length."""

    @property
    def place(self) -> str:
        """What no two splits may share; see `place_name`."""
        return place_name(self.city, self.location)


@dataclass(frozen=True, slots=True)
class ClipRun:
    """A run folder, opened."""

    folder: Path
    """Where it lies."""
    config: Config
    """What it was asked to do."""
    labels: tuple[str, ...]
    """Scenes, in order of the logits."""
    clips: tuple[ClipEntry, ...]
    """Every clip, in the order of the prepared corpus."""
    corpus: str
    """What cards call the corpus."""
    licence: str
    """Its terms, in a sentence."""

    @property
    def network(self) -> Path:
        """The folder of checkpoint and answers."""
        return self.folder / NETWORK

    @property
    def targets(self) -> NDArray[np.int64]:
        """[n_clips] position of each clip's scene; −1 where it is none of them."""
        position = {label: index for index, label in enumerate(self.labels)}
        return np.array([position.get(clip.label, -1) for clip in self.clips], np.int64)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The configured groups, as far as their scenes are trained."""
        groups = sorted(self.config.data.groups.items())
        pairs = ((group, tuple(label for label in members if label in self.labels)) for group, members in groups)
        return {group: members for group, members in pairs if members}

    def numbers(self, split: str) -> list[int]:
        """Positions of the clips of a split."""
        return [number for number, clip in enumerate(self.clips) if clip.split == split]

    def answers(self, which: str) -> Answers:
        """What the network said of a set of clips: "validation", "calibration" or "evaluation".

        Raises:
            RunError: It is not trained yet.
        """
        return load_answers(answers_path(self.folder, which))


def answers_path(folder: Path, which: str) -> Path:
    """Where a run keeps one set of answers."""
    return folder / NETWORK / f"{which}.npz"


def is_clip_run(folder: Path) -> bool:
    """Whether a folder holds a run on prepared clips."""
    return (folder / CLIPS).is_file()


def start_clip_run(
    folder: Path, config: Config, labels: Sequence[str], clips: Sequence[ClipEntry], corpus: str, licence: str
) -> ClipRun:
    """Make a run's folder, or open it to go on.

    Raises:
        RunError: There is one of another configuration or of other clips; the message says what differs.
    """
    known = {"corpus": corpus, "licence": licence, "labels": list(labels), "clips": [asdict(clip) for clip in clips]}
    start_folder(folder, {CONFIG: encode(config), CLIPS: known})
    return open_clip_run(folder)


def open_clip_run(folder: Path) -> ClipRun:
    """Open a run's folder.

    Raises:
        RunError: It is none.
    """
    try:
        config = parse_config(json.loads((folder / CONFIG).read_text(encoding="utf-8")), str(folder / CONFIG))
        known = json.loads((folder / CLIPS).read_text(encoding="utf-8"))
        clips = tuple(ClipEntry(**clip) for clip in known["clips"])
        run = ClipRun(folder, config, tuple(known["labels"]), clips, str(known["corpus"]), str(known["licence"]))
        odd = sorted({str(clip.label) for clip in clips} - {*run.labels, NONE})
    except OSError as error:
        raise RunError(f"{folder}: expected a run, got: {error.strerror}; {_BEGIN}") from None
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise RunError(f"{folder}: expected a run, got a broken one ({error}); {_BEGIN}") from None
    if odd:
        raise RunError(f"{folder / CLIPS}: expected scenes among its labels, got {odd[0]!r}; {_BEGIN}")
    return run
