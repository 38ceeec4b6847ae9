"""Samples to tensors: channels, normalisation, layout; and windows of a stream: hops taken over equal hops computed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ascstream.frontend import FrontEnd, LogMel, audio_tensor
from engines.manifest import (
    AudioInput,
    FileSpec,
    GammatoneFeature,
    GraphSpec,
    InputSpec,
    LogMelFeature,
    Manifest,
    Normalisation,
    OutputSpec,
    VideoInput,
    WaveformFeature,
    WindowSpec,
    input_shape,
)

RATE = 8_000
FEATURE = LogMelFeature("logmel", 400, 320, 160, 20, 0.0, 4_000.0)
AUDIO = AudioInput(RATE, "mono", FEATURE)
WAVEFORM = AudioInput(RATE, "mono", WaveformFeature("waveform"))
BANDS = 20


def manifest_of(*inputs: AudioInput, seconds: float = 1.0) -> Manifest:
    return Manifest(
        schema=1,
        name="front-end",
        version="0",
        description="Audio inputs.",
        licence="Apache-2.0",
        labels=("a", "b"),
        window=WindowSpec(seconds, 0.1),
        inputs=tuple(InputSpec(f"input{index}", audio=audio) for index, audio in enumerate(inputs)),
        outputs=(OutputSpec("fused"),),
        graphs=(GraphSpec("scene", {"float32": "scene.onnx"}),),
        files={"scene.onnx": FileSpec("0" * 64, 0)},
    )


def noise(n_samples: int = RATE, n_channels: int = 2, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((n_channels, n_samples))).astype(np.float32)


STREAM = noise(5 * RATE)
"""Five seconds of two channels."""


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ("mono", lambda x: (x[:1] + x[1:]) / 2),
        ("left,right", lambda x: x),
        ("left,right,difference", lambda x: np.stack((x[0], x[1], x[0] - x[1]))),
    ],
)
def test_channels_of_a_stereo_source(channels: Any, expected: Any) -> None:
    samples = noise()
    tensor = audio_tensor(samples, replace(WAVEFORM, channels=channels))
    np.testing.assert_array_equal(tensor, expected(samples))
    assert tensor.dtype == np.float32


def test_a_mono_source_is_copied_or_refused() -> None:
    samples = noise(n_channels=1)
    stereo = replace(WAVEFORM, channels="left,right,difference")
    np.testing.assert_array_equal(audio_tensor(samples, stereo), np.stack((samples[0], samples[0], 0 * samples[0])))
    np.testing.assert_array_equal(audio_tensor(samples, WAVEFORM), samples)
    with pytest.raises(ValueError, match="expected two channels for left,right, got one"):
        audio_tensor(samples, replace(WAVEFORM, channels="left,right", mono_source="refuse"))


@pytest.mark.parametrize("shape", [(RATE,), (3, RATE), (0, RATE), (1, 1, RATE)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected samples \[1 or 2, n_samples\], got \["):
        audio_tensor(np.zeros(shape, np.float32), AUDIO)


@pytest.mark.parametrize(
    "audio",
    [
        AUDIO,
        WAVEFORM,
        replace(AUDIO, channels="left,right,difference"),
        replace(AUDIO, feature=replace(FEATURE, layout="time_mel")),
        replace(AUDIO, feature=replace(FEATURE, center=True)),
        replace(AUDIO, feature=replace(FEATURE, center=True, n_fft=401, hop_length=80)),
        replace(AUDIO, context_seconds=0.02),
    ],
    ids=["mono", "waveform", "difference", "time_mel", "centred", "centred odd", "context"],
)
def test_shapes_are_those_the_manifest_promises(audio: AudioInput) -> None:
    manifest = manifest_of(audio)
    samples = noise(RATE + round(audio.context_seconds * RATE))
    expected = input_shape(manifest.inputs[0], manifest.window)
    assert audio_tensor(samples, audio).shape == expected
    tensor = FrontEnd(manifest)(samples, 0)["input0"]
    assert tensor.shape == (1, *expected)
    assert tensor.flags.c_contiguous


def test_normalisations() -> None:
    samples = noise()
    plain = audio_tensor(samples, AUDIO).astype(np.float64)

    def made(**fields: Any) -> NDArray[np.float32]:
        return audio_tensor(samples, replace(AUDIO, normalisation=Normalisation(**fields)))

    affine = made(kind="affine", mean=(-3.0,), std=(2.5,))
    np.testing.assert_allclose(affine, (plain + 3) / 2.5, rtol=0, atol=1e-5)
    mean, std = np.linspace(-5, 5, BANDS), np.linspace(1, 4, BANDS)
    per_bin = made(kind="per_bin", mean=tuple(mean), std=tuple(std))
    np.testing.assert_allclose(per_bin, (plain - mean[:, None]) / std[:, None], rtol=0, atol=1e-5)
    per_clip = made(kind="per_clip", epsilon=0.5)
    np.testing.assert_allclose(per_clip, (plain - plain.mean()) / (plain.std() + 0.5), rtol=0, atol=1e-5)
    min_max = made(kind="min_max", low=-2.0, high=3.0)
    np.testing.assert_allclose(min_max, 5 * (plain - plain.min()) / np.ptp(plain) - 2, rtol=0, atol=1e-5)
    assert (min_max.min(), min_max.max()) == pytest.approx((-2, 3), abs=1e-6)


def test_statistics_follow_row_order_and_precede_the_layout() -> None:
    mean = tuple(float(row) for row in range(BANDS))
    normalisation = Normalisation("per_bin", mean=mean, std=(1.0,) * BANDS)
    flipped = replace(FEATURE, row_order="high_to_low", layout="time_mel")
    tensor = audio_tensor(noise(), AudioInput(RATE, "mono", flipped, normalisation))
    plain = audio_tensor(noise(), AUDIO)
    np.testing.assert_allclose(tensor[0].T + np.array(mean)[:, None], plain[0, ::-1], rtol=0, atol=1e-5)


def test_the_floor_in_db_is_relative_to_the_maximum_of_the_window() -> None:
    audio = AudioInput(
        RATE, "mono", replace(FEATURE, log="db", log_floor=1e-20), Normalisation("min_max", floor_db=40.0)
    )
    samples = noise(n_channels=1)
    samples[:, RATE // 2 :] = 0
    tensor = audio_tensor(samples, audio)
    in_db = LogMel(replace(FEATURE, log="db"), RATE)(samples)
    expected = 2 * np.maximum(in_db - in_db.max() + 40, 0) / 40 - 1
    np.testing.assert_allclose(tensor, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["none", "per_clip", "min_max"])
@pytest.mark.parametrize("log", ["natural", "db"])
def test_digital_silence_stays_finite(kind: Any, log: Any) -> None:
    audio = AudioInput(RATE, "left,right,difference", replace(FEATURE, log=log), Normalisation(kind))
    tensor = audio_tensor(np.zeros((2, RATE), np.float32), audio)
    assert np.isfinite(tensor).all()


HOP = FEATURE.hop_length
INPUTS: dict[str, AudioInput] = {
    "plain": AUDIO,
    "pre-emphasis": replace(AUDIO, feature=replace(FEATURE, preemphasis=0.97)),
    "first sample dropped": replace(AUDIO, feature=replace(FEATURE, preemphasis=0.97, preemphasis_start="drop")),
    "difference per clip": replace(AUDIO, channels="left,right,difference", normalisation=Normalisation("per_clip")),
    "range": replace(AUDIO, feature=replace(FEATURE, log="db", range_db=20.0), normalisation=Normalisation("min_max")),
    "context and pre-emphasis": replace(AUDIO, feature=replace(FEATURE, preemphasis=0.9), context_seconds=0.05),
    "centred": replace(AUDIO, feature=replace(FEATURE, center=True)),
    "hops apart": replace(AUDIO, feature=replace(FEATURE, hop_length=500)),
    "gammatone": AudioInput(RATE, "mono", GammatoneFeature("gammatone", "fft", 320, 160, 16, 0.0, 4_000.0)),
    "waveform": WAVEFORM,
}
STARTS = st.lists(
    st.one_of(
        st.integers(0, 3 * RATE),
        st.integers(0, 3 * RATE // HOP).map(lambda hops: hops * HOP),
        st.integers(-3, 8).map(lambda hops: RATE + hops * HOP),
    ),
    min_size=1,
    max_size=8,
)


def window_at(start: int, n_samples: int) -> NDArray[np.float32]:
    return STREAM[:, start : start + n_samples].copy()


@pytest.mark.parametrize("name", INPUTS)
@settings(max_examples=40, deadline=None)
@given(starts=STARTS)
def test_any_sequence_of_windows_equals_computing_each_whole(name: str, starts: list[int]) -> None:
    manifest = manifest_of(INPUTS[name], AUDIO)
    front_end = FrontEnd(manifest)
    context = round(manifest.context_seconds * RATE)
    for start in starts:
        samples = window_at(start, context + RATE)
        tensors = front_end(samples, start)
        for index, (_, audio) in enumerate(manifest.audio_inputs):
            own = samples[:, context - round(audio.context_seconds * RATE) :]
            np.testing.assert_allclose(tensors[f"input{index}"][0], audio_tensor(own, audio), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("step", "reuses"),
    [(HOP, True), (5 * HOP, True), (-5 * HOP, True), (0, True), (HOP + 1, False), (RATE, False), (-2 * RATE, False)],
)
def test_hops_are_taken_over_where_the_step_is_a_whole_number_of_them(step: int, *, reuses: bool) -> None:
    front_end = FrontEnd(manifest_of(AUDIO))
    front_end(window_at(2 * RATE, RATE), 2 * RATE)
    assert not front_end.reuses_hops
    front_end(window_at(2 * RATE + step, RATE), 2 * RATE + step)
    assert front_end.reuses_hops is reuses


@pytest.mark.parametrize("name", ["centred", "waveform", "hops apart"])
def test_what_cannot_be_taken_over_is_not(name: str) -> None:
    front_end = FrontEnd(manifest_of(INPUTS[name]))
    step = 500
    for start in (0, step):
        front_end(window_at(start, RATE), start)
    assert front_end.reuses_hops is (name == "hops apart")


def test_other_samples_at_the_same_position_are_not_trusted() -> None:
    """A padded end, or another stream without `reset`: the hops that saw other samples are computed."""
    front_end = FrontEnd(manifest_of(AUDIO))
    front_end(window_at(0, RATE), 0)
    other = window_at(RATE, RATE)
    np.testing.assert_array_equal(front_end(other, 0)["input0"][0], audio_tensor(other, AUDIO))
    assert not front_end.reuses_hops
    padded = window_at(RATE + HOP, RATE)
    padded[:, RATE // 2 :] = 0
    front_end(other, RATE)
    np.testing.assert_array_equal(front_end(padded, RATE + HOP)["input0"][0], audio_tensor(padded, AUDIO))


def test_reset_forgets_the_last_window() -> None:
    front_end = FrontEnd(manifest_of(AUDIO))
    for _ in range(2):
        front_end(window_at(0, RATE), 0)
    assert front_end.reuses_hops
    front_end.reset()
    assert not front_end.reuses_hops
    front_end(window_at(0, RATE), 0)
    assert not front_end.reuses_hops


def test_tensors_given_out_are_the_callers_own() -> None:
    front_end = FrontEnd(manifest_of(AUDIO))
    first = front_end(window_at(0, RATE), 0)["input0"]
    expected = audio_tensor(window_at(HOP, RATE), AUDIO)
    first[:] = np.nan
    np.testing.assert_allclose(front_end(window_at(HOP, RATE), HOP)["input0"][0], expected, rtol=0, atol=1e-5)


def test_the_start_of_a_stream_is_zeros_before_it() -> None:
    audio = replace(AUDIO, context_seconds=0.1)
    front_end = FrontEnd(manifest_of(audio))
    first = np.concatenate((np.zeros((2, 800), np.float32), STREAM[:, :RATE]), axis=1)
    np.testing.assert_array_equal(front_end(first, -800)["input0"][0], audio_tensor(first, audio))
    second = np.concatenate((np.zeros((2, 640), np.float32), STREAM[:, : RATE + 160]), axis=1)
    tensor = front_end(second, -640)["input0"][0]
    assert front_end.reuses_hops
    np.testing.assert_allclose(tensor, audio_tensor(second, audio), rtol=0, atol=1e-5)


@settings(deadline=None)
@given(changed=st.integers(0, RATE - 1))
def test_later_samples_never_change_earlier_hops(changed: int) -> None:
    samples = noise()
    other = samples.copy()
    other[:, changed:] += 1
    first_touched = max(0, -(-(changed - FEATURE.n_fft + 1) // HOP))
    before = slice(0, first_touched)
    np.testing.assert_array_equal(audio_tensor(samples, AUDIO)[..., before], audio_tensor(other, AUDIO)[..., before])


def test_a_window_of_another_length_is_refused() -> None:
    front_end = FrontEnd(manifest_of(AUDIO))
    with pytest.raises(ValueError, match=r"expected samples \[n_channels, 8000\], got \[2, 7999\]"):
        front_end(noise(RATE - 1), 0)


def test_a_bundle_without_sound_gives_no_tensors() -> None:
    picture = InputSpec("picture", video=VideoInput(48, 32, "squash", (0.5,), 1.0))
    front_end = FrontEnd(replace(manifest_of(AUDIO), inputs=(picture,)))
    assert front_end(np.zeros((1, 0), np.float32), 0) == {}
    assert not front_end.reuses_hops
