"""From still pictures to a bundle: prepared, trained on with pictures of no scene beside, reported, exported, run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ascstream.classifier import Classifier
from trainer.clip_run import open_clip_run
from trainer.config import load_config
from trainer.data.corpora import open_corpus
from trainer.data.labelled import read_labelled
from trainer.data.prepare import prepare_corpus
from trainer.data.settings import settings_for
from trainer.evaluate.streamed import evaluate_streamed
from trainer.export.bundle import export_run
from trainer.fit.clips import fit_clips

CONFIG = Path(__file__).parents[2] / "configs/slim_visual.toml"
COLOURS = {"bus": (200, 40, 40), "park": (40, 180, 60), "tram": (50, 70, 200), "none": (120, 120, 120)}
SMALL = ("video.width=32", "video.height=32", "train.epochs=2", "train.windows_per_epoch=128", "train.batch_size=32")


def write_pictures(root: Path, n: int = 15) -> Path:
    """Pictures of a colour a scene, and grey ones of none; noise in all of them."""
    rng = np.random.default_rng(0)
    rows = ["file,scene_label"]
    for label, colour in COLOURS.items():
        (root / label).mkdir(parents=True)
        for number in range(n):
            pixels = np.clip(np.array(colour) + rng.normal(0, 25, (40, 50, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number}.jpg")
            rows.append(f"{label}/{number}.jpg,{label}")
    (root / "labels.csv").write_text("\n".join(rows))
    return root


@pytest.mark.slow
def test_pictures_become_a_bundle_that_sees(tmp_path: Path) -> None:
    corpus = open_corpus(write_pictures(tmp_path / "pictures"))
    config = load_config(CONFIG, [*SMALL, "data.prepared=data", "train.learning_rate=5e-3", "augment.mixup=0"])
    prepared = prepare_corpus(corpus, tmp_path / "data", settings_for(config.inputs), n_workers=1)
    assert prepared.labels == ("bus", "park", "tram")
    assert [clip.seconds for clip in prepared.clips] == [1.0] * 60
    run = fit_clips(tmp_path / "run", config, tmp_path)
    assert run is not None
    again = open_clip_run(tmp_path / "run")
    splits = {clip.split for clip in again.clips if clip.label == "none"}
    assert splits == {"none", "none evaluate"}
    assert (again.targets == -1).sum() == 15
    bundle = export_run(run, tmp_path / "bundle", tmp_path).bundle
    assert bundle.manifest.labels == ("bus", "park", "tram")
    with Classifier.load(tmp_path / "bundle", backend="onnxruntime") as classifier:
        done = evaluate_streamed(classifier, read_labelled(tmp_path / "pictures", classifier.manifest.labels))
    assert done.failures == ()
    assert done.report["n_segments"] == 45
    assert done.report["conditions"]["whole"]["calibrated"]["accuracy"] > 0.6
    assert done.report["decided"]["none"]["n_windows"] == 15
