"""Knowledge distillation: a teacher (a bundle or a finished run) answers the student's augmented, mixed batches.

After Hinton, Vinyals and Dean (2015).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from engines.backends import REFERENCE_BACKEND, load_engines
from engines.bundle import MANIFEST_NAME, open_bundle
from trainer.clip_run import NETWORK, is_clip_run, open_clip_run
from trainer.config import Config
from trainer.errors import ConfigError, DataError
from trainer.evaluate.bundle import answer_windows, bundle_inputs
from trainer.files import path_inside
from trainer.fit.matching import Change, match_inputs
from trainer.fit.trained import load_trained
from trainer.inputs import FEATURES, FRAMES, PRESENCE, WAVEFORM, Inputs
from trainer.models.systems import MODALITIES, run_network
from trainer.run import CONFIG, FINAL, open_run

_KEY = "train.distil.teacher"


@dataclass(frozen=True, slots=True)
class Lesson:
    """A teacher's answers for one batch."""

    logits: Tensor
    """[n, n_labels], on the training device."""
    weights: Tensor
    """[n]: 1, or 0 for windows in which a modality that the teacher relies on was dropped."""


class Teacher:
    """Computes a teacher's logits for batches of the student's inputs."""

    def __init__(
        self,
        answer: Callable[[dict[str, Tensor]], Tensor],
        changes: Mapping[str, Change],
        *,
        takes_presence: bool,
        device: torch.device,
    ) -> None:
        """Store the parts; use `open_teacher` to build one."""
        self._answer = answer
        self._changes = changes
        self._takes_presence = takes_presence
        self._needs = [int(index) for index, heard in enumerate(_modalities(changes)) if heard]
        self._device = device

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Tensor]) -> Lesson:
        """Answer a batch.

        Args:
            inputs: By name, on the CPU.

        Raises:
            ConfigError: An input that the teacher takes is missing.
        """
        missing = [name for name in self._changes if name not in inputs]
        if missing:
            raise ConfigError(f"{_KEY}: expected {missing[0]} in every batch, which it takes, got {', '.join(inputs)}")
        given = {name: change(inputs[name]) for name, change in self._changes.items()}
        n_windows = len(next(iter(inputs.values())))
        presence = inputs.get(PRESENCE, torch.ones(n_windows, len(MODALITIES)))
        weights = torch.ones(n_windows)
        if self._takes_presence:
            given = {name: _without_absent(name, values, presence) for name, values in given.items()}
            given[PRESENCE] = presence
        else:
            weights = presence[:, self._needs].prod(dim=1)
        return Lesson(self._answer(given).to(self._device), weights.to(self._device))


def distillation(lesson: Lesson, logits: Tensor, targets: Tensor, temperature: float, label_smoothing: float) -> Tensor:
    """Mean per-window term that replaces the labels with the teacher when added to the loss: T²·KL − cross-entropy.

    Args:
        lesson: The teacher's answers.
        logits: [n, n_labels] of the student.
        targets: [n, n_labels] label distributions.
        temperature: T; both networks' logits are divided by it.
        label_smoothing: Label smoothing of the cross-entropy.
    """
    logits = logits.float()
    smoothed = targets * (1 - label_smoothing) + label_smoothing / targets.shape[1]
    theirs = functional.log_softmax(lesson.logits / temperature, dim=1)
    ours = functional.log_softmax(logits / temperature, dim=1)
    divergence = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=1)
    hard = functional.cross_entropy(logits, smoothed, reduction="none")
    return (lesson.weights * (temperature**2 * divergence - hard)).mean()


