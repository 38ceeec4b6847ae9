"""A small prepared corpus of sound alone: the three scenes of `support.corpus`, four cities, an official split."""

from __future__ import annotations

from pathlib import Path

from support.corpus import CONFIG, SCENES, scene_samples, write_list, write_wav

from trainer.config import Config, load_config
from trainer.data.corpora import open_corpus
from trainer.data.prepare import prepare_corpus
from trainer.data.settings import settings_for

CITIES = ("lyon", "paris", "prague", "vienna")
_HEAD = ("file", "scene_label", "city", "location", "split")


def write_listed(folder: Path, seconds: float = 2.0) -> Path:
    """Recordings of every scene at three places in every city, one of them to report on, and their list."""
    rows = []
    for scene in SCENES:
        for city in CITIES:
            for place in range(3):
                file = f"{city}/{scene}-{place}.wav"
                seed = 100 * CITIES.index(city) + place
                write_wav(folder / file, scene_samples(scene, seconds, seed))
                rows.append((file, scene, city, f"{scene}{place}", "evaluate" if place == 2 else "train"))
    write_list(folder / "labels.csv", rows, _HEAD)
    return folder / "labels.csv"


def quick_config(path: Path, *settings: str) -> Config:
    """A configuration that trains on `ROOT/prepared` for seconds."""
    path.write_text(CONFIG.replace('labels = "labels.csv"', 'prepared = "prepared"'), encoding="utf-8")
    return load_config(path, settings)


def prepare_listed(root: Path, config: Config, seconds: float = 2.0) -> Path:
    """`ROOT/prepared`, decoded by one process."""
    corpus = open_corpus(write_listed(root / "recordings", seconds))
    prepare_corpus(corpus, root / "prepared", settings_for(config.inputs), n_workers=1)
    return root / "prepared"
