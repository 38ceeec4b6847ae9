"""PANNs as its authors publish it: names and sizes of each network, and its arithmetic straight from these names."""

from __future__ import annotations

from collections.abc import Iterator

import librosa
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

WIDTHS = (64, 128, 256, 512, 1024, 2048)
MOBILE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
          (1024, 2), (1024, 1))  # fmt: skip
RESNETS = {"ResNet22": (2, 2, 2, 2), "ResNet38": (3, 4, 6, 3)}
State = dict[str, Tensor]


def checkpoint(kind: str, rate: int = 32_000, seed: int = 0) -> State:
    """A network of that kind, filled with random numbers."""
    random = torch.Generator().manual_seed(seed)
    state = filters(rate) | _normalisation("bn0", 64, random)
    state["bn0.running_mean"] -= 40
    state["bn0.running_var"] *= 400
    for name, shape in layout(kind):
        if len(shape) == 1:
            state |= _normalisation(name, shape[0], random)
        else:
            fan_in = int(np.prod(shape[1:]))
            state[f"{name}.weight"] = torch.randn(shape, generator=random) * (2 / fan_in) ** 0.5
    for name in ("fc1", "fc_audioset"):
        state[f"{name}.bias"] = 0.1 * torch.randn(state[f"{name}.weight"].shape[0], generator=random)
    return state


def layout(kind: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of convolutions and linear layers, and of normalisations, which have one axis."""
    if kind == "MobileNetV1":
        yield from (("features.0.0", (32, 1, 3, 3)), ("features.0.2", (32,)))
        width = 32
        for number, (wider, _) in enumerate(MOBILE, start=1):
            block = f"features.{number}"
            yield from ((f"{block}.0", (width, 1, 3, 3)), (f"{block}.2", (width,)))
            yield from ((f"{block}.4", (wider, width, 1, 1)), (f"{block}.5", (wider,)))
            width = wider
    elif kind in RESNETS:
        yield from _two("conv_block1", 1, 64)
        width = 64
        for stage, (n, wider) in enumerate(zip(RESNETS[kind], WIDTHS, strict=False), start=1):
            for number in range(n):
                yield from _two(f"resnet.layer{stage}.{number}", width, wider)
                if width != wider:
                    down = f"resnet.layer{stage}.{number}.downsample"
                    yield from ((f"{down}.1", (wider, width, 1, 1)), (f"{down}.2", (wider,)))
                width = wider
        yield from _two("conv_block_after1", width, 2048)
        width = 2048
    else:
        width = 1
        for number, wider in enumerate(WIDTHS[: 6 if kind == "Cnn14" else 4], start=1):
            if kind == "Cnn6":
                yield from ((f"conv_block{number}.conv1", (wider, width, 5, 5)), (f"conv_block{number}.bn1", (wider,)))
            else:
                yield from _two(f"conv_block{number}", width, wider)
            width = wider
    yield from (("fc1", (width, width)), ("fc_audioset", (527, width)))


def filters(rate: int) -> State:
    """The features' own, as torchlibrosa stores them."""
    n_fft, highest = {32_000: (1024, 14_000), 16_000: (512, 8000), 8_000: (256, 4000)}[rate]
    phase = np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) * (2 * np.pi / n_fft)
    window = librosa.filters.get_window("hann", n_fft, fftbins=True)
    bank = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=64, fmin=50, fmax=highest)
    return {
        "spectrogram_extractor.stft.conv_real.weight": torch.from_numpy((np.cos(phase) * window)[:, None]).float(),
        "spectrogram_extractor.stft.conv_imag.weight": torch.from_numpy((-np.sin(phase) * window)[:, None]).float(),
        "logmel_extractor.melW": torch.from_numpy(np.ascontiguousarray(bank.T)),
    }


