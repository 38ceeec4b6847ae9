"""The networks that a configuration may ask for, behind one seam: built, run, judged, and taken apart for export.

What each is and what it was published with stands in `trainer.models.reference` and `trainer.models.ours`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.manifest import InputSpec, input_shape
from trainer.config import Config, ModelConfig, TrainConfig
from trainer.errors import ConfigError
from trainer.inputs import EMBEDDINGS, FEATURES, FRAMES, PRESENCE, WAVEFORM
from trainer.models import subspectral
from trainer.models.ours import OURS
from trainer.models.reference import REFERENCES, Reference
from trainer.pretrained import load_weights

Sizes = tuple[int | tuple[int, ...] | None, ...]
"""What a network takes along each axis of an input: one number, one of several, any."""

MODALITIES = ("audio", "video")
"""Order of the presence flags."""


@dataclass(frozen=True, slots=True)
class System:
    """One network as training and export see it."""

    name: str
    """As it is asked for."""
    inputs: tuple[str, ...]
    """Of features, waveform, frames, presence: in the order of the network's `forward`."""
    outputs: tuple[str, ...]
    """Logits a head: "fused" first, then "audio" and "video" where the network has them."""
    encodes_frames: bool
    """The network has `.encoder`, one frame [n, 3, height, width] to [n, E], and `.scene`, embeddings for frames."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A network in the form it is exported in; copies in evaluation mode."""

    scene: nn.Module
    """A window's inputs to logits: a tensor, or a tuple of tensors in the order of `outputs`."""
    scene_inputs: tuple[str, ...]
    """In the order of `forward`; `embeddings` [n, n_frames, E] in place of `frames` where there is an encoder."""
    outputs: tuple[str, ...]
    """Heads."""
    encoder: nn.Module | None
    """One frame [n, 3, height, width] to [n, E]."""


_HEADS = ("fused", "audio", "video")
_STEREO, _ANY_CHANNELS = (1, 2), (1, 2, 3)
_TAKES: Mapping[str, Mapping[str, Sizes]] = MappingProxyType(
    {
        "slim_audio": {FEATURES: (_ANY_CHANNELS, None, None)},
        "slim_av": {FEATURES: (_ANY_CHANNELS, None, None), FRAMES: (None, 3, None, None)},
        "se_audio": {FEATURES: (_ANY_CHANNELS, 64, 50)},
        "se_visual": {FRAMES: (None, 3, None, None)},
        "se_crnn_early": {FEATURES: (3, 64, 50), FRAMES: (5, 3, None, None)},
        "se_crnn": {FEATURES: (3, 64, 50), FRAMES: (5, 3, None, None)},
        "wave": {WAVEFORM: (1, 48_000)},
        "spectrogram": {FEATURES: (1, 128, 188)},
        "wave_spec": {WAVEFORM: (1, 48_000), FEATURES: (1, 128, 188)},
        "resnet_audio": {FEATURES: (1, 128, None)},
        "subspectral": {FEATURES: (_STEREO, None, 500)},
        "subspectral_1s": {FEATURES: (_STEREO, None, 50)},
        "cp_mobile": {FEATURES: (1, 256, 65)},
        "cp_mobile_baseline": {FEATURES: (1, 256, 65)},
    }
)
"""Inputs of every system and their sizes: channels, bands, hops · channels, samples · frames, planes, height, width."""
_OUTPUTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"slim_av": _HEADS, "se_crnn_early": _HEADS, "se_crnn": _HEADS}
)
"""Of the networks with more than one head."""
_TAKES_PRESENCE = ("slim_av",)
_ALIKE: Mapping[str, str] = MappingProxyType({"se_crnn_early": "se_crnn", "cp_mobile_baseline": "cp_mobile"})
"""Networks whose configuration is that of another one."""

TRAINABLE = tuple(_TAKES)
"""Names that a configuration may ask for."""


def find_system(config: Config) -> System:
    """The configured network.

    Raises:
        ConfigError: There is none of that name.
    """
    name = config.model.name
    if name not in _TAKES:
        known = ", ".join(TRAINABLE)
        also = "; it takes OpenL3's embeddings, which nothing here computes: build it from Python"
        raise ConfigError(
            f"model.name: expected one of {known}, got {name!r}{also if name in REFERENCES else ''}; "
            "`trainer models` describes them"
        )
    presence = (PRESENCE,) if name in _TAKES_PRESENCE else ()
    outputs = _OUTPUTS.get(name, _HEADS[:1])
    return System(name, (*_TAKES[name], *presence), outputs, FRAMES in _TAKES[name])


