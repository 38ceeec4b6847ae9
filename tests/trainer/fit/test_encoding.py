"""Frames of a frozen encoder: encoded once, with the losses and answers of a run that encodes them as they come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.clips import CONFIG, small_corpus
from torch import nn

from trainer.clip_run import ClipRun
from trainer.config import Config, ModelConfig, StepConfig, load_config
from trainer.data.prepare import prepare_corpus
from trainer.data.settings import settings_for
from trainer.errors import ConfigError
from trainer.fit.clips import fit_clips, plan_clips
from trainer.fit.encoding import FrameCache, may_encode_once
from trainer.fit.history import Epoch
from trainer.fit.loop import load_trained
from trainer.fit.stages import stages_of
from trainer.models.systems import build_network, find_system

PLAIN = ("augment.flip_probability=0", "augment.crop_scale=1", "augment.colour=0", "augment.mixup=0")
FROZEN = (*PLAIN, 'model.freeze=["encoder"]')
DROPS = ("augment.drop_audio=0.3", "augment.drop_video=0.3")
QUICK = ("train.epochs=3", "train.windows_per_epoch=32", "train.batch_size=8", 'train.device="cpu"')


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared corpus whose sound goes on for half a second after the picture."""
    folder = tmp_path_factory.mktemp("encoding")
    corpus = small_corpus(folder / "corpus", n_clips=16, seconds=3.0, n_frames=60)
    prepare_corpus(corpus, folder / "out", settings_for(config_of(folder).inputs), n_workers=1)
    return folder


def config_of(folder: Path, *settings: str) -> Config:
    path = folder / "small.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return load_config(path, [*QUICK, "data.validation_share=0.3", "data.calibration_cities=0", *settings])


def losses(run: ClipRun) -> np.ndarray:
    history = load_trained(run.network, len(run.labels), run.config).history
    return np.array([[epoch.loss, epoch.validation_loss] for epoch in history])


def encoded(root: Path, folder: Path, config: Config, **hooks: object) -> tuple[ClipRun, int]:
    """A run, and how many frames it encoded beforehand."""
    seen = [0]
    run = fit_clips(folder, config, root, on_frames=lambda done, _total: seen.append(done), **hooks)
    assert run is not None
    assert not (run.network / "embeddings").exists()
    return run, max(seen)


@pytest.fixture(scope="module")
def once(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ClipRun, int]:
    return encoded(root, tmp_path_factory.mktemp("once"), config_of(root, *FROZEN, *DROPS))


@pytest.mark.slow
def test_losses_and_answers_are_those_of_frames_encoded_as_they_come(
    root: Path, tmp_path: Path, once: tuple[ClipRun, int]
) -> None:
    run, n_frames = once
    plain, none = encoded(root, tmp_path, config_of(root, *FROZEN, *DROPS, "train.cache_embeddings=false"))
    in_training = sum(clip.split in ("train", "validation") for clip in run.clips)
    assert (n_frames, none) == (in_training * 13, 0)  # 2.4 s of pictures, five a second
    np.testing.assert_allclose(losses(run), losses(plain), atol=1e-5)
    for which in ("validation", "evaluation"):
        ours, theirs = run.answers(which), plain.answers(which)
        assert set(ours.logits) == {"whole", "audio", "video"}
        for condition, logits in theirs.logits.items():
            np.testing.assert_allclose(ours.logits[condition], logits, atol=1e-5)


class StoppedError(Exception):
    """Stands for a power cut."""


@pytest.mark.slow
def test_a_run_that_was_stopped_encodes_nothing_again_and_ends_alike(
    root: Path, tmp_path: Path, once: tuple[ClipRun, int]
) -> None:
    def stop(epoch: int, _loss: float, _validation: float) -> None:
        if epoch == 1:
            raise StoppedError

    whole, n_frames = once
    config = whole.config
    with pytest.raises(StoppedError):
        encoded(root, tmp_path / "run", config, on_epoch=stop)
    parts = list((tmp_path / "run/network/embeddings").iterdir())
    assert len(parts) == 1
    seen: list[tuple[int, int]] = []
    resumed = fit_clips(tmp_path / "run", config, root, on_frames=lambda *done: seen.append(done))
    assert seen == [(n_frames, n_frames)]
    assert resumed is not None
    np.testing.assert_array_equal(losses(resumed), losses(whole))


