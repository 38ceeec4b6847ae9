"""TUT and TAU Urban Acoustic Scenes 2018 … 2022, mobile or not: sound only, tab-separated lists, device in file names.

    TAU-urban-acoustic-scenes-2022-mobile-development/
      audio/SCENE-CITY-LOCATION-SEGMENT[-CUT]-DEVICE.wav  meta.csv
      evaluation_setup/fold1_train.csv  fold1_evaluate.csv

The lists of 2018 have the extension .txt and no header. meta.csv repeats the lists and is not needed.
"""

from __future__ import annotations

from pathlib import Path

from trainer.data.clips import EVALUATE, TRAIN, Clip, Corpus, hold_out_locations
from trainer.data.lists import check_label, check_media, parse_name, read_rows
from trainer.data.tau_av_2021 import LABELS, LICENCE
from trainer.errors import DataError

_SETUP = "evaluation_setup"
_ADVICE = "unpack every audio archive into the same folder, or go on without them: --allow-partial"


def read_tau_audio(
    root: Path,
    *,
    devices: frozenset[str] | None = None,
    allow_partial: bool = False,
    train_share: float = 0.9,
    seed: int = 30,
) -> Corpus:
    """Read a corpus: its training fold divided into "train" and "validation" by location, the other fold as "evaluate".

    Args:
        root: The folder that contains `evaluation_setup`, or its parent.
        devices: Letters of the devices to keep ("a", "b", "c", "s1" …); None keeps all.
        allow_partial: Whether clips without their files are left out instead of being an error.
        train_share: Fraction of each scene to train on.
        seed: Seed of the draw of locations.

    Raises:
        DataError: The lists are missing, invalid or leak between splits; or files are missing, all in one message.
    """
    base = _find_base(root)
    training = _read_fold(base, "train", TRAIN, devices)
    evaluation = _read_fold(base, "evaluate", EVALUATE, devices)
    clips = [*hold_out_locations(training, train_share, seed), *evaluation]
    clips, remarks = check_media(base, clips, _ADVICE, allow_partial=allow_partial)
    labels = sorted({clip.scene_label for clip in clips if clip.split == TRAIN}) if allow_partial else LABELS
    clips = [clip for clip in clips if clip.scene_label in labels]
    return Corpus("TAU Urban Acoustic Scenes", base, tuple(labels), tuple(clips), LICENCE, tuple(remarks))


def _find_base(root: Path) -> Path:
    """The folder with the lists: `root`, or the only folder in it that has some."""
    below = [entry for entry in sorted(root.iterdir()) if (entry / _SETUP).is_dir()] if root.is_dir() else []
    if (root / _SETUP).is_dir():
        return root
    if len(below) != 1:
        got = ", ".join(entry.name for entry in below) or "none"
        raise DataError(f"{root}: expected {_SETUP}/ in it, or in one folder below it, got {got}")
    return below[0]


def _read_fold(base: Path, name: str, split: str, devices: frozenset[str] | None) -> list[Clip]:
    """The clips in one list that were recorded by the selected devices."""
    path = next((path for path in base.glob(f"{_SETUP}/fold1_{name}.*") if path.suffix in (".csv", ".txt")), None)
    if path is None:
        raise DataError(
            f"{base}: expected {_SETUP}/fold1_{name}.csv or .txt, got neither; unpack the archive ….meta.zip"
        )
    clips = []
    for row in read_rows(path, ("filename", "scene_label"), headless=True):
        named = parse_name(row["filename"], row.where)
        check_label(named, row["scene_label"], LABELS, row.where)
        if devices is None or named.device in devices:
            audio = base / row["filename"]
            clip = Clip(audio, None, named.scene_label, named.city, named.location, named.segment, split, named.device)
            clips.append(clip)
    if not clips:
        raise DataError(f"{path}: expected clips of the devices {', '.join(sorted(devices or ()))}, got none")
    return clips
