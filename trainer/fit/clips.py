"""From a prepared corpus to a finished run: split, train one network, store its held-out answers, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from trainer.clip_run import (
    NETWORK,
    SETS,
    ClipEntry,
    ClipRun,
    answers_path,
    start_clip_run,
)
from trainer.config import Config
from trainer.data.audio import load_responses
from trainer.data.clips import NONE, TRAIN, VALIDATION
from trainer.data.divide import divide
from trainer.data.embeddings import EmbeddingStore, OnFrames
from trainer.data.prepared import Prepared, open_prepared
from trainer.data.segments import Answer, SegmentReader, mean_log_loss
from trainer.data.store import ClipStore
from trainer.data.windows import WindowSampler
from trainer.evaluate.answers import WHOLE, save_answers
from trainer.evaluate.report import write_clip_report
from trainer.fit.distributed import join_group
from trainer.fit.encoding import FrameCache, check_cache
from trainer.fit.loop import CHECKPOINT, Trained, fit_network
from trainer.fit.stages import Stage
from trainer.inputs import Inputs
from trainer.models.systems import System, check_inputs

EpochHook = Callable[[int, float, float], object]
"""Called with the number of epochs done, the last epoch's mean training loss, and its validation log loss."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that training on prepared clips needs, already checked; nothing has been written yet."""

    config: Config
    """The run's configuration."""
    system: System
    """Description of the network."""
    labels: tuple[str, ...]
    """Scene names, in the order of the logits."""
    clips: tuple[ClipEntry, ...]
    """Metadata and split of each clip, in the order of the store."""
    store: ClipStore
    """Reads the clips."""
    data: WindowSampler
    """Draws the training windows."""
    corpus: str
    """The corpus's name on model cards."""
    licence: str
    """The corpus's licence."""
    prepared: Prepared
    """The prepared corpus."""

    def numbers(self, split: str) -> list[int]:
        """Store positions of the clips in a split."""
        return [number for number, clip in enumerate(self.clips) if clip.split == split]

    def targets(self, numbers: Sequence[int]) -> list[int]:
        """Index in `labels` of each of these clips' scenes."""
        position = {label: index for index, label in enumerate(self.labels)}
        return [position[self.clips[number].label] for number in numbers]

    def validate(self, answer: Answer, inputs: Inputs, encoded: EmbeddingStore | None = None) -> float:
        """Mean log loss over the segments of the validation clips."""
        reader = SegmentReader(self.store, inputs, self.config, self.system.inputs, encoded)
        owners, starts = reader.segments(self.numbers(VALIDATION))
        logits = reader.logits(owners, starts, answer, alone=False)[WHOLE]
        return mean_log_loss(logits, self.targets(owners.tolist()))


def plan_clips(config: Config, root: Path) -> Plan:
    """Open the configured prepared corpus, split it, and check everything that can be checked before training.

    Args:
        config: The run's configuration; `data.prepared` names the corpus.
        root: The data folder.

    Raises:
        ConfigError: The network does not take the configured inputs, or the configured fold does not exist.
        DataError: The corpus is missing, broken, prepared for other inputs, or cannot be split.
    """
    system = check_inputs(config)
    check_cache(config, system)
    prepared = open_prepared(root / (config.data.prepared or ""))
    store = prepared.store(config.inputs)
    clips = _entries(prepared, config)
    position = {NONE: -1} | {label: index for index, label in enumerate(prepared.labels)}
    train = [number for number, clip in enumerate(clips) if clip.split in (TRAIN, NONE)]
    targets = [position[clips[number].label] for number in train]
    folder = config.data.impulse_responses
    wanted = config.inputs.sound is not None and folder is not None
    filters = load_responses(root / folder, config.inputs.sample_rate) if wanted and folder is not None else []
    data = WindowSampler(store, train, targets, len(prepared.labels), config, system.inputs, filters)
    return Plan(config, system, prepared.labels, clips, store, data, prepared.name, prepared.licence, prepared)


def fit_clips(
    folder: Path,
    config: Config,
    root: Path,
    *,
    on_epoch: EpochHook = lambda _epoch, _loss, _validation: None,
    on_frames: OnFrames = lambda _done, _total: None,
) -> ClipRun | None:
    """Train and evaluate what a configuration asks for, resuming where an earlier call stopped.

    Under `torchrun` every process calls this; only rank 0 reads and writes the run's folder and evaluates.

    Args:
        folder: The run's folder.
        config: The run's configuration.
        root: The data folder.
        on_epoch: Called after each epoch, on rank 0 only.
        on_frames: Called with progress while frames are encoded in advance.

    Returns:
        The finished run; None on every rank but 0.

    Raises:
        ConfigError, DataError: See `plan_clips`.
        RunError: The folder holds a different run.
    """
    with join_group(config.train.device) as group:
        plan = plan_clips(config, root)
        group.share(lambda: _start(folder, plan))
        losses: list[float] = []
        numbers = plan.numbers(TRAIN), plan.numbers(VALIDATION)
        cache = FrameCache(config, plan.system, plan.prepared, plan.store, *numbers, folder / NETWORK, on_frames)

        def begin(stage: Stage, network: nn.Module) -> None:
            plan.data.use(None)
            plan.data.use(cache.begin(stage, network, group.process.count))

        def validate(answer: Answer, inputs: Inputs) -> float:
            losses.append(plan.validate(answer, inputs, cache.encoded))
            return losses[-1]

        trained = fit_network(
            config,
            len(plan.labels),
            plan.data,
            folder / NETWORK,
            validate=validate,
            root=root,
            labels=plan.labels,
            on_epoch=lambda epoch, loss: on_epoch(epoch, loss, losses[-1]),
            on_stage=begin,
        )
        if not group.is_first:
            return None
        cache.clear()
        run = start_clip_run(folder, config, plan.labels, plan.clips, plan.corpus, plan.licence)
        _answer(run, plan, trained)
        write_clip_report(run)
        return run


def _start(folder: Path, plan: Plan) -> bytes:
    """Create the run's folder; the empty bytes only tell the other processes that it exists."""
    start_clip_run(folder, plan.config, plan.labels, plan.clips, plan.corpus, plan.licence)
    return b""


def _answer(run: ClipRun, plan: Plan, trained: Trained) -> None:
    """Store the network's answers for every set of clips whose answers are missing or older than the checkpoint."""
    trained_at = (run.network / CHECKPOINT).stat().st_mtime_ns
    reader = SegmentReader(plan.store, trained.inputs, plan.config, plan.system.inputs)
    for which, split in SETS.items():
        path = answers_path(run.folder, which)
        if path.exists() and path.stat().st_mtime_ns >= trained_at:
            continue
        numbers = plan.numbers(split) or plan.numbers(VALIDATION)
        save_answers(path, reader.answers(numbers, trained.answer))


def _entries(prepared: Prepared, config: Config) -> tuple[ClipEntry, ...]:
    """Assign each clip to its split."""
    divided = divide(prepared.corpus(), config.data)
    return tuple(
        ClipEntry(clip.key, clip.label, clip.city, clip.location, clip.device, part.split, clip.seconds)
        for clip, part in zip(prepared.clips, divided, strict=True)
    )