@pytest.mark.slow
def test_a_stage_that_trains_the_encoder_sees_frames_and_the_next_one_encodes_anew(root: Path, tmp_path: Path) -> None:
    step = StepConfig(parts=("scene",), epochs=2)
    config = config_of(root, *PLAIN, 'train.select="last"')
    steps = (step, replace(step, parts=("encoder",), epochs=1), step)
    config = replace(config, train=replace(config.train, steps=steps, cache_embeddings=True))
    names: list[str] = []

    def look(_epoch: int, _loss: float, _validation: float) -> None:
        names.append(next((tmp_path / "run/network/embeddings").iterdir()).name)

    run, n_frames = encoded(root, tmp_path / "run", config, on_epoch=look)
    assert n_frames > 0
    assert [epoch.stage for epoch in history(run)] == ["1 scene"] * 2 + ["2 encoder"] + ["3 scene"] * 2
    assert names[0] == names[1] == names[2]
    assert names[3] == names[4] != names[0]


def history(run: ClipRun) -> tuple[Epoch, ...]:
    return load_trained(run.network, len(run.labels), run.config).history


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((), True),
        (("augment.flip_probability=0.1",), False),
        (("augment.crop_scale=0.9",), False),
        (("augment.colour=0.1",), False),
        (("video.width=24", "augment.rotate_probability=0.1"), False),
        (("augment.blur_probability=0.1",), False),
        (("augment.darken_probability=0.1",), False),
        (("augment.mixup=0.2",), False),
        (("augment.mixup=0.2", "train.cache_embeddings=true"), True),
        (("train.cache_embeddings=false",), False),
        (("model.freeze=[]",), False),
        (('model.freeze=["encoder.stem"]',), False),
        (('train.distil.teacher="a-run"',), False),
    ],
)
def test_what_has_to_hold(root: Path, settings: tuple[str, ...], expected: bool) -> None:
    config = config_of(root, *FROZEN, *settings)
    stage = stages_of(config, 1, validated=True)[0]
    network = build_network(config, 2)
    stage.prepare(network)
    assert may_encode_once(stage, network, find_system(config)) is expected


def test_an_encoder_that_drops_is_never_cached(root: Path) -> None:
    config = config_of(root, *FROZEN)
    stage, network = stages_of(config, 1, validated=True)[0], build_network(config, 2)
    network.get_submodule("encoder").add_module("dropout", nn.Dropout(0.1))
    assert not may_encode_once(stage, network, find_system(config))


def test_it_is_left_where_it_were_more_work(root: Path, tmp_path: Path) -> None:
    few = config_of(root, *FROZEN, "train.epochs=1", "train.windows_per_epoch=8")
    for config, encodes in ((few, False), (replace(few, train=replace(few.train, cache_embeddings=True)), True)):
        plan = plan_clips(config, root)
        cache = FrameCache(config, plan.system, plan.prepared, plan.store, plan.numbers("train"), [], tmp_path)
        stage, network = stages_of(config, 1, validated=True)[0], build_network(config, 2)
        assert (cache.begin(stage, network, 1) is not None) is encodes
    with pytest.raises(ConfigError, match=r"expected one process for true, got 2"):
        cache.begin(stage, network, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("augment.colour=0.1",), r"expected frames that are not augmented for true"),
        (('train.distil.teacher="a-run"',), r"expected no train\.distil for true"),
    ],
)
def test_asking_for_it_in_vain_is_refused(root: Path, settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.cache_embeddings: " + message):
        plan_clips(config_of(root, *FROZEN, "train.cache_embeddings=true", *settings), root)


def test_a_network_without_an_encoder_is_refused(root: Path) -> None:
    config = config_of(root, *PLAIN, "train.cache_embeddings=true")
    config = replace(config, video=None, model=ModelConfig("slim_audio"))
    with pytest.raises(ConfigError, match=r"expected a network that encodes frames for true, got slim_audio"):
        plan_clips(config, root)


def test_a_stage_about_the_sound_alone_encodes_no_frames(root: Path) -> None:
    config = config_of(root, *PLAIN)
    step = StepConfig(parts=("scene.audio",), answer="audio")
    config = replace(config, train=replace(config.train, steps=(step, replace(step, answer="fused"))))
    network = build_network(config, 2)
    may = []
    for stage in stages_of(config, 1, validated=True):
        stage.prepare(network)
        may.append(may_encode_once(stage, network, find_system(config)))
    assert may == [False, True]