@contextmanager
def open_teacher(
    config: Config, inputs: Inputs, n_labels: int, labels: Sequence[str], root: Path | None, device: torch.device
) -> Iterator[Teacher | None]:
    """Open the configured teacher; yields None if there is none.

    Args:
        config: The student's configuration.
        inputs: The student's inputs, statistics included.
        n_labels: Number of labels.
        labels: Label names; if empty, only their number is compared.
        root: The data folder.
        device: Device the student is trained on.

    Raises:
        ConfigError: The path is neither a bundle nor a run, or its labels or inputs differ; the message names the key.
        EngineError: The bundle cannot be run.
        RunError: The run is not finished.
    """
    distil = config.train.distil
    if distil is None:
        yield None
        return
    path = path_inside(root or Path(), distil.teacher, _KEY)
    with ExitStack() as stack:
        if (path / MANIFEST_NAME).is_file():
            yield _bundle_teacher(path, config, inputs, n_labels, labels, device, stack)
        elif (path / CONFIG).is_file():
            yield _run_teacher(path, config, inputs, n_labels, labels, device)
        else:
            raise ConfigError(f"{_KEY}: expected a bundle or a finished run, got {path}, which is neither")


def _bundle_teacher(
    path: Path,
    config: Config,
    inputs: Inputs,
    n_labels: int,
    labels: Sequence[str],
    device: torch.device,
    stack: ExitStack,
) -> Teacher:
    """A teacher that runs a bundle's graphs with ONNX Runtime on the CPU."""
    bundle = open_bundle(path)
    manifest = bundle.manifest
    _check_labels(path, manifest.labels, n_labels, labels)
    try:
        theirs = bundle_inputs(manifest)
    except DataError as error:
        raise ConfigError(f"{_KEY}: {error} in {path}") from None
    changes = match_inputs(theirs, inputs, manifest.window.seconds, config.window.seconds, path, _KEY)
    engines = stack.enter_context(load_engines(bundle, backend=REFERENCE_BACKEND, threads=config.train.threads))

    def answer(given: dict[str, Tensor]) -> Tensor:
        heads = answer_windows(manifest, engines, {name: values.numpy() for name, values in given.items()})
        return torch.from_numpy(heads["fused"])

    return Teacher(answer, changes, takes_presence=manifest.presence_input is not None, device=device)


def _run_teacher(
    path: Path, config: Config, inputs: Inputs, n_labels: int, labels: Sequence[str], device: torch.device
) -> Teacher:
    """A teacher that runs a finished run's network on the student's device."""
    run = open_clip_run(path) if is_clip_run(path) else open_run(path)
    _check_labels(path, run.labels, n_labels, labels)
    trained = load_trained(path / NETWORK if is_clip_run(path) else path / FINAL, len(run.labels), run.config)
    changes = match_inputs(trained.inputs, inputs, run.config.window.seconds, config.window.seconds, path, _KEY)
    network = trained.network.to(device)

    def answer(given: dict[str, Tensor]) -> Tensor:
        moved = {name: values.to(device, non_blocking=True) for name, values in given.items()}
        return run_network(trained.system, network, moved)[trained.system.outputs[0]]

    return Teacher(answer, changes, takes_presence=PRESENCE in trained.system.inputs, device=device)


def _check_labels(path: Path, theirs: Sequence[str], n_labels: int, labels: Sequence[str]) -> None:
    """Raise ConfigError unless the teacher's labels are the student's."""
    if labels and tuple(labels) != tuple(theirs):
        raise ConfigError(
            f"{_KEY}: expected the student's labels, {', '.join(labels)}, got {', '.join(theirs)} in {path}"
        )
    if len(theirs) != n_labels:
        raise ConfigError(f"{_KEY}: expected the student's {n_labels} labels, got {len(theirs)} in {path}")


def _without_absent(name: str, values: Tensor, presence: Tensor) -> Tensor:
    """An input [n, …] with zeros where its modality is absent, in the teacher's normalisation as in the student's."""
    absent = presence[:, MODALITIES.index("video" if name == FRAMES else "audio")] == 0
    return values.masked_fill(absent.reshape(-1, *[1] * (values.ndim - 1)), 0.0)


def _modalities(names: Mapping[str, object]) -> tuple[bool, bool]:
    """Whether sound and whether video is among the inputs."""
    return FEATURES in names or WAVEFORM in names, FRAMES in names
