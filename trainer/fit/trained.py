"""A trained network: loaded from its checkpoint, and run on any number of windows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engines.schema import decode
from trainer.config import Config
from trainer.data.augment import Floats
from trainer.errors import RunError
from trainer.fit.checkpoint import check_same, load_checkpoint
from trainer.fit.history import Epoch, from_plain
from trainer.inputs import Inputs
from trainer.models.systems import System, build_network, find_system, run_network

CHECKPOINT = "checkpoint.pt"
_WINDOWS, _NUMBERS = 256, 1 << 22
"""Limits for one forward pass: windows, and elements of one input."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network and its inputs."""

    network: nn.Module
    """Holds the weights that training kept; in evaluation mode."""
    system: System
    """Description of the network."""
    inputs: Inputs
    """The inputs it takes, statistics included."""
    history: tuple[Epoch, ...]
    """Its training history."""

    def answer(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        """Map the inputs of n windows to logits [n, n_labels] per head."""
        return answer_with(self.system, self.network, inputs)


def answer_with(
    system: System, network: nn.Module, inputs: Mapping[str, Floats], answer: str = "fused"
) -> dict[str, Floats]:
    """Run a network in evaluation mode on windows, in chunks, on the device its weights are on.

    Args:
        system: The network's description.
        network: The network.
        inputs: By name, [n, …] each.
        answer: The output requested.

    Returns:
        Logits [n, n_labels] per head; see `run_network`.
    """
    device = next(network.parameters()).device
    n_windows = len(next(iter(inputs.values())))
    numbers = max(values.size for values in inputs.values())
    n_parts = max(n_windows // _WINDOWS, math.ceil(numbers / _NUMBERS) - 1) + 1
    cut = {name: np.array_split(values, n_parts) for name, values in inputs.items()}
    answers: list[dict[str, Tensor]] = []
    with torch.inference_mode():
        for index in range(n_parts):
            part = {name: torch.from_numpy(values[index]).to(device) for name, values in cut.items()}
            if len(part[next(iter(part))]):
                answers.append(run_network(system, network, part, answer))
    return {name: torch.cat([part[name] for part in answers]).float().cpu().numpy() for name in answers[0]}


def load_trained(folder: Path, n_labels: int, config: Config) -> Trained:
    """Load a network that `fit_network` finished, onto the CPU.

    Raises:
        RunError: There is none, it is not finished, or it is of another configuration.
    """
    path = folder / CHECKPOINT
    return restore(load_checkpoint(path), n_labels, config, path)


def restore(state: Mapping[str, Any], n_labels: int, config: Config, path: Path) -> Trained:
    """Rebuild a finished network from its checkpoint's state.

    Raises:
        RunError: It is not finished, or is of another configuration; the message names `path`.
    """
    check_same(state, config, n_labels, path)
    history = from_plain(state["history"])
    if "weights" not in state:
        steps = [step.epochs or config.train.epochs for step in config.train.steps] or [config.train.epochs]
        raise RunError(f"{path}: expected {sum(steps)} epochs, got {len(history)}; type: trainer fit … --resume")
    network = build_network(config, n_labels)
    load_weights(network, state["weights"], path)
    return Trained(network.eval(), find_system(config), decode(Inputs, state["inputs"]), history)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load a checkpoint's weights into a network.

    Raises:
        RunError: The weights belong to another network.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"{path}: expected weights of {type(network).__name__}, got others: {reason[:200]}; "
            "choose a new folder with --out"
        ) from None
