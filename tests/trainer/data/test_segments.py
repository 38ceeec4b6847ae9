"""A clip is judged second by second, whole and with a modality missing, by what the network says and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.corpus import write_config
from support.stores import CountingStore

from ascstream.frontend import audio_tensor
from engines.manifest import AudioInput, VideoInput, WaveformFeature, WindowSpec
from trainer.config import Config, load_config
from trainer.data.segments import SegmentReader, mean_log_loss
from trainer.data.tensors import StretchReader
from trainer.inputs import Inputs

WAVE = AudioInput(1000, "mono", WaveformFeature(kind="waveform"), context_seconds=0.05)
VIDEO = VideoInput(8, 8, "crop", (0.9,), 1.0, scale=1.0)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return replace(load_config(write_config(tmp_path / "toy.toml")), audio=None, waveform=WAVE, video=VIDEO)


def echo(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Logits that say what came: last sample, brightness, and both flags."""
    n = len(inputs["waveform"])
    flags = inputs.get("presence", np.ones((n, 2), np.float32))
    columns = [inputs["waveform"][:, 0, -1], inputs["frames"].mean(axis=(1, 2, 3, 4)), flags[:, 0], flags[:, 1]]
    fused = np.stack(columns, axis=1).astype(np.float32)
    return {"fused": fused, "audio": fused + 100, "video": fused + 200}


def test_every_second_is_judged_once_in_order(config: Config) -> None:
    store = CountingStore([3.0, 2.995, 1.4, 0.3], 1000)
    reader = SegmentReader(store, config.inputs, config, ("waveform", "frames"))
    answers = reader.answers([1, 0, 2, 3], echo)
    assert answers.clips.tolist() == [1, 1, 1, 0, 0, 0, 2, 3]
    last = answers.logits["whole"][:, 0]
    expected = [1 + 999 / 2**20, 1 + 1999 / 2**20, 0, *((1000 * k - 1) / 2**20 for k in (1, 2, 3)), 2 + 999 / 2**20, 0]
    np.testing.assert_allclose(last, expected, atol=1e-6)
    np.testing.assert_array_equal(answers.logits["whole"][3:6, 1], [14, 19, 24])


def test_without_flags_the_heads_answer_alone(config: Config) -> None:
    reader = SegmentReader(CountingStore([2.0], 1000), config.inputs, config, ("waveform", "frames"))
    logits = reader.answers([0], echo).logits
    assert set(logits) == {"whole", "audio", "video"}
    np.testing.assert_array_equal(logits["audio"], logits["whole"] + 100)
    np.testing.assert_array_equal(logits["video"], logits["whole"] + 200)
    fused_only = reader.answers([0], lambda inputs: {"fused": echo(inputs)["fused"]}).logits
    assert set(fused_only) == {"whole"}


@pytest.mark.parametrize("heads", [True, False], ids=["heads", "fused-alone"])
def test_with_flags_the_other_modality_is_switched_off(heads: bool, config: Config) -> None:
    reader = SegmentReader(CountingStore([2.0], 1000), config.inputs, config, ("waveform", "frames", "presence"))
    logits = reader.answers([0], echo if heads else lambda inputs: {"fused": echo(inputs)["fused"]}).logits
    if heads:
        logits = {"whole": logits["whole"], "audio": logits["audio"] - 100, "video": logits["video"] - 200}
    assert logits["whole"][:, 2:].tolist() == [[1, 1], [1, 1]]
    assert logits["audio"][:, 2:].tolist() == [[1, 0], [1, 0]]
    assert logits["video"][:, 2:].tolist() == [[0, 1], [0, 1]]
    assert (logits["audio"][:, 1] == 0).all()
    assert (logits["video"][:, 0] == 0).all()
    np.testing.assert_allclose(logits["audio"][:, 0], logits["whole"][:, 0], atol=1e-4)
    np.testing.assert_allclose(logits["video"][:, 1], logits["whole"][:, 1], atol=1e-4)


