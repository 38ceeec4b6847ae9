"""One interface to the configurable networks: build, run, compute the loss, and split for export.

Their descriptions and published results are in `trainer.models.reference` and `trainer.models.ours`.
"""

from __future__ import annotations

import copy
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.config import Config, ModelConfig, TrainConfig
from trainer.errors import ConfigError
from trainer.inputs import EMBEDDINGS, FEATURES, FRAMES, PRESENCE
from trainer.models import subspectral
from trainer.models.ours import OURS
from trainer.models.pretrained import find_part, load_weights
from trainer.models.reference import REFERENCES
from trainer.models.sizes import TAKES, TRAINABLE, check_sizes, window_shapes

MODALITIES = ("audio", "video")
"""Order of the presence flags."""


@dataclass(frozen=True, slots=True)
class System:
    """A network as training and export see it."""

    name: str
    """Name in the configuration."""
    inputs: tuple[str, ...]
    """Some of features, waveform, frames, presence, in the order of the network's `forward`."""
    outputs: tuple[str, ...]
    """Names of the heads: "fused" first, then "audio" and "video" if the network has them."""
    encodes_frames: bool
    """Whether it has `.encoder`, one frame [n, 3, height, width] to [n, E], and `.scene`, which takes embeddings."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A network in its export form: copies in evaluation mode."""

    scene: nn.Module
    """Maps a window's inputs to logits: a tensor, or a tuple of tensors in the order of `outputs`."""
    scene_inputs: tuple[str, ...]
    """In the order of `forward`; with an encoder, `embeddings` [n, n_frames, E] replaces `frames`."""
    outputs: tuple[str, ...]
    """Names of the heads."""
    encoder: nn.Module | None
    """Maps one frame [n, 3, height, width] to [n, E]; None: the network has no encoder."""


_HEADS = ("fused", "audio", "video")
_OUTPUTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"slim_av": _HEADS, "se_crnn_early": _HEADS, "se_crnn": _HEADS}
)
"""Heads of the networks with more than one."""
_TAKES_PRESENCE = ("slim_av",)
_SIZES = ("n_channels", "n_mels", "n_hops")
"""Names of factory parameters for the feature sizes, where a factory has them."""


def find_system(config: Config) -> System:
    """Describe the configured network.

    Raises:
        ConfigError: There is no network of that name.
    """
    name = config.model.name
    if name not in TAKES:
        known = ", ".join(TRAINABLE)
        also = "; it takes OpenL3's embeddings, which nothing here computes: build it from Python"
        raise ConfigError(
            f"model.name: expected one of {known}, got {name!r}{also if name in REFERENCES else ''}; "
            "`trainer models` describes them"
        )
    presence = (PRESENCE,) if name in _TAKES_PRESENCE else ()
    outputs = _OUTPUTS.get(name, _HEADS[:1])
    return System(name, (*TAKES[name], *presence), outputs, FRAMES in TAKES[name])


def check_inputs(config: Config) -> System:
    """Check that the configured network takes the configured inputs, and that its options, parts and answers exist.

    Raises:
        ConfigError: A check fails; the message says what is accepted and which keys determine it.
    """
    system = find_system(config)
    check_sizes(config)
    with torch.device("meta"):
        network = _fresh(config, 2)
    for key, parts in _parts(config):
        for part in parts:
            find_part(network, part, key)
    for index, step in enumerate(config.train.steps):
        if step.answer not in system.outputs:
            raise ConfigError(
                f"train.steps[{index}].answer: expected one of {_listed(system.outputs)}, got {step.answer!r}"
            )
    return system


def build_network(config: Config, n_labels: int, root: Path | None = None) -> nn.Module:
    """Build the configured network, in training mode, with the parts in `model.freeze` frozen.

    Args:
        config: The run's configuration.
        n_labels: Number of labels.
        root: The data folder from which `model.weights` are loaded; None: leave the weights fresh, as the caller loads
            others.

    Raises:
        ConfigError: There is no such network, option or part.
        DataError: The weights cannot be read or do not fit this network.
    """
    network = _fresh(config, n_labels)
    if root is not None:
        for part, weights in config.model.weights.items():
            load_weights(network, part, weights, root)
    for part in config.model.freeze:
        find_part(network, part, "model.freeze").requires_grad_(False)
    return network


def run_network(
    system: System, network: nn.Module, inputs: Mapping[str, Tensor], answer: str = "fused"
) -> dict[str, Tensor]:
    """Compute logits [n, n_labels] per head; only those of the requested head if the others can be skipped.

    Args:
        system: Description of the network.
        network: The network.
        inputs: By name; `embeddings` [n, n_frames, E] may replace `frames`.
        answer: The head requested; "fused" returns all heads.
    """
    return _by_head(system, _forward(system, network, inputs, answer), answer)


