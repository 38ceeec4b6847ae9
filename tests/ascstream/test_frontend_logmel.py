"""Log-mel against torchaudio, librosa and scipy, which know nothing of ours: values, in float64 where they can."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.signal
import torch
from numpy.typing import NDArray
from support.recordings import SCENES, recording

from ascstream.features.logmel import mel_filter_bank
from ascstream.frontend import LogMel
from engines.manifest import LogMelFeature, n_hops

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torchaudio
    import torchaudio.compliance.kaldi
    from torchaudio.functional import melscale_fbanks

RATE = 44_100
WIDE = LogMelFeature("logmel", 1764, 1764, 882, 64, 0.0, 22_050.0)
SLIM = LogMelFeature("logmel", 1024, 1024, 480, 64, 50.0, 11_000.0)
RECIPES: dict[str, tuple[int, dict[str, Any]]] = {
    "wide": (44_100, {}),
    "slim": (24_000, {"n_fft": 1024, "window_length": 1024, "hop_length": 480, "f_min": 50.0, "f_max": 11_000.0}),
    "centred": (44_100, {"center": True}),
    "centred on zeros": (44_100, {"center": True, "pad_mode": "constant"}),
    "magnitude": (44_100, {"power": 1}),
    "slaney": (44_100, {"mel_scale": "slaney", "mel_norm": "slaney"}),
    "htk with area": (44_100, {"mel_norm": "slaney"}),
    "padded window": (44_100, {"n_fft": 2048, "window_length": 1764, "n_mels": 40}),
    "odd padding": (44_100, {"n_fft": 2048, "window_length": 1763, "center": True}),
    "symmetric hamming": (44_100, {"window": "hamming", "periodic": False}),
    "rectangular": (44_100, {"window": "rectangular"}),
    "wave-spec": (
        48_000,
        {
            "n_fft": 2048,
            "window_length": 2048,
            "hop_length": 256,
            "n_mels": 128,
            "f_max": 24_000.0,
            "center": True,
            "mel_scale": "slaney",
            "mel_norm": "slaney",
        },
    ),
}


@pytest.fixture(params=RECIPES.items(), ids=lambda item: item[0])
def recipe(request: pytest.FixtureRequest) -> tuple[int, LogMelFeature]:
    rate, changes = request.param[1]
    fields = {"n_fft": 1764, "window_length": 1764, "hop_length": 882, "n_mels": 64, "f_min": 0.0, "f_max": 22_050.0}
    return rate, LogMelFeature("logmel", **(fields | changes))


def noise(rate: int, n_channels: int = 2, seed: int = 0, seconds: float = 1.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((n_channels, round(seconds * rate)))).astype(np.float32)


def reference_spectrum(samples: NDArray[np.float32], spec: LogMelFeature) -> NDArray[np.float64]:
    """Power or magnitude [n_channels, n_bins, n_hops] by torchaudio in float64."""
    windows = {"hann": torch.hann_window, "hamming": torch.hamming_window}
    window = (
        torch.ones(spec.window_length, dtype=torch.float64)
        if spec.window == "rectangular"
        else windows[spec.window](spec.window_length, periodic=spec.periodic, dtype=torch.float64)
    )
    return torchaudio.functional.spectrogram(
        torch.from_numpy(samples.astype(np.float64)),
        pad=0,
        window=window,
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        win_length=spec.window_length,
        power=float(spec.power),
        normalized=False,
        center=spec.center,
        pad_mode=spec.pad_mode,
    ).numpy()


def reference_bank(spec: LogMelFeature, rate: int) -> NDArray[np.float64]:
    """Weights [n_bins, n_mels] by torchaudio in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        bank = melscale_fbanks(
            spec.n_fft // 2 + 1, spec.f_min, spec.f_max, spec.n_mels, rate, spec.mel_norm, spec.mel_scale
        )
    finally:
        torch.set_default_dtype(torch.float32)
    return bank.numpy()


def reference_mel(samples: NDArray[np.float32], spec: LogMelFeature, rate: int) -> NDArray[np.float64]:
    """Power or magnitude by band [n_channels, n_mels, n_hops] by torchaudio in float64."""
    return reference_bank(spec, rate).T @ reference_spectrum(samples, spec)


def test_noise_equals_torchaudio_in_double_precision(recipe: tuple[int, LogMelFeature]) -> None:
    rate, spec = recipe
    samples = noise(rate)
    expected = np.log(reference_mel(samples, spec, rate))
    ours = LogMel(spec, rate)(samples)
    assert ours.dtype == np.float32
    assert ours.shape == expected.shape == (2, spec.n_mels, n_hops(spec, rate))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("rate", "spec", "limit"), [(44_100, WIDE, 1e-5), (24_000, SLIM, 2e-5)], ids=["wide", "slim"])
