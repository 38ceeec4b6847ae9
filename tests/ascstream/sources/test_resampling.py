"""Resampling: exact lengths, and the same samples however the input is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ascstream.sources.resampling import Resampler


def resample(samples, sizes, input_rate, output_rate):
    resampler = Resampler(input_rate, output_rate, samples.shape[0])
    parts, start = [], 0
    while start < samples.shape[1]:
        size = sizes[len(parts) % len(sizes)]
        parts.append(resampler.push(samples[:, start : start + size]))
        start += size
    return np.concatenate([*parts, resampler.finish()], axis=1)


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=5),
    rates=st.sampled_from(
        [(48000, 24000), (44100, 24000), (8000, 44100), (96000, 16000), (44100, 48000), (24000, 24000)]
    ),
    n_samples=st.integers(1, 20000),
    n_channels=st.sampled_from([1, 2]),
)
def test_cutting_does_not_matter_and_the_length_is_exact(sizes, rates, n_samples, n_channels):
    rng = np.random.default_rng(n_samples)
    samples = rng.standard_normal((n_channels, n_samples)).astype(np.float32)
    whole = resample(samples, [n_samples], *rates)
    assert whole.shape == (n_channels, -(-n_samples * rates[1] // rates[0]))
    assert np.array_equal(resample(samples, sizes, *rates), whole)


@pytest.mark.parametrize("rates", [(48000, 24000), (44100, 24000), (8000, 44100)])
def test_a_sine_stays_the_sine_at_the_same_time(rates):
    input_rate, output_rate = rates
    samples = np.sin(2 * np.pi * 700 * np.arange(2 * input_rate) / input_rate).astype(np.float32)[None]
    out = resample(samples, [1000], *rates)[0]
    expected = np.sin(2 * np.pi * 700 * np.arange(2 * output_rate) / output_rate)
    middle = slice(output_rate // 10, -output_rate // 10)
    assert np.abs(out[middle] - expected[middle]).max() < 1e-3
