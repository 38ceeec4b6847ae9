"""Windows are drawn evenly from scenes and clips, the same ones whatever the threads, by the runtime's own features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.corpus import write_config
from support.stores import CountingStore

from engines.manifest import AudioInput, LogMelFeature, VideoInput, WaveformFeature
from trainer.config import AugmentConfig, Config, load_config
from trainer.data.batch import Batch, Process
from trainer.data.memory import MemoryStore
from trainer.data.windows import WindowSampler
from trainer.errors import ConfigError

PLAIN = AugmentConfig(
    gain_db=0, tilt_probability=0, lowpass_probability=0, noise_probability=0, mix_probability=0, mixup=0,
    style_probability=0, band_mask=0, hop_mask=0, mono_probability=0, flip_probability=0, crop_scale=1, colour=0,
    drop_audio=0, drop_video=0, response_probability=0,
)  # fmt: skip
NAMES = ("features", "waveform", "frames", "presence")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(write_config(tmp_path / "toy.toml"))


@pytest.fixture
def plain(config: Config) -> Config:
    return replace(config, augment=PLAIN, train=replace(config.train, batch_size=40, windows_per_epoch=400))


def constants(levels: list[float], seconds: list[float]) -> MemoryStore:
    """Noise of a level each, so that a window's level tells which clip it is from."""
    rng = np.random.default_rng(0)
    pairs = zip(levels, seconds, strict=True)
    return MemoryStore(
        [(level * rng.standard_normal(round(24_000 * length))).astype(np.float32) for level, length in pairs], 24_000
    )


def batches(data: WindowSampler, config: Config, epoch: int = 0, process: Process | None = None) -> Iterator[Batch]:
    return data.batches(config.inputs, epoch, config, process or Process())


def audio_visual(config: Config, **video: object) -> Config:
    """Samples counted by `CountingStore`, and frames."""
    wave = AudioInput(1000, "left,right", WaveformFeature(kind="waveform"), context_seconds=0.02)
    fields = {"width": 8, "height": 8, "fit": "crop", "frame_times_seconds": (0.1, 0.5, 0.9), "max_age_seconds": 0.3}
    fields |= {"scale": 1.0, **video}
    return replace(config, audio=None, waveform=wave, video=VideoInput(**fields))  # type: ignore[arg-type]


def test_scenes_and_clips_are_drawn_evenly(plain: Config) -> None:
    store = constants([1e-3, 1e-2, 1e-1], [1.0, 60.0, 1.5])
    data = WindowSampler(store, [0, 1, 2], [0, 0, 1], 2, plain, ("features",))
    drawn = list(batches(data, plain))
    assert len(drawn) == 10
    targets = np.concatenate([batch.targets for batch in drawn])
    level = np.concatenate([batch.inputs["features"].mean(axis=(1, 2, 3)) for batch in drawn])
    assert targets.sum(axis=0).tolist() == [200, 200]
    middle = level[targets[:, 0] == 1]
    assert (middle < (middle.min() + middle.max()) / 2).sum() == 100
    assert level[targets[:, 1] == 1].min() > middle.max()


def test_a_window_is_a_stretch_of_its_clip_with_its_context_and_its_frames(plain: Config) -> None:
    config = audio_visual(plain)
    store = CountingStore([3.0, 2.0, 1.5], 1000, n_channels=2)
    data = WindowSampler(store, [1, 2], [0, 1], 2, config, ("waveform", "frames", "presence"))
    starts = []
    for batch in batches(data, config):
        for wave, frames, presence, target in zip(
            *(batch.inputs[name] for name in ("waveform", "frames", "presence")), batch.targets, strict=True
        ):
            clip = 1 + int(target.argmax())
            numbers = np.rint((wave[0] - clip) * 2**20).astype(int)
            start = numbers[-1] - 999
            assert 0 <= start <= 1000 * store.seconds(clip) - 1000
            expected = np.where(
                np.arange(start - 20, start + 1000) >= 0, clip + np.arange(start - 20, start + 1000) / 2**20, 0
            )
            np.testing.assert_allclose(wave[0], expected, atol=1e-6)
            np.testing.assert_array_equal(wave[1], -wave[0])
            levels = 10 + np.floor((start / 1000 + np.array([0.1, 0.5, 0.9])) * 5 + 1e-4)
            np.testing.assert_array_equal(frames[:, 0, 0, 0], levels)
            assert presence.tolist() == [1, 1]
            starts.append(start)
    assert min(starts) < 30
    assert len(set(starts)) > 200


def test_an_empty_slot_takes_the_nearest_frame_and_no_frame_at_all_is_an_absent_picture(plain: Config) -> None:
    config = audio_visual(plain)
    late = CountingStore([1.0, 1.0], 1000, n_channels=2, first_frame=0.45)
    names = ("waveform", "frames", "presence")
    batch = next(batches(WindowSampler(late, [0, 1], [0, 1], 2, config, names), config))
    assert (batch.inputs["frames"][:, :, 0, 0, 0] == [10, 10, 12]).all()
    never = CountingStore([1.0, 1.0], 1000, n_channels=2, first_frame=5.0)
    batch = next(batches(WindowSampler(never, [0, 1], [0, 1], 2, config, names), config))
    assert (batch.inputs["presence"] == [1, 0]).all()
    assert (batch.inputs["frames"] == 0).all()
    assert (batch.inputs["waveform"] != 0).any()


def test_a_clip_shorter_than_a_window_is_padded(plain: Config) -> None:
    config = audio_visual(plain)
    store = CountingStore([0.6, 0.6], 1000, n_channels=2)
    batch = next(batches(WindowSampler(store, [0, 1], [0, 1], 2, config, ("waveform",)), config))
    assert (batch.inputs["waveform"][:, 0, 620:] == 0).all()
    assert (batch.inputs["waveform"][batch.targets[:, 1] == 1, 0, 20:620] >= 1).all()


