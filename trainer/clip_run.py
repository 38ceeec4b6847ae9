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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.config import MACHINE_KEYS, Config, config_to_json, parse_config
from trainer.data.clips import EVALUATE, VALIDATION, first_few
from trainer.data.divide import CALIBRATION as CALIBRATION
from trainer.errors import ConfigError, RunError
from trainer.evaluate.answers import Answers, load_answers
from trainer.run import CONFIG, write_text

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
    """"train", "validation", "calibration" or "evaluate"."""
    seconds: float
    """Length."""


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
        """[n_clips] position of each clip's scene."""
        return np.array([self.labels.index(clip.label) for clip in self.clips], np.int64)

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
    text = json.dumps(known, indent=1, ensure_ascii=False) + "\n"
    for name, content in ((CONFIG, config_to_json(config)), (CLIPS, text)):
        check_same(folder / name, content)
    for name, content in ((CONFIG, config_to_json(config)), (CLIPS, text)):
        if not (folder / name).exists():
            write_text(folder / name, content)
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
        odd = sorted({str(clip.label) for clip in clips} - set(run.labels))
    except OSError as error:
        raise RunError(f"{folder}: expected a run, got: {error.strerror}; {_BEGIN}") from None
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise RunError(f"{folder}: expected a run, got a broken one ({error}); {_BEGIN}") from None
    if odd:
        raise RunError(f"{folder / CLIPS}: expected scenes among its labels, got {odd[0]!r}; {_BEGIN}")
    return run


def check_same(path: Path, content: str) -> None:
    """Refuse to go on with a run of something else.

    Args:
        path: A JSON file of the run; nothing is said where there is none.
        content: What it has to say.

    Raises:
        RunError: It says something else; the message names the keys that differ.
    """
    if not path.exists():
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: expected JSON, got something else ({error}); choose a new folder with --out") from None
    different = _differences(there, json.loads(content))
    if different:
        raise RunError(
            f"{path}: expected the same as now to go on, got another: {first_few(different)}; "
            "choose a new folder with --out"
        )


def _differences(there: Any, now: Any, key: str = "") -> list[str]:
    """Every key whose value differs, with both; the machine's keys are not looked at."""
    if key in MACHINE_KEYS:
        return []
    if isinstance(there, dict) and isinstance(now, dict):
        names = [*now, *(name for name in there if name not in now)]
        return [
            line
            for name in names
            for line in _differences(there.get(name), now.get(name), f"{key}.{name}" if key else str(name))
        ]
    if isinstance(there, list) and isinstance(now, list) and any(isinstance(item, dict) for item in now):
        if len(there) != len(now):
            return [f"{len(there):,} {key} there, {len(now):,} now"]
        pairs = enumerate(zip(there, now, strict=True))
        return [line for index, (old, new) in pairs for line in _differences(old, new, f"{key}[{index}]")]
    return [] if there == now else [f"{key} is {_shown(there)} there, {_shown(now)} now"]


def _shown(value: Any) -> str:
    """A value, cut short."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