def check_inputs(config: Config) -> System:
    """See that the configured network takes the configured inputs, and that its options, parts and answers exist.

    Raises:
        ConfigError: It does not; the message says what it takes and which keys decide.
    """
    system = find_system(config)
    takes, shapes = _TAKES[system.name], _shapes(config)
    for name in shapes:
        if name not in takes:
            raise ConfigError(
                f"model.name: {system.name} takes {_listed(takes)}, got {name} too; "
                f"leave out the table [{_TABLES[name]}], or choose another model.name"
            )
    for name, sizes in takes.items():
        if name not in shapes or not _fits(shapes[name], sizes):
            got = "none" if name not in shapes else " × ".join(str(n) for n in shapes[name])
            raise ConfigError(
                f"model.name: {system.name} takes {name} of {_sentence(name, sizes)}, got {got}; set "
                f"{_KEYS[name]} as configs/{_ALIKE.get(system.name, system.name)}.toml has them, or another model.name"
            )
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
    """The configured network, in training mode; the parts that `model.freeze` names take no gradients.

    Args:
        config: Which one.
        n_labels: Length of its answers.
        root: The data folder, from which `model.weights` are loaded; None: fresh weights, for one who has others.

    Raises:
        ConfigError: There is no such network, option or part.
        DataError: The weights cannot be read, or are not for this network.
    """
    network = _fresh(config, n_labels)
    if config.model.weights is not None and root is not None:
        load_weights(network, config.model, root)
    for part in config.model.freeze:
        find_part(network, part, "model.freeze").requires_grad_(False)
    return network


def find_part(network: nn.Module, name: str, key: str) -> nn.Module:
    """A module by its name, as "scene.audio"; "" is all of it.

    Raises:
        ConfigError: There is none; `key` says where it was asked for.
    """
    try:
        return network.get_submodule(name)
    except AttributeError:
        known = [path for path, _ in network.named_modules() if path and path.count(".") < 2]
        raise ConfigError(f"{key}: expected a part of the network, as {_listed(known)}, got {name!r}") from None


