"""What a card says of training: what had an effect, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.config import load_config
from trainer.export.recipe import describe_recipe
from trainer.models.systems import find_system

CONFIGS = Path(__file__).parents[3] / "configs"


def said(name: str, *settings: str) -> str:
    config = load_config(CONFIGS / f"{name}.toml", settings)
    return "\n".join(describe_recipe(config, find_system(config)))


@pytest.mark.parametrize("name", ["se_crnn", "resnet_clip"])
def test_nothing_is_missing_in_training_without_presence_flags(name: str) -> None:
    assert "missing" not in said(name)
    assert "sound missing (15.0 %); picture missing (15.0 %)" in said("slim_av")


def test_a_published_recipe_is_said_as_it_is() -> None:
    assert said("se_crnn").splitlines() == [
        "Adam, plateau schedule, peak rate 0.0001, weight decay 0, label smoothing 0",
        "weights of the epoch of the lowest validation loss",
        "stage 1: scene.audio, by the answer audio; rate 0.001; batches of 32; mixup α = 0.4",
        "stage 2: scene.visual, by the answer video",
        "stage 3: scene.visual, encoder, by the answer video; rate 1e-06",
        "stage 4: scene.gru, scene.early, scene.late, by the answer fused",
        "stage 5: all of it, by the answer fused; rate 1e-06",
        "weights to begin with: `vgg16_places365.safetensors` for encoder",
        "in training, by chance: both channels made alike (20.0 %)",
    ]


def test_ours_averages_its_weights_and_masks_its_features() -> None:
    text = said("slim_av")
    assert "averaged weights (decay 0.99) of the epoch of the lowest validation loss" in text
    assert "two masks of up to 12 bands; two masks of up to 10 hops" in text
    assert "two masks of up to 48 hops" in said("resnet_audio")
    assert "impulse response" not in text
    assert "made alike" not in text


def test_what_a_network_does_not_take_is_not_changed() -> None:
    assert "MixStyle" not in said("wave", "augment.style_probability=0.5", "augment.band_mask=3")
    assert "MixStyle (50.0 %)" in said("cp_mobile", "augment.style_probability=0.5")
    assert "impulse response (60.0 %)" in said("cp_mobile", 'data.impulse_responses="mic_irs"')
    assert said("clip_probe").endswith("in training, by chance: nothing")


def test_a_teacher_and_a_hash_are_named() -> None:
    digest = "ab" * 32
    text = said("cp_mobile", 'train.distil.teacher="runs/teacher"', 'model.weights.stem.file="stem.pt"',
                f'model.weights.stem.sha256="{digest}"', "model.weights.stem.credit=by A, CC BY 4.0")  # fmt: skip
    assert "taught by `runs/teacher` (weight 0.5, temperature 2)" in text
    assert f"weights to begin with: `stem.pt` (SHA-256 {digest}) for stem (by A, CC BY 4.0)" in text


def test_a_file_that_several_parts_share_is_named_once() -> None:
    settings = [f'model.weights.{part}.file="ear/{{split}}.pt"' for part in ("stem", "blocks", "head")]
    text = said("cp_mobile", *settings, 'model.weights.head.credit="by A"')
    assert "weights to begin with: of each split, `ear/SPLIT.pt` for stem, blocks and head (by A)" in text
