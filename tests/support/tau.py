"""TAU layouts for tests: lists as the corpora write them and empty files in place of the recordings."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from trainer.data.tau_av_2021 import SYNTHETIC

AUDIO, VIDEO, LABEL = "filename_audio", "filename_video", "scene_label"


def write_table(path: Path, header: tuple[str, ...], rows: Iterable[tuple[str, ...]], end: str = "\n") -> None:
    """A tab-separated list with any line ending; an empty header is left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(line) for line in ([header] if header else []) + list(rows)]
    path.write_bytes((end.join(lines) + end).encode())


def write_av_layout(
    root: Path, train: Iterable[str], evaluate: Iterable[str], end: str = "\n", lists: Path | None = None
) -> Path:
    """Lists and empty media for clips by their stems; the counts of the real corpus are not expected of it."""
    meta = root if lists is None else lists
    for name, stems in (("train", list(train)), ("evaluate", list(evaluate))):
        rows = [(f"audio/{stem}.wav", f"video/{stem}.mp4", stem.split("-")[0]) for stem in stems]
        write_table(meta / f"evaluation_setup/fold1_{name}.csv", (AUDIO, VIDEO, LABEL), rows, end)
        for folder, suffix in (("audio", ".wav"), ("video", ".mp4")):
            (root / folder).mkdir(parents=True, exist_ok=True)
            for stem in stems:
                (root / folder / f"{stem}{suffix}").touch()
    (meta / SYNTHETIC).write_text('{"licence": "CC0-1.0"}', encoding="utf-8")
    return root


def small_fold(scenes: Iterable[str], city: str, first: int, n_locations: int, n_clips: int = 2) -> list[str]:
    """Stems of a few locations of each scene, numbered from `first` on."""
    stems = []
    location = first
    for scene in scenes:
        for _ in range(n_locations):
            stems += [f"{scene}-{city}-{location}-{100 * location + clip}" for clip in range(n_clips)]
            location += 1
    return stems


def official_stems(data: Path) -> tuple[list[str], list[str]]:
    """The clips of fold1_train and fold1_evaluate from the folder of test data."""
    train = []
    for name in ("baseline_train.csv", "baseline_val.csv"):
        with (data / "tau_av_2021" / name).open() as file:
            train += [Path(row[AUDIO]).stem for row in csv.DictReader(file)]
    with (data / "tau_av_2021/tunasoup_test.csv").open() as file:
        evaluate = [row["file_name"].removesuffix("-a") for row in csv.DictReader(file)]
    return train, evaluate