def same(first: Batch, second: Batch) -> bool:
    return all(np.array_equal(first.inputs[name], second.inputs[name]) for name in first.inputs) and np.array_equal(
        first.targets, second.targets
    )


def test_windows_do_not_depend_on_threads_and_differ_between_epochs(config: Config) -> None:
    store = constants([0.1, 0.2, 0.1], [2.0, 3.0, 2.0])
    config = replace(config, augment=replace(config.augment, mixup=0.3, style_probability=0.5))
    data = WindowSampler(store, [0, 1, 2], [0, 1, 0], 2, config, ("features",))
    runs = []
    for workers in (1, 3):
        threaded = replace(config, train=replace(config.train, workers=workers, windows_per_epoch=96))
        runs.append(list(batches(data, threaded, epoch=4)))
    assert len(runs[0]) == 4
    assert all(same(first, second) for first, second in zip(*runs, strict=True))
    other = next(batches(data, threaded, epoch=5))
    assert not same(runs[0][0], other)
    reseeded = WindowSampler(store, [0, 1, 2], [0, 1, 0], 2, config, ("features",), seed=(1,))
    assert not same(runs[0][0], next(batches(reseeded, threaded, epoch=4)))


def test_processes_share_every_batch(config: Config) -> None:
    config = replace(config, train=replace(config.train, batch_size=12, windows_per_epoch=36))
    config = replace(config, augment=replace(config.augment, band_mask=0, hop_mask=0))
    data = WindowSampler(constants([0.1, 0.2], [2.0, 3.0]), [0, 1], [0, 1], 2, config, ("features",))
    whole = list(batches(data, config))
    parts = [list(batches(data, config, process=Process(rank, 3))) for rank in range(3)]
    assert [len(part) for part in parts] == [3, 3, 3]
    for step, batch in enumerate(whole):
        joined = np.concatenate([part[step].inputs["features"] for part in parts])
        np.testing.assert_array_equal(joined, batch.inputs["features"])
        np.testing.assert_array_equal(np.concatenate([part[step].targets for part in parts]), batch.targets)
    with pytest.raises(ConfigError, match="expected a multiple of the number of processes, 5, got 12"):
        next(batches(data, config, process=Process(0, 5)))


def test_measured_bands_have_no_mean_and_unit_spread(config: Config) -> None:
    config = replace(
        config,
        augment=replace(config.augment, band_mask=0, hop_mask=0),
        train=replace(config.train, batch_size=512, windows_per_epoch=512),
    )
    data = WindowSampler(constants([0.1, 0.01], [3.0, 3.0]), [0, 1], [0, 1], 2, config, ("features",))
    inputs = data.measure(np.random.default_rng(0))
    assert inputs.audio is not None
    assert isinstance(inputs.audio.feature, LogMelFeature)
    assert len(inputs.audio.normalisation.mean or ()) == inputs.audio.feature.n_mels
    (batch,) = data.batches(inputs, 0, config, Process())
    assert np.abs(batch.inputs["features"].mean(axis=(0, 1, 3))).max() < 0.2
    assert 0.8 < batch.inputs["features"].std() < 1.2


def test_what_is_normalised_already_and_waveforms_are_left_as_they_are(plain: Config) -> None:
    config = audio_visual(plain)
    data = WindowSampler(CountingStore([2.0], 1000, 2), [0], [0], 2, config, ("waveform", "frames"))
    assert data.measure(np.random.default_rng(0)) == config.inputs


def test_a_modality_is_dropped_only_where_the_network_is_told(plain: Config) -> None:
    config = audio_visual(plain)
    config = replace(config, augment=replace(config.augment, drop_audio=0.4, drop_video=0.4))
    store = CountingStore([2.0, 2.0], 1000, n_channels=2)
    told = next(batches(WindowSampler(store, [0, 1], [0, 1], 2, config, ("waveform", "frames", "presence")), config))
    present = told.inputs["presence"]
    assert 5 < (present[:, 0] == 0).sum() < 30
    np.testing.assert_array_equal((told.inputs["waveform"] != 0).any(axis=(1, 2)), present[:, 0] == 1)
    np.testing.assert_array_equal((told.inputs["frames"] != 0).any(axis=(1, 2, 3, 4)), present[:, 1] == 1)
    untold = next(batches(WindowSampler(store, [0, 1], [0, 1], 2, config, ("waveform", "frames")), config))
    assert (untold.inputs["frames"] != 0).any(axis=(1, 2, 3, 4)).all()


def test_windows_of_none_of_the_scenes_are_trained_to_be_as_likely_any(plain: Config) -> None:
    config = replace(plain, augment=replace(PLAIN, none_share=0.1, mix_probability=1.0))
    store = constants([1e-3, 1e-2, 0.5, 0.5], [2.0, 2.0, 2.0, 2.0])
    data = WindowSampler(store, [0, 1, 2, 3], [0, 1, -1, -1], 2, config, ("features",))
    drawn = list(batches(data, config))
    targets = np.concatenate([batch.targets for batch in drawn])
    level = np.concatenate([batch.inputs["features"].mean(axis=(1, 2, 3)) for batch in drawn])
    others = targets[:, 0] == 0.5
    assert others.sum() == 40
    assert (targets.sum(axis=1) == 1).all()
    assert level[others].min() > level[~others].max()  # and are mixed with their like alone
    without = WindowSampler(store, [0, 1, 2, 3], [0, 1, -1, -1], 2, plain, ("features",))
    assert not (np.concatenate([batch.targets for batch in batches(without, plain)]) == 0.5).any()