def test_noise_equals_torchaudio_as_people_call_it(rate: int, spec: LogMelFeature, limit: float) -> None:
    """In float32 its filter bank has ten times our error; the narrow filters at the edges show it."""
    transform = torchaudio.transforms.MelSpectrogram(
        rate, spec.n_fft, spec.window_length, spec.hop_length, spec.f_min, spec.f_max, n_mels=64, center=False
    )
    samples = noise(rate)
    expected = torch.log(torch.clamp(transform(torch.from_numpy(samples)), min=1e-10)).numpy()
    np.testing.assert_allclose(LogMel(spec, rate)(samples), expected, rtol=0, atol=limit)


def signals(rate: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    time = np.arange(rate) / rate
    yield "tone", np.sin(2 * np.pi * 997 * time)
    yield "quiet tone", 1e-4 * np.sin(2 * np.pi * 60 * time)
    yield "chirp", scipy.signal.chirp(time, 20, 1, rate / 2)
    yield "constant", np.full(rate, 0.5)
    yield "click", np.eye(1, rate, rate // 2)[0]


def test_tones_chirps_and_clicks_keep_linear_power(recipe: tuple[int, LogMelFeature]) -> None:
    rate, spec = recipe
    extractor = LogMel(spec, rate)
    for name, signal in signals(rate):
        assert_linear(extractor, signal[None].astype(np.float32), rate, name)


@pytest.mark.data
@pytest.mark.parametrize("name", SCENES)
def test_recordings_keep_linear_power(recipe: tuple[int, LogMelFeature], name: str) -> None:
    rate, spec = recipe
    assert_linear(LogMel(spec, rate), recording(name, rate, 3.0, n_channels=2), rate, name)


def assert_linear(extractor: LogMel, samples: NDArray[np.float32], rate: int, name: str) -> None:
    """Power (magnitude where the spec says so) within 1e-6 of the hop's largest, whether that lies in a band or not."""
    spec = extractor.spec
    bank = reference_bank(spec, rate)
    spectrum = reference_spectrum(samples, spec)
    expected = bank.T @ spectrum
    peak = np.maximum(expected.max(axis=1), bank.max() * spectrum.max(axis=1))
    error = np.abs(extractor.mel(samples) - expected).max(axis=1)
    assert np.all(error <= 1e-6 * peak), f"{name}: {(error / np.maximum(peak, 1e-30)).max()}"


def test_silence_is_the_floor(recipe: tuple[int, LogMelFeature]) -> None:
    rate, spec = recipe
    values = LogMel(spec, rate)(np.zeros((1, rate), np.float32))
    np.testing.assert_allclose(values, np.log(1e-10), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("n_fft", [1764, 883], ids=["even", "odd"])
def test_slaney_equals_librosa(n_fft: int, *, center: bool) -> None:
    spec = LogMelFeature(
        "logmel", n_fft, n_fft, 441, 40, 0.0, 11_025.0, center=center, mel_scale="slaney", mel_norm="slaney"
    )
    samples = noise(22_050, n_channels=1)
    expected = librosa.feature.melspectrogram(
        y=samples[0].astype(np.float64),
        sr=22_050,
        n_fft=n_fft,
        hop_length=441,
        center=center,
        pad_mode="reflect",
        n_mels=40,
        dtype=np.float64,
    )
    ours = LogMel(spec, 22_050)(samples)[0]
    assert ours.shape == expected.shape
    np.testing.assert_allclose(np.exp(ours.astype(np.float64)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"log": "log10"}, lambda mel: np.log10(np.maximum(mel, 1e-10))),
        ({"log": "db"}, lambda mel: 10 * np.log10(np.maximum(mel, 1e-10))),
        ({"log": "db", "power": 1}, lambda mel: 20 * np.log10(np.maximum(mel, 1e-10))),
        ({"log_floor": 0.5, "log_floor_mode": "add"}, lambda mel: np.log(mel + 0.5)),
        ({"log_floor": 0.5}, lambda mel: np.log(np.maximum(mel, 0.5))),
        ({"row_order": "high_to_low"}, lambda mel: np.log(mel)[:, ::-1]),
    ],
    ids=["log10", "db of power", "db of magnitude", "floor added", "floor clamped", "high to low"],
)
def test_logarithms_floors_and_row_order(changes: dict[str, Any], expected: Any) -> None:
    spec = LogMelFeature("logmel", 1764, 1764, 882, 64, 0.0, 22_050.0, **changes)
    samples = noise(RATE)
    np.testing.assert_allclose(
        LogMel(spec, RATE)(samples), expected(reference_mel(samples, spec, RATE)), rtol=1e-6, atol=5e-6
    )


def test_range_is_relative_to_the_maximum_of_the_input_as_in_torchaudio() -> None:
    spec = LogMelFeature("logmel", 1764, 1764, 882, 64, 0.0, 22_050.0, log="db", range_db=30.0)
    samples = noise(RATE) * np.linspace(1, 1e-4, RATE, dtype=np.float32)
    clipped = torchaudio.functional.amplitude_to_DB(
        torch.from_numpy(reference_mel(samples, spec, RATE)), 10.0, 1e-10, 0.0, top_db=30.0
    ).numpy()
    ours = LogMel(spec, RATE)(samples)
    assert ours.max() == 0
    assert ours.min() == -30
    np.testing.assert_allclose(ours, clipped - clipped.max(), rtol=0, atol=5e-5)


def test_preemphasis_equals_the_filter_started_from_zero() -> None:
    spec = LogMelFeature("logmel", 1764, 1764, 882, 64, 0.0, 22_050.0, preemphasis=0.97)
    samples = noise(RATE)
    filtered = scipy.signal.lfilter([1, -0.97], [1], samples.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(LogMel(spec, RATE)(samples), LogMel(WIDE, RATE)(filtered), rtol=0, atol=2e-5)


@pytest.mark.parametrize("center", [True, False])
def test_preemphasis_may_begin_with_the_second_sample(*, center: bool) -> None:
    changes: dict[str, Any] = {"center": center, "n_mels": 40}
    spec = LogMelFeature("logmel", 1764, 1764, 500, f_min=0.0, f_max=22_050.0, **changes)
    emphasised = LogMelFeature(
        "logmel", 1764, 1764, 500, f_min=0.0, f_max=22_050.0, preemphasis=0.97, preemphasis_start="drop", **changes
    )
    samples = noise(RATE, seconds=1764 / RATE + 1)[:, : 4 * 500 + 1764]
    filtered = (samples[:, 1:].astype(np.float64) - 0.97 * samples[:, :-1]).astype(np.float32)
    ours = LogMel(emphasised, RATE)(samples)
    assert ours.shape[2] == n_hops(emphasised, samples.shape[1]) == n_hops(spec, samples.shape[1] - 1)
    np.testing.assert_allclose(ours, LogMel(spec, RATE)(filtered), rtol=0, atol=2e-5)


@pytest.mark.parametrize(("n_mels", "f_max"), [(256, 15_500.0), (128, 15_000.0), (64, 16_000.0)])
def test_filters_equal_kaldi_s_to_their_edges(n_mels: int, f_max: float) -> None:
    spec = LogMelFeature("logmel", 4096, 3072, 500, n_mels, 0.0, f_max, mel_scale="kaldi")
    kaldi, _ = torchaudio.compliance.kaldi.get_mel_banks(n_mels, 4096, 32_000.0, 0.0, f_max, 100.0, -500.0, 1.0)
    bank = mel_filter_bank(spec, 32_000)
    np.testing.assert_allclose(bank[:, :-1], kaldi.numpy(), rtol=0, atol=5e-5)
    np.testing.assert_allclose(bank[:, -1], 0, rtol=0, atol=5e-5)
    htk = mel_filter_bank(LogMelFeature("logmel", 4096, 3072, 500, n_mels, 0.0, f_max), 32_000)
    assert np.abs(bank - htk).max() > 1e-3  # the sides are straight over another axis


def test_samples_too_few_for_a_hop_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1764 samples, got 1763"):
        LogMel(WIDE, RATE)(np.zeros((1, 1763), np.float32))
    centred = LogMelFeature("logmel", 1764, 1764, 882, 64, 0.0, 22_050.0, center=True)
    with pytest.raises(ValueError, match="expected more than 882 samples to reflect, got 882"):
        LogMel(centred, RATE)(np.zeros((1, 882), np.float32))
    dropped = LogMelFeature("logmel", 1764, 1764, 882, 64, 0.0, 22_050.0, preemphasis=0.9, preemphasis_start="drop")
    with pytest.raises(ValueError, match="expected at least 1765 samples, got 1764"):
        LogMel(dropped, RATE)(np.zeros((1, 1764), np.float32))


def test_one_extractor_serves_several_threads() -> None:
    extractor = LogMel(SLIM, 24_000)
    inputs = [noise(24_000, seed=seed) for seed in range(4)]
    expected = [extractor(samples) for samples in inputs]
    wrong: list[int] = []

    def work(index: int) -> None:
        wrong.extend(index for _ in range(50) if not np.array_equal(extractor(inputs[index]), expected[index]))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted on Linux")
def test_a_window_does_not_fault_its_scratch_in_again() -> None:
    code = """
import resource
import numpy as np
from ascstream.features.logmel import mel_filter_bank
from ascstream.frontend import LogMel
from engines.manifest import LogMelFeature
extractor = LogMel(LogMelFeature("logmel", 1764, 1764, 882, 64, 0.0, 22_050.0), 44_100)
samples = np.zeros((3, 44_100), np.float32)
for _ in range(5):
    extractor(samples)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    extractor(samples)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 50
