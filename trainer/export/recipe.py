"""Describes in words how a network was trained, leaving out settings that had no effect."""

from __future__ import annotations

from trainer.config import SPLIT, Config, ModelConfig, StepConfig, TrainConfig
from trainer.evaluate.tables import percent
from trainer.inputs import FEATURES, PRESENCE
from trainer.models.systems import System

_OPTIMISERS = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}
"""Each optimiser's name in words."""


def describe_recipe(config: Config, system: System) -> list[str]:
    """Return lines on optimiser, kept weights, stages, teacher, initial weights and augmentation."""
    train = config.train
    return [
        f"{_OPTIMISERS[train.optimizer]}, {train.schedule} schedule, peak rate {train.learning_rate:g}, weight decay "
        f"{train.weight_decay:g}, label smoothing {train.label_smoothing:g}",
        _kept(train),
        *(_stage(number, step) for number, step in enumerate(train.steps, start=1)),
        *([_taught(train)] if train.distil is not None else []),
        *describe_beginning(config.model),
        f"in training, by chance: {'; '.join(_augmented(config, system)) or 'nothing'}",
    ]


def describe_beginning(model: ModelConfig) -> list[str]:
    """Return a line on the network's initial weights and one on its frozen parts, if there are any."""
    parts: dict[tuple[str, str], list[str]] = {}
    credited: dict[tuple[str, str], list[str]] = {}
    for part, weights in model.weights.items():
        source = (weights.file, weights.sha256 or "")
        parts.setdefault(source, []).append(part or "all of it")
        credited.setdefault(source, []).extend([weights.credit] if weights.credit else [])
    files = [
        f"{'of each split, ' if SPLIT in file else ''}`{file.replace(SPLIT, 'SPLIT')}`"
        f"{f' (SHA-256 {sha256})' if sha256 else ''} for "
        f"{' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))}"
        f"{''.join(f' ({credit})' for credit in dict.fromkeys(credited[file, sha256]))}"
        for (file, sha256), names in parts.items()
    ]
    return [
        *([f"weights to begin with: {', '.join(files)}"] if files else []),
        *([f"frozen: {', '.join(model.freeze)}"] if model.freeze else []),
    ]


def _kept(train: TrainConfig) -> str:
    """Which weights were kept, in words."""
    epoch = "the last epoch" if train.select == "last" else "the epoch of the lowest validation loss"
    average = f"averaged weights (decay {train.average_decay:g})" if train.average_decay else "weights"
    return f"{average} of {epoch}"


def _stage(number: int, step: StepConfig) -> str:
    """A stage of a recipe that trains part by part, with only the settings it overrides."""
    changes = (("rate", step.learning_rate), ("batches of", step.batch_size), ("mixup α =", step.mixup))
    own = [f"{word} {value:g}" for word, value in changes if value is not None]
    parts = ", ".join(part or "all of it" for part in step.parts)
    return f"stage {number}: {'; '.join([f'{parts}, by the answer {step.answer}', *own])}"


def _taught(train: TrainConfig) -> str:
    """The teacher, in words; empty if there was none."""
    distil = train.distil
    if distil is None:
        return ""
    return f"taught by `{distil.teacher}` (weight {distil.weight:g}, temperature {distil.temperature:g})"


def _augmented(config: Config, system: System) -> list[str]:
    """How windows were augmented in training, a phrase each."""
    augment, sound = config.augment, config.inputs.sound
    said: list[str] = []
    if sound is not None:
        said += _chances(
            (augment.gain_db, f"gain of ±{augment.gain_db:g} dB", False),
            (
                augment.response_probability if config.data.impulse_responses is not None else 0.0,
                "a microphone's impulse response",
                True,
            ),
            (augment.tilt_probability, f"a smooth tilt of {augment.tilt_db:g} dB", True),
            (augment.lowpass_probability, f"a low-pass from {augment.lowpass_hertz:g} Hz up", True),
            (augment.noise_probability, "noise", True),
            (augment.mix_probability, "another clip of the scene on top", True),
            (augment.mono_probability if sound.channels != "mono" else 0.0, "both channels made alike", True),
        )
    if FEATURES in system.inputs:
        said += _chances(
            (augment.style_probability, "frequency-wise MixStyle", True),
            (augment.band_mask, f"two masks of up to {augment.band_mask} bands", False),
            (augment.hop_mask, f"two masks of up to {augment.hop_mask} hops", False),
        )
    if config.video is not None:
        said += _chances(
            (augment.flip_probability, "frames mirrored", True),
            (augment.crop_scale < 1, f"crops of {percent(augment.crop_scale)} of the sides and more", False),
            (augment.colour, f"colours ±{percent(augment.colour)}", False),
            (augment.rotate_probability, "a quarter turn", True),
            (augment.blur_probability, "a blur", True),
            (augment.darken_probability, "darkness", True),
        )
    if PRESENCE in system.inputs:
        said += _chances((augment.drop_audio, "sound missing", True), (augment.drop_video, "picture missing", True))
    return said + _chances(
        (augment.mixup, f"mixup (α = {augment.mixup:g})", False),
        (augment.none_share, "windows of none of the scenes, where there are such", True),
    )


def _chances(*parts: tuple[float, str, bool]) -> list[str]:
    """Phrases of the parts (number, phrase, is probability) whose number is not 0; probabilities are appended."""
    return [f"{words} ({percent(number)})" if chance else words for number, words, chance in parts if number]