@torch.no_grad()
def features(state: State, samples: Tensor) -> Tensor:
    """[n, n_samples] to [n, 1, n_hops, 64]: reflect, convolve with waves, square, sum into bands, decibels."""
    real, imaginary = (state[f"spectrogram_extractor.stft.conv_{part}.weight"] for part in ("real", "imag"))
    n_fft = real.shape[2]
    padded = functional.pad(samples[:, None], (n_fft // 2, n_fft // 2), mode="reflect")
    hop = {1024: 320, 512: 160, 256: 80}[n_fft]
    power = sum(functional.conv1d(padded, wave, stride=hop).square() for wave in (real, imaginary))
    bands = power.transpose(1, 2) @ state["logmel_extractor.melW"]
    return 10 * torch.log10(bands.clamp(min=1e-10))[:, None]


@torch.no_grad()
def embedding(kind: str, state: State, maps: Tensor) -> Tensor:
    """[n, 1, n_hops, 64] features to [n, n_features]."""
    maps = _normalise(state, "bn0", maps.transpose(1, 3)).transpose(1, 3)
    if kind == "MobileNetV1":
        maps = functional.avg_pool2d(_convolve(state, "features.0.0", maps), 2)
        maps = _normalise(state, "features.0.2", maps).relu()
        for number, (_, stride) in enumerate(MOBILE, start=1):
            block = f"features.{number}"
            maps = functional.avg_pool2d(_convolve(state, f"{block}.0", maps), stride)
            maps = _convolve(state, f"{block}.4", _normalise(state, f"{block}.2", maps).relu())
            maps = _normalise(state, f"{block}.5", maps).relu()
    elif kind in RESNETS:
        maps = functional.avg_pool2d(_block(state, "conv_block1", maps), 2)
        for stage, n in enumerate(RESNETS[kind], start=1):
            for number in range(n):
                maps = _residual(state, f"resnet.layer{stage}.{number}", maps, halve=stage > 1 and number == 0)
        maps = _block(state, "conv_block_after1", functional.avg_pool2d(maps, 2))
    else:
        n_blocks = 6 if kind == "Cnn14" else 4
        for number in range(1, n_blocks + 1):
            maps = _block(state, f"conv_block{number}", maps)
            maps = maps if number == 6 else functional.avg_pool2d(maps, 2)
    hops = maps.mean(dim=3)
    both = hops.max(dim=2).values + hops.mean(dim=2)
    return functional.linear(both, state["fc1.weight"], state["fc1.bias"]).relu()


def _block(state: State, name: str, maps: Tensor) -> Tensor:
    """The convolutions of a block, one or two."""
    for number in (1, 2):
        if f"{name}.conv{number}.weight" in state:
            maps = _normalise(state, f"{name}.bn{number}", _convolve(state, f"{name}.conv{number}", maps)).relu()
    return maps


def _residual(state: State, name: str, maps: Tensor, *, halve: bool) -> Tensor:
    """Two convolutions beside what came."""
    beside = maps
    if halve:
        maps = functional.avg_pool2d(maps, 2)
        beside = _normalise(state, f"{name}.downsample.2", _convolve(state, f"{name}.downsample.1", maps))
    out = _normalise(state, f"{name}.bn1", _convolve(state, f"{name}.conv1", maps)).relu()
    out = _normalise(state, f"{name}.bn2", _convolve(state, f"{name}.conv2", out))
    return (out + beside).relu()


def _convolve(state: State, name: str, maps: Tensor) -> Tensor:
    """A convolution that keeps the size."""
    weight = state[f"{name}.weight"]
    return functional.conv2d(maps, weight, padding=weight.shape[2] // 2, groups=maps.shape[1] // weight.shape[1])


def _normalise(state: State, name: str, maps: Tensor) -> Tensor:
    """By the running statistics."""
    mean, var, scale, shift = (
        state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (maps - mean) / torch.sqrt(var + 1e-5) * scale + shift


def _normalisation(name: str, n: int, random: torch.Generator) -> State:
    """Statistics, scale and shift."""
    shift, mean = (0.1 * torch.randn(n, generator=random) for _ in range(2))
    var, scale = (0.5 + torch.rand(n, generator=random) for _ in range(2))
    counter = {f"{name}.num_batches_tracked": torch.tensor(600_000)}
    return {f"{name}.weight": scale, f"{name}.bias": shift, f"{name}.running_mean": mean, f"{name}.running_var": var,
            **counter}  # fmt: skip


def _two(name: str, n_in: int, n_out: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Two 3×3 convolutions with their normalisations."""
    yield from ((f"{name}.conv1", (n_out, n_in, 3, 3)), (f"{name}.bn1", (n_out,)))
    yield from ((f"{name}.conv2", (n_out, n_out, 3, 3)), (f"{name}.bn2", (n_out,)))
