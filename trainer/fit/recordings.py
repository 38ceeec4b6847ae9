"""From recordings to a finished run: decode, train one network per split, store its held-out answers, report."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.manifest import AudioInput, Normalisation
from trainer.config import Config
from trainer.data.audio import Mono, decode_all, load_responses
from trainer.data.augment import Floats
from trainer.data.memory import MemoryStore
from trainer.data.recordings import STILLS, Corpus, Recording, is_media, load_corpus
from trainer.data.segments import Answer, SegmentReader
from trainer.data.splits import Split, deal_folds, hold_out_sources
from trainer.data.windows import WindowSampler
from trainer.errors import ConfigError, DataError
from trainer.evaluate.answers import WHOLE
from trainer.evaluate.baseline import fit_regression, summarise
from trainer.evaluate.metrics import balanced_weights
from trainer.evaluate.recordings import write_report
from trainer.files import path_inside
from trainer.fit.distributed import count_processes
from trainer.fit.loop import fit_network
from trainer.inputs import FEATURES, Inputs
from trainer.models.systems import System, check_inputs
from trainer.run import BASELINE, FINAL, PREDICTIONS, Predictions, Run, save_predictions, start_run

EpochHook = Callable[[int, float], object]
SplitHook = Callable[[Split, int, int], object]


@dataclass(frozen=True, slots=True)
class _Heard:
    """What all splits share."""

    run: Run
    """The run."""
    system: System
    """Description of the network."""
    audio: AudioInput
    """The network's audio input."""
    store: MemoryStore
    """All decoded recordings."""
    responses: Sequence[Mono]
    """Microphone impulse responses."""
    outliers: range
    """Positions in the store of recordings of none of the scenes to train on."""


def fit_run(
    folder: Path,
    config: Config,
    root: Path,
    *,
    on_split: SplitHook = lambda _split, _number, _n: None,
    on_epoch: EpochHook = lambda _epoch, _loss: None,
) -> Run:
    """Train and evaluate everything a configuration asks for, resuming where an earlier call stopped.

    Args:
        folder: The run's folder.
        config: The run's configuration.
        root: The data folder.
        on_split: Called before each split with the split, its number from 1, and the number of splits.
        on_epoch: Called after each epoch with the number of epochs done and the last epoch's mean loss.

    Raises:
        ConfigError: The network takes more than mono features, or several processes train.
        DataError: Recordings are missing, too short, undecodable, or too few.
        RunError: The folder holds a different run.
    """
    system = check_inputs(config)
    if config.audio is None or config.audio.channels != "mono" or config.inputs != Inputs(config.audio):
        raise ConfigError(
            "data.labels: expected a network that hears mono features alone, as listed recordings are read, got another"
            "; decode them with trainer prepare, and set data.prepared to what it made"
        )
    if count_processes() > 1:
        raise ConfigError(
            f"data.labels: expected one process, as its many networks are small, got {count_processes()}: leave "
            "torchrun out; or decode the recordings with trainer prepare, and set data.prepared to what it made"
        )
    corpus = load_corpus(root, config.data)
    recordings = (*corpus.recordings, *corpus.none)
    rate = config.audio.sample_rate
    outliers = _outliers(root, config, recordings)
    paths = [*(recording.path for recording in recordings), *outliers]
    samples = decode_all(paths, rate, config.n_window_samples)
    responses = config.data.impulse_responses
    filters = load_responses(None if responses is None else root / responses, rate)
    splits = plan_splits(corpus, config)
    run = start_run(folder, config, corpus, [audio.size / rate for audio in samples[: len(recordings)]], splits)
    others = range(len(recordings), len(samples))
    heard = _Heard(run, system, config.audio, MemoryStore(samples, rate), filters, others)
    for number, split in enumerate(run.splits, start=1):
        on_split(split, number, len(run.splits))
        _fit_split(heard, split, root, on_epoch)
    _fit_baseline(heard)
    write_report(run)
    return run


def plan_splits(corpus: Corpus, config: Config) -> list[Split]:
    """Plan a split for each trained network: one per fold, one per source if held out, and a final one on all.

    Returns:
        Splits that index `corpus.recordings` followed by `corpus.none`; the latter are only ever tested on.

    Raises:
        DataError: A scene has only one recording.
    """
    splits = deal_folds(corpus.recordings, config.evaluate.folds, config.seed)
    if config.evaluate.hold_out_sources:
        splits += hold_out_sources(corpus.recordings)
    n_trained = len(corpus.recordings)
    none = tuple(range(n_trained, n_trained + len(corpus.none)))
    return [*splits, Split(FINAL, tuple(range(n_trained)), none)]


