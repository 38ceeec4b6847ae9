"""EfficientAT as published: the layout of its files filled with random numbers, and its arithmetic from their names."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.nn import functional

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torchaudio.compliance.kaldi

RATE = 32_000
ROWS = """
3 16 16 - 1    3 64 24 - 2    3 72 24 - 1    5 72 40 s 2     5 120 40 s 1
5 120 40 s 1   3 240 80 - 2   3 200 80 - 1   3 184 80 - 1    3 184 80 - 1
3 480 112 s 1  3 672 112 s 1  5 672 160 s 2  5 960 160 s 1   5 960 160 s 1
"""
"""Of MobileNetV3's large form: kernel, channels inside, channels out, squeeze-excitation, stride."""
STRIDES = {"features.0": 2, "features.2": 2, "features.4": 2, "features.7": 2, "features.13": 2}
FIRST_SMOOTH = 7
"""From this layer on blocks have hardswish; ReLU before."""


def wide(channels: float) -> int:
    """The nearest multiple of 8, not more than a tenth below."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near if near >= 0.9 * channels else near + 8


class _Filler:
    """Tensors of a checkpoint, one after the other."""

    def __init__(self, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.state: dict[str, Tensor] = {}

    def matrix(self, name: str, *shape: int) -> None:
        """Weights that keep the spread of what goes through."""
        fan_in = torch.Size(shape[1:]).numel()
        self.state[f"{name}.weight"] = (2 / fan_in) ** 0.5 * torch.randn(shape, generator=self.random)

    def linear(self, name: str, n_in: int, n_out: int) -> None:
        """With a bias."""
        self.matrix(name, n_out, n_in)
        self.state[f"{name}.bias"] = 0.1 * torch.randn(n_out, generator=self.random)

    def layer(self, name: str, n_in: int, n_out: int, kernel: int, groups: int = 1) -> None:
        """A convolution and its normalisation, whose statistics `authors` fills in."""
        self.matrix(f"{name}.0", n_out, n_in // groups, kernel, kernel)
        self.state[f"{name}.1.weight"] = 0.5 + torch.rand(n_out, generator=self.random)
        self.state[f"{name}.1.bias"] = torch.rand(n_out, generator=self.random) - 0.5
        self.state[f"{name}.1.num_batches_tracked"] = torch.tensor(0)


def published_efficientat(width: float, seed: int = 0, n_tags: int = 527) -> dict[str, Tensor]:
    """A checkpoint of that width, as its authors' code writes one; statistics as if trained on hums and hisses."""
    filler, n_in = _Filler(seed), wide(16 * width)
    filler.layer("features.0", 1, n_in, 3)
    table = ROWS.split()
    for index, row in enumerate(zip(*[iter(table)] * 5, strict=True), start=1):
        kernel, inner, n_out = int(row[0]), wide(int(row[1]) * width), wide(int(row[2]) * width)
        place = 0
        if inner != n_in:
            filler.layer(f"features.{index}.block.0", n_in, inner, 1)
            place = 1
        filler.layer(f"features.{index}.block.{place}", inner, inner, kernel, groups=inner)
        if row[3] == "s":
            place += 1
            squeezed = wide(inner // 4)
            filler.linear(f"features.{index}.block.{place}.conc_se_layers.0.fc1", inner, squeezed)
            filler.linear(f"features.{index}.block.{place}.conc_se_layers.0.fc2", squeezed, inner)
        filler.layer(f"features.{index}.block.{place + 1}", inner, n_out, 1)
        n_in = n_out
    filler.layer("features.16", n_in, 6 * n_in, 1)
    filler.linear("classifier.2", 6 * n_in, wide(1280 * width))
    filler.linear("classifier.5", wide(1280 * width), n_tags)
    authors(filler.state, augment_mel(sounds(filler.random)))
    return filler.state


def sounds(random: torch.Generator) -> Tensor:
    """[12, 32000]: tones of any pitch in any noise."""
    pitch, tone, noise = (10 ** (low + span * torch.rand(12, 1, generator=random))
                          for low, span in ((2, 2), (-3, 2), (-4, 3)))  # fmt: skip
    time = torch.arange(RATE) / RATE
    return tone * torch.sin(2 * torch.pi * pitch * time) + noise * torch.randn(12, RATE, generator=random)


def augment_mel(samples: Tensor) -> Tensor:
    """[n, n_samples] to [n, 128, n_hops]: AugmentMelSTFT at rest, its highest frequency the default of its authors."""
    emphasised = functional.conv1d(samples[:, None], torch.tensor([[[-0.97, 1.0]]]))[:, 0]
    window = torch.hann_window(800, periodic=False)
    spectrum = torch.stft(emphasised, 1024, hop_length=320, win_length=800, window=window, return_complex=True)
    bank, _ = torchaudio.compliance.kaldi.get_mel_banks(128, 1024, RATE, 0.0, RATE / 2 - 1000, 100.0, -500.0, 1.0)
    bands = functional.pad(bank, (0, 1)) @ torch.view_as_real(spectrum).square().sum(dim=-1)
    return (torch.log(bands + 1e-5) + 4.5) / 5


@torch.no_grad()
def authors(state: dict[str, Tensor], features: Tensor) -> tuple[Tensor, Tensor]:
    """[n, 128, n_hops] features to [n, 527] logits of tags and [n, 960 · width] pooled maps, from the file's names.

    Statistics of a normalisation that are not there become those of its maps.
    """
    maps = _hardswish(_convolve(state, "features.0", features[:, None], 2))
    for index in range(1, 16):
        maps = _block(state, f"features.{index}", maps, smooth=index >= FIRST_SMOOTH)
    pooled = _hardswish(_convolve(state, "features.16", maps)).mean(dim=(2, 3))
    hidden = _hardswish(pooled @ state["classifier.2.weight"].T + state["classifier.2.bias"])
    return hidden @ state["classifier.5.weight"].T + state["classifier.5.bias"], pooled


def _block(state: dict[str, Tensor], name: str, maps: Tensor, *, smooth: bool) -> Tensor:
    """Its parts in the order of their numbers; the last neither rectified nor strided."""
    parts = sorted({key[len(f"{name}.block.")] for key in state if key.startswith(f"{name}.block.")})
    out = maps
    for part in parts:
        key = f"{name}.block.{part}"
        if f"{key}.0.weight" not in state:
            out = out * _gate(state, f"{key}.conc_se_layers.0", out)
            continue
        apart = state[f"{key}.0.weight"].shape[1] == 1
        out = _convolve(state, key, out, STRIDES.get(name, 1) if apart else 1)
        if part != parts[-1]:
            out = _hardswish(out) if smooth else out.clamp(min=0)
    return out + maps if out.shape == maps.shape else out


def _gate(state: dict[str, Tensor], name: str, maps: Tensor) -> Tensor:
    """Squeeze-excitation over channels: theirs ends in a sigmoid, not in MobileNetV3's hard one."""
    means = maps.mean(dim=(2, 3))
    hidden = (means @ state[f"{name}.fc1.weight"].T + state[f"{name}.fc1.bias"]).clamp(min=0)
    weights = 1 / (1 + torch.exp(-(hidden @ state[f"{name}.fc2.weight"].T + state[f"{name}.fc2.bias"])))
    return weights[:, :, None, None]


def _convolve(state: dict[str, Tensor], name: str, maps: Tensor, stride: int = 1) -> Tensor:
    """A convolution without a bias, and its normalisation."""
    weight = state[f"{name}.0.weight"]
    groups = maps.shape[1] // weight.shape[1]
    maps = functional.conv2d(maps, weight, stride=stride, padding=weight.shape[2] // 2, groups=groups)
    if f"{name}.1.running_var" not in state:
        state[f"{name}.1.running_mean"] = maps.mean((0, 2, 3))
        state[f"{name}.1.running_var"] = maps.var((0, 2, 3)).clamp(min=0.1)
    mean, var, scale, shift = (
        state[f"{name}.1.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (maps - mean) / torch.sqrt(var + 0.001) * scale + shift


def _hardswish(maps: Tensor) -> Tensor:
    """The product of x and min(max(x + 3, 0), 6) / 6."""
    return maps * (maps + 3).clamp(0, 6) / 6
