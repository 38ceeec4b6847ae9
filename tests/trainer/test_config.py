"""A configuration says which key is wrong, and what it may have been meant to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.corpus import CONFIG, write_config

from engines.manifest import LogMelFeature
from engines.schema import encode
from trainer.config import TrainConfig, load_config, parse_config
from trainer.errors import ConfigError


def test_the_shipped_configuration_reads() -> None:
    config = load_config(Path(__file__).parents[2] / "configs/slim_audio.toml")
    assert config.name == "slim-audio"
    assert isinstance(config.audio.feature, LogMelFeature)
    assert config.audio.feature.f_max == 11000
    assert config.n_window_samples == 24000
    assert set(config.data.sources) == {"sounds_from_places", "berlin_noise", "blanket", "moodist"}


def test_a_configuration_survives_json(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path / "toy.toml"))
    assert parse_config(json.loads(json.dumps(encode(config)))) == config


def test_settings_go_over_the_file(tmp_path: Path) -> None:
    path = write_config(tmp_path / "toy.toml")
    config = load_config(path, ["train.epochs=7", "name=other", "evaluate.hold_out_sources=false"])
    assert (config.train.epochs, config.name, config.evaluate.hold_out_sources) == (7, "other", False)


def test_a_setting_without_a_value_leaves_the_key_out(tmp_path: Path) -> None:
    path = write_config(tmp_path / "toy.toml")
    assert load_config(path, ["train.epochs="]).train.epochs == TrainConfig().epochs
    assert load_config(path, ["data.impulse_responses="]).data.impulse_responses is None
    with pytest.raises(ConfigError, match="name: expected a name, got nothing; the key is required"):
        load_config(path, ["name="])


@pytest.mark.parametrize(
    ("stem", "kept", "removed"), [("slim_av", "prepared", "labels"), ("slim_audio", "labels", "prepared")]
)
def test_removing_one_kind_of_data_keeps_the_other(stem: str, kept: str, removed: str) -> None:
    path = Path(__file__).parents[2] / f"configs/{stem}.toml"
    unchanged = load_config(path)
    assert load_config(path, [f"data.{removed}="]) == unchanged
    other = load_config(path, [f"data.{removed}=elsewhere"]).data
    assert (getattr(other, kept), getattr(other, removed)) == (None, "elsewhere")
    with pytest.raises(ConfigError, match="data: expected either labels or prepared, got none"):
        load_config(path, [f"data.{kept}="])


def test_only_square_frames_can_be_rotated() -> None:
    path = Path(__file__).parents[2] / "configs/slim_visual.toml"
    assert load_config(path).augment.rotate_probability == 0.1
    assert load_config(path, ["video.width=96", "augment.rotate_probability=0"]).video.width == 96
    with pytest.raises(ConfigError) as caught:
        load_config(path, ["video.width=96"])
    assert str(caught.value) == (
        f"{path}: augment.rotate_probability: expected 0 for frames of 96×128, as only square ones can be rotated, "
        "got 0.1"
    )


def test_a_fold_may_be_written_as_a_number(tmp_path: Path) -> None:
    path = write_config(tmp_path / "toy.toml")
    assert load_config(path, ["data.prepared=esc", "data.fold=1"]).data.fold == "1"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.epoch=3", "train.epoch: unknown key; did you mean 'epochs'?"),
        ("train.epochs=0", "train.epochs: expected an integer, at least 1, got 0"),
        ("train.epochs=many", 'train.epochs: expected an integer, got "many"'),
        ("audio.sample_rate=22.05", "audio.sample_rate: expected an integer in Hz, got 22.05"),
        (
            "audio.channels=left",
            'audio.channels: expected one of "mono", "left,right", "left,right,difference", got "left"',
        ),
        ("augment.drop_video=0.9", "expected at most 1 together, as never both are dropped, got 0.15 and 0.9"),
        ("data.fold=3.5", "data.fold: expected a fold's name, or null, got 3.5"),
        ("augment.mixup=-1", "augment.mixup: expected a number, at least 0, got -1"),
        (
            'data.groups={in = ["park", "bus"], out = ["park"]}',
            "data.groups: expected 'park' in one group, got it in 'in' and 'out'",
        ),
        ("name=../evil", "name: expected letters, digits, '-', '_' and '.', got \"../evil\""),
        ("train.epochs", "--set: expected KEY=VALUE, as in train.epochs=10, got 'train.epochs'"),
        ("name.first=3", "--set name.first=3: expected a table at 'name', got a value"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, setting: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write_config(tmp_path / "toy.toml"), [setting])
    assert message in str(caught.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = write_config(tmp_path / "toy.toml", CONFIG.replace('labels = "labels.csv"', ""))
    with pytest.raises(ConfigError, match="data: expected either labels or prepared, got none"):
        load_config(path)


def test_what_is_no_toml_is_said(tmp_path: Path) -> None:
    path = write_config(tmp_path / "toy.toml", "name = ")
    with pytest.raises(ConfigError, match=r"toy\.toml: expected TOML, got something else"):
        load_config(path)
    with pytest.raises(ConfigError, match=r"none\.toml: expected a TOML file, got: No such file"):
        load_config(tmp_path / "none.toml")