def test_silence_and_a_covered_lens_are_absent_as_at_run_time(config: Config) -> None:
    class Broken(CountingStore):
        def samples(self, clip: int, start: int, n_samples: int) -> np.ndarray:
            return super().samples(clip, start, n_samples) * (clip == 1)

        def frames(self, clip: int, times, max_age_seconds: float):
            frames, there = super().frames(clip, times, max_age_seconds)
            return frames * np.uint8(clip == 0), there

    reader = SegmentReader(Broken([1.0, 1.0], 1000), config.inputs, config, ("waveform", "frames", "presence"))
    logits = reader.answers([0, 1], echo).logits
    assert logits["whole"][:, 2:].tolist() == [[0, 1], [1, 0]]
    assert logits["audio"].any(axis=1).tolist() == [False, True]
    assert logits["video"].any(axis=1).tolist() == [True, False]


def test_many_windows_keep_their_order_whatever_the_threads(config: Config) -> None:
    store = CountingStore([200.0, 50.0], 1000)
    one, four = (
        SegmentReader(
            store, config.inputs, replace(config, train=replace(config.train, workers=n)), ("waveform", "frames")
        )
        for n in (1, 4)
    )
    first, second = (reader.answers([0, 1], echo) for reader in (one, four))
    np.testing.assert_array_equal(first.logits["whole"], second.logits["whole"])
    assert first.clips.tolist() == [0] * 200 + [1] * 50


def test_windows_may_overlap(config: Config) -> None:
    clips, starts = SegmentReader(CountingStore([2.0], 1000), config.inputs, config, ("waveform",)).segments([0], 0.5)
    assert (clips.tolist(), starts.tolist()) == ([0, 0, 0], [0, 500, 1000])


@given(
    length=st.integers(1, 40_000),
    window=st.sampled_from([0.5, 1.0, 2.0]),
    pad=st.sampled_from([0.0, 0.01]),
    context=st.sampled_from([0.0, 0.05]),
)
def test_windows_cover_a_clip_and_reach_no_further_than_padding_allows(
    length: int, window: float, pad: float, context: float
) -> None:
    rate = 1000
    store = CountingStore([length / rate], rate)
    inputs = Inputs(waveform=replace(WAVE, context_seconds=context))
    spec = WindowSpec(seconds=window, default_step_seconds=window, pad_seconds=pad)
    reader = StretchReader(store, inputs, spec)
    starts = reader.starts(0)
    n_window, n_pad = round(window * rate), round(pad * rate)
    assert starts == list(range(0, len(starts) * n_window, n_window))
    assert len(starts) == 1 or starts[-1] + n_window <= length + n_pad
    assert starts[-1] + 2 * n_window > length + n_pad
    assert 0 <= reader.last_start(0) <= max(0, length - n_window)
    samples = reader.read(0, starts[-1]).samples
    assert samples is not None
    whole = store.samples(0, starts[-1] - round(context * rate), n_window + round(context * rate))
    np.testing.assert_array_equal(samples, whole)


def test_features_are_the_runtimes_own_of_the_samples_alone(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path / "toy.toml"))
    assert config.audio is not None
    wave = AudioInput(24_000, "mono", WaveformFeature(kind="waveform"), context_seconds=0.1)
    both = replace(config, waveform=wave)
    store = CountingStore([4.0], 24_000)
    reader = SegmentReader(store, both.inputs, both, ("features", "waveform"))
    (inputs,) = reader.read(np.array([0]), np.array([24_000]))
    np.testing.assert_array_equal(inputs["features"][0], audio_tensor(store.samples(0, 24_000, 24_000), config.audio))
    np.testing.assert_array_equal(inputs["waveform"][0], store.samples(0, 21_600, 26_400))


def test_the_log_loss_is_the_mean_over_windows() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], np.float32)) + 1000
    assert mean_log_loss(logits, [0, 2]) == pytest.approx((np.log(2) + np.log(10)) / 2, rel=1e-3)
