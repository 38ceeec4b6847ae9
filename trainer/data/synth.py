"""A synthetic corpus of any size in the layout of TAU Urban Audio-Visual Scenes 2021, with the gaps of the real one.

A clip's sound and picture depend only on the seed, its location and its number: a larger corpus contains the smaller
one, byte for byte in sound. `synth_sound` and `synth_picture` define what the scenes consist of.
"""

from __future__ import annotations

import json
import shutil
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.data.synth_picture import FRAME_RATE, draw_view, make_frames, write_video
from trainer.data.synth_sound import SAMPLE_RATE, draw_place, make_sound, to_pcm24
from trainer.data.tau_av_2021 import CITIES, EVALUATE_COUNTS, LABELS, SYNTHETIC, TRAIN_COUNTS
from trainer.errors import ConfigError, TrainerError

LICENCE = "CC0-1.0"
_CLIPS_A_LOCATION = 4
"""In training; the real corpus has 28."""
_LOCATIONS_A_CELL = 500
"""Location numbers reserved for each scene, city and fold."""
_BYTES_A_SECOND = 2 * 3 * SAMPLE_RATE + 20_000
"""Sound and picture per second, an estimate for checking free disk space."""


@dataclass(frozen=True, slots=True)
class SynthClip:
    """One clip to generate."""

    scene: str
    """Its scene."""
    city: str
    """Its city; cities differ in their locations only."""
    location: int
    """Number of its location; never shared with another scene, city or fold."""
    segment: int
    """Number of the clip in the corpus."""
    fold: str
    """"train" or "evaluate"."""

    @property
    def stem(self) -> str:
        """File name of its sound and its picture, without extension."""
        return f"{self.scene}-{self.city}-{self.location}-{self.segment}"


