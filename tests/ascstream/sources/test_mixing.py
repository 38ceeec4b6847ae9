"""Channels to one or two, and sample formats to float32, by numbers."""

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascstream.sources.mixing import Mixer, mix_weights, read_samples

H = 0.5**0.5


def frame_of(array, layout, audio_format="fltp"):
    frame = av.AudioFrame.from_ndarray(array, format=audio_format, layout=layout)
    frame.sample_rate = 48000
    return frame


def test_one_channel_is_the_mean_of_left_and_right():
    rng = np.random.default_rng(1)
    stereo = rng.standard_normal((2, 1000)).astype(np.float32)
    mixed = Mixer(1).mix(stereo, frame_of(stereo, "stereo"))
    assert np.array_equal(mixed[0], (stereo[0] + stereo[1]) * np.float32(0.5))
    assert np.array_equal(mix_weights(["FL", "FR"], 1), np.array([[0.5, 0.5]], np.float32))


def test_mono_is_copied_to_both_sides():
    mono = np.arange(5, dtype=np.float32)[None] / 8
    assert np.array_equal(Mixer(2).mix(mono, frame_of(mono, "mono")), np.vstack([mono, mono]))


def test_surround_goes_to_two_as_the_itu_says_without_the_subwoofer():
    names = ["FL", "FR", "FC", "LFE", "BL", "BR"]
    expected = np.array([[1, 0, H, 0, H, 0], [0, 1, H, 0, 0, H]]) / (1 + 2 * H)
    np.testing.assert_allclose(mix_weights(names, 2), expected, rtol=1e-6)
    np.testing.assert_allclose(mix_weights(names, 1)[0], expected.mean(axis=0), rtol=1e-6)


def test_two_point_one_is_left_and_right_alone():
    assert np.array_equal(mix_weights(["FL", "FR", "LFE"], 2), np.array([[1, 0, 0], [0, 1, 0]], np.float32))


@pytest.mark.parametrize("names", [["NONE"] * 3, ["FL", "FR", "TFC"], ["LFE", "LFE2", "LFE"]])
def test_an_unknown_layout_is_the_mean_of_all(names):
    assert np.allclose(mix_weights(names, 1), 1 / 3)
    assert np.allclose(mix_weights(names, 2), 1 / 3)


@given(
    st.lists(st.sampled_from(["FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR", "BC", "TFL"]), min_size=1, max_size=8),
    st.sampled_from([1, 2]),
)
def test_mixing_never_exceeds_the_loudest_input(names, n_channels):
    weights = mix_weights(names, n_channels)
    if weights is not None:
        assert weights.shape == (n_channels, len(names))
        assert np.abs(weights).sum(axis=1).max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("audio_format", "raw", "expected"),
    [
        ("u8", np.array([[0, 128, 255]], np.uint8), [-1, 0, 127 / 128]),
        ("s16", np.array([[-32768, 0, 32767]], np.int16), [-1, 0, 32767 / 32768]),
        ("s32", np.array([[-(2**31), 0, 2**30]], np.int32), [-1, 0, 0.5]),
        ("flt", np.array([[-1, 0.25, 2]], np.float32), [-1, 0.25, 2]),
        ("dbl", np.array([[-1, 0.25, 2]], np.float64), [-1, 0.25, 2]),
    ],
)
def test_formats_are_read_exactly(audio_format, raw, expected):
    samples = read_samples(frame_of(raw, "mono", audio_format))
    assert samples.dtype == np.float32
    assert np.array_equal(samples, np.array([expected], np.float32))


def test_packed_and_planar_channels_are_told_apart():
    left_right = np.array([[1, 2, 3], [4, 5, 6]], np.int16)
    planar = read_samples(frame_of(left_right, "stereo", "s16p"))
    packed = read_samples(frame_of(np.ascontiguousarray(left_right.T).reshape(1, -1), "stereo", "s16"))
    assert np.array_equal(planar, left_right / np.float32(32768))
    assert np.array_equal(packed, planar)
