"""Every network of the registry as its configuration has it, with random weights, and windows to try it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from support.networks import settle
from torch import nn

from trainer.config import Config, load_config
from trainer.export.cases import Cases, Material
from trainer.export.contents import Made, write_network
from trainer.export.graphs import NetworkGraphs, trace_network
from trainer.inputs import Inputs
from trainer.models.sizes import TRAINABLE, config_of
from trainer.models.systems import System, build_network, check_inputs

ROOT = Path(__file__).parents[2]
LABELS = tuple(sorted(("airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall",
                       "street_pedestrian", "street_traffic", "tram")))  # fmt: skip
BIG = ("clip_probe", "clip_zero_shot", "resnet_audio", "resnet_clip", "se_crnn", "se_crnn_early", "se_visual")
"""Networks of ten million parameters and more."""
SMALL = tuple(name for name in TRAINABLE if name not in BIG)


class NoiseStore:
    """Clips of noise and of moving colours, different ones, without a file."""

    def __init__(self, inputs: Inputs, n_clips: int, seconds: float) -> None:
        self._inputs, self._n_clips, self._seconds = inputs, n_clips, seconds

    @property
    def sample_rate(self) -> int:
        return self._inputs.sample_rate

    def __len__(self) -> int:
        return self._n_clips

    def seconds(self, clip: int) -> float:
        return self._seconds

    def samples(self, clip: int, start: int, n_samples: int) -> NDArray[np.float32]:
        rng = np.random.default_rng((clip, start + 10_000_000))
        noise = rng.standard_normal((self._inputs.n_source_channels, n_samples), dtype=np.float32)
        return 0.1 * np.cumsum(noise, axis=1) / 30 if clip % 2 else 0.1 * noise

    def frames(
        self, clip: int, times: Sequence[float], max_age_seconds: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        video = self._inputs.video
        assert video is not None
        rng = np.random.default_rng((clip, *(round(1000 * time) for time in times)))
        coarse = rng.integers(30, 256, (len(times), 8, 8, 3), np.uint8)
        rows, columns = (np.arange(size) * 8 // size for size in (video.height, video.width))
        return coarse[:, rows][:, :, columns], np.ones(len(times), bool)


@dataclass(frozen=True)
class Traced:
    """One network, exported but not written."""

    config: Config
    system: System
    network: nn.Module
    graphs: NetworkGraphs
    cases: Cases

    @property
    def fields(self) -> Mapping[str, Any]:
        """The manifest, as far as the graphs do not say it."""
        return {
            "name": self.config.name,
            "version": "1.0.0",
            "description": "Random weights.",
            "licence": "Apache-2.0",
            "labels": LABELS,
            "window": self.config.window,
            "outputs": [{"name": name} for name in self.graphs.outputs],
        }

    def write(self, path: Path, made: Made | None = None) -> Path:
        """Its bundle, checked."""
        return write_network(path, self.graphs, made or {"float32": self.graphs.graphs}, self.fields).path


def published_config(name: str, settings: Sequence[str] = ()) -> Config:
    """The configuration that trains a network as published, with other settings over it."""
    file, *own = (config_of(name) or "").split(" --set ")
    return load_config(ROOT / file, [*own, *settings])


def trace(name: str, settings: Sequence[str] = (), n_blocks: int | None = None, seed: int = 0) -> Traced:
    """A network of ten labels with random weights and normalisations away from neutral, as graphs.

    Args:
        name: Which.
        settings: Over its configuration.
        n_blocks: Blocks that are left of CLIP's tower; None: all.
        seed: Of the weights.
    """
    torch.manual_seed(seed)
    config = published_config(name, settings)
    system = check_inputs(config)
    network = settle(build_network(config, len(LABELS)), seed)
    with torch.no_grad():
        for part, module in network.named_modules():
            if name.startswith("resnet") and part.split(".")[-1] == "classify":
                module.weight.div_(200)  # behind fifty random normalisations logits are in the thousands
    if n_blocks is not None:
        blocks = network.get_submodule("encoder.transformer")
        blocks["resblocks"] = blocks["resblocks"][:n_blocks]
    material = Material(
        NoiseStore(config.inputs, 10, config.window.seconds + 1),
        np.arange(10),
        tuple(range(10)),
        tuple(range(10)),
        True,
    )
    cases = Cases(material, system, config.inputs, config)
    return Traced(config, system, network, trace_network(system, network, config.inputs, cases.golden()), cases)
