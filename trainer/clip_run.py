"""A run on prepared clips: a folder with one network, its predictions on unseen clips, and the report on those.

    runs/slim-av/  config.json  clips.json  report.json …
                   network/  checkpoint.pt  log.csv  curves.png  validation.npz  calibration.npz  evaluation.npz

Every file is written atomically; an interrupted run resumes where it stopped. For runs on recordings see `trainer.run`.
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
"""Maps each set of answers to the split its clips come from; without calibration clips, validation clips are used."""
_BEGIN = "make one with: trainer fit CONFIG"


@dataclass(frozen=True, slots=True)
class ClipEntry:
    """A clip as recorded in a run's clips.json."""

    key: str
    """Its name in the prepared corpus."""
    label: str
    """Its scene label."""
    city: str
    """City of the recording; "" if the corpus does not say."""
    location: str
    """The place within the city: clips of one place are never divided between splits."""
    device: str
    """Recording device; "" if the corpus does not say."""
    split: str
    """"train", "validation", "calibration" or "evaluate"; for clips of none of the scenes "none" or "none evaluate"."""
    seconds: float
    """Length in seconds."""

    @property
    def place(self) -> str:
        """City and location, which no two splits may share; see `place_name`."""
        return place_name(self.city, self.location)


@dataclass(frozen=True, slots=True)
class ClipRun:
    """An open run folder."""

    folder: Path
    """Path of the run folder."""
    config: Config
    """The configuration the run was started with."""
    labels: tuple[str, ...]
    """Scenes, in the order of the logits."""
    clips: tuple[ClipEntry, ...]
    """All clips, in the order of the prepared corpus."""
    corpus: str
    """Name of the corpus, for model cards."""
    licence: str
    """Licence terms of the corpus, in one sentence."""

    @property
    def network(self) -> Path:
        """The folder that holds the checkpoint and the answers."""
        return self.folder / NETWORK

    @property
    def targets(self) -> NDArray[np.int64]:
        """[n_clips] index of each clip's scene; −1 for none of the scenes."""
        position = {label: index for index, label in enumerate(self.labels)}
        return np.array([position.get(clip.label, -1) for clip in self.clips], np.int64)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The configured scene groups, restricted to trained scenes; groups left empty are dropped."""
        groups = sorted(self.config.data.groups.items())
        pairs = ((group, tuple(label for label in members if label in self.labels)) for group, members in groups)
        return {group: members for group, members in pairs if members}

    def numbers(self, split: str) -> list[int]:
        """Indices of the clips of a split."""
        return [number for number, clip in enumerate(self.clips) if clip.split == split]

    def answers(self, which: str) -> Answers:
        """The network's answers on one set of clips: "validation", "calibration" or "evaluation".

        Raises:
            RunError: The network has not been trained yet.
        """
        return load_answers(answers_path(self.folder, which))


def answers_path(folder: Path, which: str) -> Path:
    """Path of the file in which a run keeps one set of answers."""
    return folder / NETWORK / f"{which}.npz"


def is_clip_run(folder: Path) -> bool:
    """Whether a folder holds a run on prepared clips."""
    return (folder / CLIPS).is_file()


def start_clip_run(
    folder: Path, config: Config, labels: Sequence[str], clips: Sequence[ClipEntry], corpus: str, licence: str
) -> ClipRun:
    """Create a run folder, or reopen an existing one to resume it.

    Raises:
        RunError: The folder holds a run with another configuration or other clips; the message lists the differences.
    """
    known = {"corpus": corpus, "licence": licence, "labels": list(labels), "clips": [asdict(clip) for clip in clips]}
    start_folder(folder, {CONFIG: encode(config), CLIPS: known})
    return open_clip_run(folder)


def open_clip_run(folder: Path) -> ClipRun:
    """Open an existing run folder.

    Raises:
        RunError: The folder does not hold a valid run.
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
