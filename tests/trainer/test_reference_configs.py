"""Each published network from its configuration to a bundle that the runtime hears with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.corpus import SCENES, scene_samples, write_config, write_corpus, write_wav

from ascstream import Classifier, StreamSettings, open_media, stream
from engines.bundle import open_bundle, verify
from engines.manifest import InputSpec, input_shape
from trainer.config import ModelConfig, load_config
from trainer.errors import ConfigError
from trainer.export import export_run
from trainer.fit import fit_run
from trainer.models import TRAINABLE, build_model, check_features
from trainer.models.counts import count_parameters
from trainer.models.reference import REFERENCES

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ("cp_mobile", "se_audio", "spectrogram", "subspectral_1s")


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_gives_the_published_features_in_mono(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.toml")
    check_features(config)
    shape = input_shape(InputSpec("features", audio=config.audio), config.window)
    assert shape == (1, *REFERENCES[name].inputs["features"][1:])
    model = build_model(config.model, 10, config.audio.n_channels)
    if REFERENCES[name].inputs["features"][0] == 1:
        assert count_parameters(model).parameters == REFERENCES[name].parameters
    for batch in (1, 2):
        answer = model.eval()(torch.zeros(batch, *shape))
        assert getattr(answer, "fused", answer).shape == (batch, 10)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_few_steps_make_a_bundle_that_the_runtime_takes(name: str, tmp_path: Path) -> None:
    write_corpus(tmp_path / "data", n_recordings=2, seconds=1.6)
    quick = ("data.labels=labels.csv", "train.epochs=1", "train.windows_per_epoch=16", "train.batch_size=8")
    small = ("evaluate.folds=2", "evaluate.hold_out_sources=false")
    config = load_config(CONFIGS / f"{name}.toml", [*quick, *small])
    run = fit_run(tmp_path / "run", config, tmp_path / "data")
    epoch, loss = (run.folder / "final/log.csv").read_text().splitlines()[1].split(",")
    n_heads = 4 if name == "subspectral_1s" else 1
    assert epoch == "1"
    assert 0.5 * n_heads * np.log(3) < float(loss) < 3 * n_heads * np.log(3)
    exported = export_run(run, tmp_path / "bundle", tmp_path / "data")
    opened = open_bundle(tmp_path / "bundle")
    verify(opened)
    audio = opened.manifest.audio_inputs[0][1]
    assert audio.normalisation.kind == {
        "cp_mobile": "affine", "se_audio": "min_max", "spectrogram": "per_clip", "subspectral_1s": "per_bin"
    }[name]  # fmt: skip
    published = count_parameters(build_model(config.model, 3, 1)).parameters
    assert exported.n_parameters == published
    bands = "64 gammatone bands" if name == "se_audio" else f"{audio.feature.n_mels} mel bands"
    assert f": mono sound, {audio.sample_rate / 1000:g} kHz, {bands} |" in (tmp_path / "bundle/CARD.md").read_text()
    write_wav(tmp_path / "hum.wav", scene_samples("hum", 2.0, 77))
    with Classifier.load(tmp_path / "bundle") as classifier, open_media(tmp_path / "hum.wav") as source:
        predictions = list(stream(classifier, source, StreamSettings()))
    assert [prediction.end for prediction in predictions] == [1.0, 1.5, 2.0]
    for prediction in predictions:
        assert tuple(prediction.raw_scores) == SCENES
        assert np.isclose(sum(prediction.raw_scores.values()), 1.0)


@pytest.mark.parametrize(
    ("name", "setting", "expected"),
    [
        ("se_audio", "audio.context_seconds=0", "1 or 3 channels × 64 bands × 50 hops, got 1 × 64 × 49"),
        ("cp_mobile", "audio.feature.n_mels=128", "1 channel × 256 bands × 65 hops, got 1 × 128 × 65"),
        ("spectrogram", "model.name=subspectral_1s", "1 or 2 channels × 40 bands × 50 hops, got 1 × 128 × 188"),
        ("spectrogram", "audio.feature={kind='waveform'}", "1 channel × 128 bands × 188 hops, got 1 × 48000"),
    ],
)
def test_features_that_do_not_fit_are_refused_first(name: str, setting: str, expected: str, tmp_path: Path) -> None:
    config = load_config(CONFIGS / f"{name}.toml", [setting])
    with pytest.raises(
        ConfigError, match=r"set audio\.channels, audio\.feature .*as configs/\w+\.toml has them"
    ) as raised:
        fit_run(tmp_path / "run", config, tmp_path / "nowhere")
    assert expected in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_window_of_no_whole_number_of_samples_is_refused() -> None:
    config = load_config(CONFIGS / "cp_mobile.toml", ["window.seconds=0.99999", "window.default_step_seconds=0.5"])
    with pytest.raises(ConfigError, match=r"expected a whole number of samples, got 0\.99999 s"):
        check_features(config)


def test_a_network_without_dropout_is_given_none() -> None:
    with pytest.raises(ConfigError, match=r"model\.dropout: expected null, as cp_mobile has none, got 0\.3"):
        build_model(ModelConfig(name="cp_mobile", dropout=0.3), 3)


def test_a_network_that_takes_other_inputs_is_named(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path / "toy.toml"), ["model.name=se_crnn"])
    with pytest.raises(ConfigError, match="got 'se_crnn'; the others of `trainer models` are built from Python"):
        check_features(config)
    assert "se_crnn" not in TRAINABLE


@pytest.mark.parametrize(("name", "n_channels"), [("se_audio", 1), ("se_audio", 3), ("subspectral_1s", 2)])
def test_networks_of_several_channels_are_built_for_them(name: str, n_channels: int) -> None:
    model = build_model(ModelConfig(name=name), 10, n_channels)
    bands, hops = REFERENCES[name].inputs["features"][1:]
    answer = model.eval()(torch.zeros(1, n_channels, bands, hops))
    assert getattr(answer, "fused", answer).shape == (1, 10)