def run_network(system: System, network: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Logits a head, [n, n_labels] each.

    Args:
        system: What the network is.
        network: It, or what distributes it.
        inputs: By name; `embeddings` [n, n_frames, E] may stand for `frames`.
    """
    return _by_head(system, _forward(system, network, inputs))


def training_loss(
    system: System,
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    targets: Tensor,
    train: TrainConfig,
    answer: str = "fused",
) -> tuple[Tensor, dict[str, Tensor]]:
    """What training makes small, and the logits a head.

    Cross-entropy with smoothed targets; of subspectral all its groups' too; where the fused answer is trained and there
    are heads beside it, `head_weight` times theirs, each over the windows in which its modality is there; and what the
    network's recipe adds as a penalty.

    Args:
        system: What the network is.
        network: It, or what distributes it.
        inputs: By name.
        targets: [n, n_labels], each row sums to 1.
        train: Smoothing and weights.
        answer: The output that the loss is about.
    """
    answered = _forward(system, network, inputs)
    logits = _by_head(system, answered)
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
    penalty: Callable[[], Tensor] | None = getattr(_inner(network), "penalty", None)
    return (loss if penalty is None else loss + penalty()), logits


def deploy(system: System, network: nn.Module) -> Deployed:
    """Copies of a network's parts in the form they are exported in: learned filters folded, side answers left out."""
    network = _inner(network)
    if not system.encodes_frames:
        deployed: Callable[[], nn.Module] | None = getattr(network, "deployed", None)
        scene = copy.deepcopy(network).eval() if deployed is None else deployed()
        return Deployed(scene, system.inputs, system.outputs, None)
    scene, encoder = (copy.deepcopy(network.get_submodule(name)).eval() for name in ("scene", "encoder"))
    inputs = tuple(EMBEDDINGS if name == FRAMES else name for name in system.inputs)
    return Deployed(scene, inputs, system.outputs, encoder)


def _forward(system: System, network: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    """What the network answers: a tensor or a tuple of its kind."""
    given = {FRAMES: inputs[EMBEDDINGS], **inputs} if EMBEDDINGS in inputs else inputs
    return network(*(given[name] for name in system.inputs))


def _by_head(system: System, answered: Any) -> dict[str, Tensor]:
    """Logits a head."""
    if isinstance(answered, Tensor):
        return {system.outputs[0]: answered}
    return dict(zip(system.outputs, answered, strict=False))


def _inner(network: nn.Module) -> nn.Module:
    """The network itself, where another module distributes it over processes."""
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network


def _fresh(config: Config, n_labels: int) -> nn.Module:
    """The configured network with fresh weights."""
    model, name = config.model, find_system(config).name
    record = _record(name)
    module, _, factory = record.factory.partition(":")
    make = getattr(import_module(module), factory)
    known = inspect.signature(make).parameters
    sizes = dict(zip(("n_channels", "n_mels", "n_hops"), _shapes(config).get(FEATURES, ()), strict=False))
    options = {**record.options, **{key: size for key, size in sizes.items() if key in known}, **_options(model, known)}
    try:
        network: nn.Module = make(n_labels, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model.options: {error}") from None
    return network


def _options(model: ModelConfig, known: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """What the configuration says about the network's inside."""
    if model.dropout is not None and "dropout" not in known:
        raise ConfigError(f"model.dropout: expected null, as {model.name} has none, got {model.dropout:g}")
    free = [key for key in known if key not in ("n_labels", "dropout", "n_channels", "n_mels", "n_hops")]
    for key in model.options:
        if key not in free:
            expected = f"one of {_listed(free)}" if free else "none"
            raise ConfigError(f"model.options: {model.name} takes {expected}, got {key!r}")
    return {**model.options, **({} if model.dropout is None else {"dropout": model.dropout})}


def _record(name: str) -> Reference:
    """What is known of a network."""
    return OURS[name] if name in OURS else REFERENCES[name]


def _shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Shape of one window of each configured input."""
    specs: dict[str, InputSpec] = {}
    for name, audio in ((FEATURES, config.audio), (WAVEFORM, config.waveform)):
        if audio is not None:
            specs[name] = InputSpec(name, audio=audio)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, spec in specs.items():
        try:
            shapes[name] = input_shape(spec, config.window)
        except ValueError as error:
            raise ConfigError(f"window.seconds and {_TABLES[name]}.context_seconds: {error}") from None
    if config.video is not None:
        shapes[FRAMES] = (len(config.video.frame_times_seconds), 3, config.video.height, config.video.width)
    return shapes


_TABLES = MappingProxyType({FEATURES: "audio", WAVEFORM: "waveform", FRAMES: "video"})
_AXES = MappingProxyType(
    {FEATURES: ("channel", "band", "hop"), WAVEFORM: ("channel", "sample"), FRAMES: ("frame", "plane", "row", "column")}
)
_KEYS = MappingProxyType(
    {
        FEATURES: "audio.channels, audio.feature (n_mels or n_bands, hop_length, center), window.seconds and "
        "audio.context_seconds",
        WAVEFORM: "waveform.channels, waveform.sample_rate and window.seconds",
        FRAMES: "video.width, video.height and video.frame_times_seconds",
    }
)
"""Keys that decide over the shape of an input."""


def _fits(shape: tuple[int, ...], sizes: Sizes) -> bool:
    """Whether a network takes a shape."""
    choices = [(size,) if isinstance(size, int) else size for size in sizes]
    return len(shape) == len(sizes) and all(
        choice is None or size in choice for size, choice in zip(shape, choices, strict=True)
    )


def _sentence(name: str, sizes: Sizes) -> str:
    """As in: 1 or 3 channels × 64 bands × 50 hops."""
    words = []
    for size, axis in zip(sizes, _AXES[name], strict=True):
        if size is None:
            words.append(f"any number of {axis}s")
        else:
            choices = (size,) if isinstance(size, int) else size
            words.append(f"{' or '.join(str(n) for n in choices)} {axis}{'' if choices == (1,) else 's'}")
    return " × ".join(words)


def _parts(config: Config) -> list[tuple[str, tuple[str, ...]]]:
    """Every key that names parts of the network, and what it names."""
    steps = [(f"train.steps[{index}].parts", step.parts) for index, step in enumerate(config.train.steps)]
    return [("model.freeze", config.model.freeze), *steps]


def _listed(names: Any) -> str:
    """With commas between."""
    return ", ".join(names)
