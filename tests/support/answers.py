"""Runs on prepared clips as training leaves them, with invented answers: what the report is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from support.bundles import LABELS

from trainer.clip_run import ClipEntry, ClipRun, answers_path, start_clip_run
from trainer.config import parse_config
from trainer.evaluate.answers import Answers, save_answers

GROUPS = {
    "indoor": ["airport", "metro_station", "shopping_mall"],
    "outdoor": ["park", "public_square", "street_pedestrian", "street_traffic"],
    "transportation": ["bus", "metro", "tram"],
}
CITIES = ("lyon", "oslo", "paris", "prague")
_SPLIT_OF = {"lyon": "train", "oslo": "validation", "paris": "calibration", "prague": "evaluate"}
_LOGMEL = {
    "kind": "logmel",
    "n_fft": 1024,
    "window_length": 1024,
    "hop_length": 480,
    "n_mels": 64,
    "f_min": 0.0,
    "f_max": 12_000.0,
}


def run_config(**tables: Any) -> dict[str, Any]:
    """A configuration of a run on prepared clips, as parsed TOML."""
    config: dict[str, Any] = {
        "name": "invented",
        "data": {"prepared": "prepared", "groups": GROUPS},
        "audio": {"sample_rate": 24_000, "channels": "mono", "feature": _LOGMEL},
        "window": {"seconds": 1.0, "default_step_seconds": 0.5},
    }
    return config | tables


def clip_entries(
    labels: Sequence[str] = LABELS,
    *,
    locations: int = 2,
    clips: int = 2,
    seconds: float = 4.0,
    cities: Mapping[str, str] = _SPLIT_OF,
    devices: Sequence[str] = ("",),
) -> tuple[ClipEntry, ...]:
    """Clips of every label in every city, whose split is the city's; devices take turns."""
    entries: list[ClipEntry] = []
    for city, split in cities.items():
        for label in labels:
            for location in range(locations):
                for _ in range(clips):
                    n = len(entries)
                    key = f"{label}-{city}-{100 + location}-{n}"
                    place = f"{label}{location}"
                    entries.append(ClipEntry(key, label, city, place, devices[n % len(devices)], split, seconds))
    return tuple(entries)


def invent_answers(
    entries: Sequence[ClipEntry],
    split: str,
    labels: Sequence[str] = LABELS,
    *,
    skill: Mapping[str, float] | None = None,
    overconfidence: float = 2.0,
    seed: int = 0,
) -> Answers:
    """Logits of the clips of a split, a row a second.

    Args:
        entries: All clips.
        split: Whose are answered.
        labels: In order of the logits.
        skill: How far the right scene stands out, a condition.
        overconfidence: The temperature that would make the logits right.
        seed: Everything random follows from it.
    """
    rng = np.random.default_rng(seed)
    numbers = [index for index, entry in enumerate(entries) if entry.split == split]
    clips = np.repeat(np.array(numbers, np.int64), [int(entries[index].seconds) for index in numbers])
    targets = np.array([list(labels).index(entries[index].label) for index in clips], np.int64)
    places = np.unique([f"{entries[index].city}-{entries[index].location}" for index in clips], return_inverse=True)[1]
    logits = {}
    for condition, lead in (skill or {"whole": 3.0, "audio": 1.5, "video": 2.5}).items():
        values = rng.standard_normal((len(clips), len(labels)))
        values += 0.7 * rng.standard_normal((int(places.max()) + 1, len(labels)))[places]  # a place errs as one
        values[np.arange(len(clips)), targets] += lead
        logits[condition] = (overconfidence * lead * values).astype(np.float32)
    return Answers(clips, logits)


def write_run(
    folder: Path,
    labels: Sequence[str] = LABELS,
    *,
    entries: Sequence[ClipEntry] | None = None,
    config: Mapping[str, Any] | None = None,
    **options: Any,
) -> ClipRun:
    """A finished run; `options` are those of `invent_answers`."""
    entries = clip_entries(labels) if entries is None else tuple(entries)
    parsed = parse_config(run_config() if config is None else config)
    run = start_clip_run(folder, parsed, labels, entries, "invented scenes", "CC0-1.0")
    splits = {entry.split for entry in entries}
    for seed, (which, split) in enumerate(
        (("validation", "validation"), ("calibration", "calibration"), ("evaluation", "evaluate"))
    ):
        chosen = split if split in splits else "validation"
        save_answers(answers_path(folder, which), invent_answers(entries, chosen, labels, seed=seed, **options))
    return run


def read_report(folder: Path) -> dict[str, Any]:
    """What the report of a run says."""
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report