def _outliers(root: Path, config: Config, recordings: Sequence[Recording]) -> list[Path]:
    """Recordings of none of the scenes to train on.

    Raises:
        ConfigError: The folder is not inside the data folder.
        DataError: There are none in it, or one of them is a recording that is judged.
    """
    if config.data.outliers is None or not config.augment.none_share:
        return []
    folder = path_inside(root, config.data.outliers, "data.outliers")
    files = sorted(folder.rglob("*")) if folder.is_dir() else []
    found = [path for path in files if is_media(path, folder) and path.suffix.lower() not in STILLS]
    if not found:
        raise DataError(f"data.outliers: {folder}: expected a folder of recordings, got none")
    judged = {recording.path.resolve() for recording in recordings}
    if listed := [path for path in found if path.resolve() in judged]:
        raise DataError(
            f"data.outliers: {listed[0]}: expected recordings that are not in {config.data.labels}, got one that it "
            "lists; name a folder of others"
        )
    return found


def _fit_split(heard: _Heard, split: Split, root: Path, on_epoch: EpochHook) -> None:
    """Train a split's network and store its answers for the held-out recordings, unless that was done before."""
    run, names = heard.run, heard.system.inputs
    place = run.folder / split.name
    if (place / PREDICTIONS).exists():
        return
    targets = [*run.targets[list(split.train)].tolist(), *(-1 for _ in heard.outliers)]
    clips = (*split.train, *heard.outliers)
    seed = (zlib.crc32(split.name.encode()),)
    data = WindowSampler(heard.store, clips, targets, len(run.labels), run.config, names, heard.responses, seed)
    trained = fit_network(run.config, len(run.labels), data, place, root=root, labels=run.labels, on_epoch=on_epoch)
    reader = SegmentReader(heard.store, trained.inputs, run.config, names)
    save_predictions(place / PREDICTIONS, _answers(run, reader, split.test, trained.answer))


def _answers(run: Run, reader: SegmentReader, numbers: Sequence[int], answer: Answer) -> Predictions:
    """A network's answers for the windows of recordings, `evaluate.step_seconds` apart."""
    recordings, starts = reader.segments(numbers, run.config.evaluate.step_seconds)
    if not recordings.size:
        return _joined([], numbers, len(run.labels))
    return Predictions(reader.logits(recordings, starts, answer, alone=False)[WHOLE], recordings)


def _fit_baseline(heard: _Heard) -> None:
    """Train the baseline on the same splits: a linear model on each band's mean and standard deviation."""
    run = heard.run
    plain = Inputs(audio=replace(heard.audio, normalisation=Normalisation(kind="none")))
    reader = SegmentReader(heard.store, plain, run.config, (FEATURES,))
    summaries = [summarise(_features(run, reader, number)) for number in range(len(run.entries))]
    n_labels = len(run.labels)
    for split in run.splits:
        if not split.test:
            continue
        train = np.concatenate([summaries[i] for i in split.train])
        numbers = np.repeat(np.array(split.train), [len(summaries[i]) for i in split.train])
        answers = run.targets[numbers]
        test = np.concatenate([summaries[i] for i in split.test])
        logits = fit_regression(train, answers, balanced_weights(answers, numbers), n_labels, test)
        parts = np.split(logits, np.cumsum([len(summaries[i]) for i in split.test])[:-1])
        save_predictions(run.folder / split.name / BASELINE, _joined(parts, split.test, n_labels))


def _features(run: Run, reader: SegmentReader, number: int) -> Floats:
    """Features of a recording's windows, `evaluate.step_seconds` apart."""
    recordings, starts = reader.segments([number], run.config.evaluate.step_seconds)
    return np.concatenate([inputs[FEATURES] for inputs in reader.read(recordings, starts)])


def _joined(parts: Sequence[NDArray[np.floating]], numbers: Sequence[int], n_labels: int) -> Predictions:
    """Concatenate per-recording logits into one set of predictions."""
    recordings = np.repeat(np.asarray(numbers, np.int64), [len(part) for part in parts])
    logits = np.concatenate(parts) if parts else np.zeros((0, n_labels))
    return Predictions(logits.astype(np.float32), recordings)
