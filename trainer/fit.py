"""From recordings to a finished run: decode, train a network a split, keep its held-out answers, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.manifest import AudioInput, Normalisation
from trainer.baseline import fit_regression, summarise
from trainer.config import Config
from trainer.data.audio import Mono, decode_all, load_responses
from trainer.data.augment import Floats
from trainer.data.recordings import load_corpus
from trainer.data.splits import Split, deal_folds, hold_out_sources
from trainer.data.windows import WindowSampler, recording_features
from trainer.evaluate import write_report
from trainer.loop import fit_network
from trainer.metrics import balanced_weights
from trainer.models import check_features
from trainer.run import BASELINE, FINAL, PREDICTIONS, Predictions, Run, save_predictions, start_run

EpochHook = Callable[[int, float], object]
SplitHook = Callable[[Split, int, int], object]


def fit_run(
    folder: Path,
    config: Config,
    root: Path,
    *,
    on_split: SplitHook = lambda _split, _number, _n: None,
    on_epoch: EpochHook = lambda _epoch, _loss: None,
) -> Run:
    """Train and evaluate everything a configuration asks for, going on where an earlier call stopped.

    Args:
        folder: The run's folder.
        config: What to do.
        root: The data folder.
        on_split: Called before each split with it, its number from 1, and their number.
        on_epoch: Called after each epoch with the epochs done and the last one's mean loss.

    Raises:
        ConfigError: The network does not take the configured features.
        DataError: Recordings are missing, too short, not decodable, or too few.
        RunError: The folder holds another run.
    """
    check_features(config)
    corpus = load_corpus(root, config.data)
    recordings = (*corpus.recordings, *corpus.none)
    rate = config.audio.sample_rate
    samples = decode_all([recording.path for recording in recordings], rate, config.n_window_samples)
    responses = config.data.impulse_responses
    filters = load_responses(None if responses is None else root / responses, rate)
    splits = deal_folds(corpus.recordings, config.evaluate.folds, config.seed)
    if config.evaluate.hold_out_sources:
        splits += hold_out_sources(corpus.recordings)
    n_trained = len(corpus.recordings)
    splits.append(Split(FINAL, tuple(range(n_trained)), tuple(range(n_trained, len(recordings)))))
    run = start_run(folder, config, corpus, [audio.size / rate for audio in samples], splits)
    for number, split in enumerate(run.splits, start=1):
        on_split(split, number, len(run.splits))
        _fit_split(run, split, samples, filters, on_epoch)
    _fit_baseline(run, samples)
    write_report(run)
    return run


def _fit_split(run: Run, split: Split, samples: Sequence[Mono], filters: Sequence[Mono], on_epoch: EpochHook) -> None:
    """Train a split's network and keep what it says of the recordings held out."""
    place = run.folder / split.name
    if (place / PREDICTIONS).exists():
        return
    targets = run.targets
    sampler = WindowSampler([samples[i] for i in split.train], targets[list(split.train)].tolist(), run.config, filters)
    trained = fit_network(sampler, len(run.labels), run.config, place, on_epoch=on_epoch)
    answers = [trained.logits(_windows(run.config, samples[i], trained.audio)) for i in split.test]
    save_predictions(place / PREDICTIONS, _joined(answers, split.test, len(run.labels)))


def _fit_baseline(run: Run, samples: Sequence[Mono]) -> None:
    """The same splits with a linear model on each band's mean and spread."""
    plain = replace(run.config.audio, normalisation=Normalisation(kind="none"))
    summaries = [summarise(_windows(run.config, audio, plain)) for audio in samples]
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


def _windows(config: Config, samples: Mono, audio: AudioInput) -> Floats:
    """Features of a recording's windows at the step of evaluation."""
    step = round(config.evaluate.step_seconds * audio.sample_rate)
    return recording_features(samples, audio, config.n_window_samples, step)


def _joined(parts: Sequence[NDArray[np.floating]], numbers: Sequence[int], n_labels: int) -> Predictions:
    """Answers a recording to answers of all."""
    recordings = np.repeat(np.asarray(numbers, np.int64), [len(part) for part in parts])
    logits = np.concatenate(parts) if parts else np.zeros((0, n_labels))
    return Predictions(logits.astype(np.float32), recordings)