def training_loss(
    system: System,
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    targets: Tensor,
    train: TrainConfig,
    answer: str = "fused",
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the training loss and the logits per head, only of the trained head if the others can be skipped.

    The loss is the cross-entropy with smoothed targets; for subspectral, plus that of all its groups; when the fused
    head is trained and there are others, plus `head_weight` times theirs, each over the windows in which its modality
    is present; and plus the network's own penalty, if its recipe has one.

    Args:
        system: Description of the network.
        network: The network.
        inputs: By name.
        targets: [n, n_labels], each row summing to 1.
        train: Label smoothing and weights.
        answer: The head that is trained.
    """
    answered = _forward(system, network, inputs, answer)
    logits = _by_head(system, answered, answer)
    targets = targets * (1 - train.label_smoothing) + train.label_smoothing / targets.shape[1]
    if isinstance(answered, subspectral.Answers):
        loss = subspectral.summed_loss(answered, targets)
    else:
        loss = functional.cross_entropy(logits[answer].float(), targets)
    heads = [name for name in MODALITIES if name in logits] if answer == "fused" and train.head_weight else []
    for name in heads:
        losses = functional.cross_entropy(logits[name].float(), targets, reduction="none")
        if PRESENCE in inputs:
            losses = losses * inputs[PRESENCE][:, MODALITIES.index(name)]
        loss = loss + train.head_weight * losses.mean()
    penalty: Callable[[], Tensor] | None = getattr(network, "penalty", None)
    return (loss if penalty is None else loss + penalty()), logits


def deploy(system: System, network: nn.Module) -> Deployed:
    """Copy a network's parts in their export form, with learned filters folded and auxiliary outputs removed."""
    if not system.encodes_frames:
        deployed: Callable[[], nn.Module] | None = getattr(network, "deployed", None)
        scene = copy.deepcopy(network).eval() if deployed is None else deployed()
        return Deployed(scene, system.inputs, system.outputs, None)
    scene, encoder = (copy.deepcopy(network.get_submodule(name)).eval() for name in ("scene", "encoder"))
    inputs = tuple(EMBEDDINGS if name == FRAMES else name for name in system.inputs)
    return Deployed(scene, inputs, system.outputs, encoder)


def _forward(system: System, network: nn.Module, inputs: Mapping[str, Tensor], answer: str = "fused") -> Any:
    """The network's raw output, a tensor or named tuple; for a single modality without the others' work if possible."""
    given = {FRAMES: inputs[EMBEDDINGS], **inputs} if EMBEDDINGS in inputs else inputs
    ordered = [given[name] for name in system.inputs]
    alone: Callable[..., Tensor] | None = getattr(network, "alone", None)
    return network(*ordered) if answer == "fused" or alone is None else alone(answer, *ordered)


def _by_head(system: System, answered: Any, answer: str) -> dict[str, Tensor]:
    """Raw output as logits by head."""
    if isinstance(answered, Tensor):
        return {answer: answered}
    return dict(zip(system.outputs, answered, strict=False))


def _fresh(config: Config, n_labels: int) -> nn.Module:
    """Build the configured network with fresh weights."""
    name = find_system(config).name
    record = OURS[name] if name in OURS else REFERENCES[name]
    known = inspect.signature(record.maker).parameters
    sizes = zip(_SIZES, window_shapes(config).get(FEATURES, ()), strict=False)
    options = {key: size for key, size in sizes if key in known}
    options |= _options(config.model, record.maker)
    try:
        return record.build(n_labels, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model.options: {error}") from None


def _options(model: ModelConfig, maker: Callable[..., Any]) -> dict[str, Any]:
    """Check `model.options` and `model.dropout` and return them as the factory's arguments."""
    hints = typing.get_type_hints(maker.__init__ if inspect.isclass(maker) else maker)
    fixed = ("n_labels", "dropout", "return", *_SIZES)
    free = {key: _choices(hint) for key, hint in hints.items() if key not in fixed and _choices(hint)}
    if model.dropout is not None and "dropout" not in hints:
        raise ConfigError(f"model.dropout: expected null, as {model.name} has none, got {model.dropout:g}")
    for key, value in model.options.items():
        if key not in free:
            raise ConfigError(f"model.options: {model.name} takes {_listed(free) or 'none'}, got {key!r}")
        if value not in free[key] and type(value) not in free[key]:
            expected = " or ".join(getattr(choice, "__name__", repr(choice)) for choice in free[key])
            raise ConfigError(f"model.options.{key}: expected {expected}, got {value!r}")
    return {**model.options, **({} if model.dropout is None else {"dropout": model.dropout})}


def _choices(hint: Any) -> tuple[Any, ...]:
    """The literals or number types that a configuration may give for a type hint; empty for other hints."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    return {bool: (bool,), int: (int,), float: (float, int)}.get(hint, ())


def _parts(config: Config) -> list[tuple[str, tuple[str, ...]]]:
    """Each configuration key that names parts of the network, with those names."""
    steps = [(f"train.steps[{index}].parts", step.parts) for index, step in enumerate(config.train.steps)]
    return [("model.freeze", config.model.freeze), ("model.weights", tuple(config.model.weights)), *steps]


def _listed(names: Any) -> str:
    """Comma-separated names."""
    return ", ".join(names)