def write_corpus(
    out: Path,
    *,
    clips_per_cell: int = 2,
    seconds: float = 10.0,
    seed: int = 1,
    cities: Sequence[str] = CITIES,
    on_clip: Callable[[int, int], None] | None = None,
) -> Path:
    """Generate a corpus; it appears complete or not at all.

    Args:
        out: The new folder; `read_tau_av_2021` can read it.
        clips_per_cell: Training clips of each scene in each city where the real corpus has some; two fifths as many are
            added for evaluation, at other locations.
        seconds: Length of a clip; one in ten is a sample longer or shorter, as in the real corpus.
        seed: Determines everything random.
        cities: A subset of `CITIES`.
        on_clip: Called after each clip with the number of clips done and the total.

    Returns:
        `out`.

    Raises:
        ConfigError: `out` exists and is not an empty folder, an argument is invalid, or a scene has too few cities.
        TrainerError: It does not fit on the disk.
    """
    clips = plan_corpus(clips_per_cell, cities)
    if not 0.1 <= seconds <= 600:
        raise ConfigError(f"expected clips of 0.1 to 600 seconds, got {seconds:g}")
    if seed < 0:
        raise ConfigError(f"expected a seed of 0 or more, got {seed}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: expected a new folder, got something that is there already")
    out.parent.mkdir(parents=True, exist_ok=True)
    needed, free = round(len(clips) * seconds * _BYTES_A_SECOND), shutil.disk_usage(out.parent).free
    if needed > free:
        raise TrainerError(
            f"{out}: expected {needed / 1e9:.1f} GB free for {len(clips):,} clips, got {free / 1e9:.1f} GB; "
            "write fewer or shorter ones"
        )
    fresh = out.with_name(f".{out.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _write_lists(fresh, clips)
        for done, clip in enumerate(clips, start=1):
            _write_clip(fresh, clip, seconds, seed)
            if on_clip is not None:
                on_clip(done, len(clips))
        facts = {"licence": LICENCE, "clips_per_cell": clips_per_cell, "seconds": seconds, "seed": seed}
        (fresh / SYNTHETIC).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        fresh.replace(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return out


def plan_corpus(clips_per_cell: int, cities: Sequence[str] = CITIES) -> list[SynthClip]:
    """The clips of a corpus.

    Raises:
        ConfigError: See `write_corpus`.
    """
    most = _LOCATIONS_A_CELL * _CLIPS_A_LOCATION
    if not 1 <= clips_per_cell <= most:
        raise ConfigError(f"expected 1 to {most:,} clips a scene and city, got {clips_per_cell}")
    strange = [city for city in cities if city not in CITIES]
    if strange or not cities:
        raise ConfigError(f"expected some of the cities {', '.join(CITIES)}, got {', '.join(strange) or 'none'}")
    clips: list[SynthClip] = []
    for scene in LABELS:
        training = _plan_scene(scene, "train", clips_per_cell, cities)
        evaluation = _plan_scene(scene, "evaluate", max(1, round(0.4 * clips_per_cell)), cities)
        if len({clip.location for clip in training}) < 2 or not evaluation:
            raise ConfigError(
                f"expected {scene!r} at two locations to train on and one to evaluate, got fewer in {', '.join(cities)}"
                f" with {clips_per_cell} clips a cell; name more cities, or more clips"
            )
        clips += training + evaluation
    return clips


def _plan_scene(scene: str, fold: str, n_clips: int, cities: Sequence[str]) -> list[SynthClip]:
    """Clips of a scene in one fold, in each city where the real corpus has some, alternating between two locations."""
    counts = TRAIN_COUNTS if fold == "train" else EVALUATE_COUNTS
    clips = []
    for city in CITIES:
        position = CITIES.index(city)
        if city not in cities or not counts[scene][position]:
            continue
        cell = (LABELS.index(scene) * len(CITIES) + position) * 2 + (fold == "evaluate")
        for number in range(n_clips):
            location = cell * _LOCATIONS_A_CELL + 2 * (number // (2 * _CLIPS_A_LOCATION)) + number % 2
            segment = location * 10_000 + number
            clips.append(SynthClip(scene, city, location, segment, fold))
    return clips


def _write_lists(root: Path, clips: Sequence[SynthClip]) -> None:
    """Write meta.csv and the official fold's three lists, tab-separated."""
    for folder in ("audio", "video", "evaluation_setup"):
        (root / folder).mkdir(parents=True)
    files, label = ["filename_audio", "filename_video"], ["scene_label"]
    evaluation = [clip for clip in clips if clip.fold == "evaluate"]
    _write_list(root / "meta.csv", [*files, *label, "identifier"], clips)
    _write_list(
        root / "evaluation_setup/fold1_train.csv", files + label, [clip for clip in clips if clip.fold == "train"]
    )
    _write_list(root / "evaluation_setup/fold1_evaluate.csv", files + label, evaluation)
    _write_list(root / "evaluation_setup/fold1_test.csv", files, evaluation)


def _write_list(path: Path, columns: Sequence[str], clips: Sequence[SynthClip]) -> None:
    """Write one list."""
    lines = ["\t".join(columns)]
    for clip in clips:
        row = (f"audio/{clip.stem}.wav", f"video/{clip.stem}.mp4", clip.scene, f"{clip.city}-{clip.location}")
        lines.append("\t".join(row[: len(columns)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_clip(root: Path, clip: SynthClip, seconds: float, seed: int) -> None:
    """Write sound and picture of a clip."""
    place_rng = np.random.default_rng([seed, clip.location])
    clip_rng = np.random.default_rng([seed, clip.location, clip.segment])
    place, view = draw_place(clip.scene, place_rng), draw_view(clip.scene, place_rng)
    n_samples = round(seconds * SAMPLE_RATE) + int(clip_rng.choice((-1, 0, 1), p=(0.05, 0.9, 0.05)))
    with wave.open(str(root / f"audio/{clip.stem}.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(3)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(to_pcm24(make_sound(place, n_samples, clip_rng)))
    n_frames = max(1, round(seconds * FRAME_RATE))
    write_video(root / f"video/{clip.stem}.mp4", make_frames(view, n_frames, clip_rng))
