"""Fits a scene head on a user's labelled clips; held-out clips share no place with those the head was fitted on.

`embedded.py` computes the features of the clips from the runtime's own windows; `regression.py` does the arithmetic.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from engines.manifest import WindowSpec
from trainer.data.clips import EVALUATE, NONE, Clip
from trainer.data.labelled import Clips, OnClip, read_labelled, unwatched
from trainer.errors import DataError
from trainer.evaluate.metrics import balanced_weights
from trainer.importers.embedded import Embed, Floats, Rows, embed_clips
from trainer.importers.imported import TEN_GROUPS, TEN_SCENES
from trainer.importers.regression import HeldOut, fit_regression, hold_out
from trainer.inputs import Inputs

__all__ = ["Embed", "FittedHead", "fit_head", "groups_of", "layer_of"]

N_FOLDS = 5
"""At most; fewer if the labels have too few places."""


@dataclass(frozen=True, slots=True)
class FittedHead:
    """A linear scene head, and what is known about it."""

    labels: tuple[str, ...]
    """The clips' labels, in alphabetical order."""
    weight: Floats
    """[n_labels, n_features], for raw features: their standardisation is folded in."""
    bias: Floats
    """[n_labels]."""
    temperature: float
    """Temperature of least log loss on the held-out logits."""
    accuracy: float
    """Accuracy on held-out windows; every label counts equally, and every clip within its label."""
    log_loss: float
    """Log loss on the same windows, each fold at the temperature of the other folds."""
    n_clips: int
    """Number of clips it was fitted on."""
    n_places: int
    """Number of places they were recorded at."""
    n_windows: int
    """Number of windows they gave."""
    corpus: str
    """Which clips these were and how they were divided, for the card."""


def fit_head(
    embed: Embed,
    inputs: Inputs,
    window: WindowSpec,
    clips: Path,
    *,
    allowed: Sequence[str] = TEN_SCENES,
    on_clip: OnClip = unwatched,
) -> FittedHead:
    """Fit a head on labelled clips by multinomial logistic regression; labels weigh equally, as do clips within each.

    The strength of the penalty is the one with the least log loss on held-out places; the temperature is fitted on the
    same held-out answers.

    Args:
        embed: The encoder.
        inputs: The inputs it takes.
        window: The window's length.
        clips: Labelled clips, as `trainer evaluate --data` reads them; the evaluation split of a divided list is not
            used for fitting.
        allowed: Labels to use.
        on_clip: Called with the progress of embedding the clips.

    Raises:
        DataError: The clips cannot be read, all belong to the evaluation split, or have too few labels or places to
            hold any out.
    """
    found = read_labelled(clips, allowed, "fit")
    if any(clip.split == EVALUATE for clip in found.clips):  # they are returned only if there are no others
        raise DataError(
            f"--data: {clips}: expected clips to fit a head on, got those of the evaluation split alone, which are "
            "left to measure on; add clips of another split, or leave splits out of the list"
        )
    chosen = [clip for clip in found.clips if clip.scene_label != NONE]
    labels = tuple(sorted({clip.scene_label for clip in chosen}))
    _deal(clips, chosen)  # fails before anything slow starts
    rows = embed_clips(embed, inputs, window, clips, chosen, on_clip=on_clip)
    fold_of = _deal(clips, rows.kept)
    missing = sorted(set(labels) - {clip.scene_label for clip in rows.kept})
    if missing:
        raise DataError(f"--data: {clips}: expected clips that can be read of every label, got none of {missing[0]!r}")
    targets = np.array([labels.index(clip.scene_label) for clip in rows.kept], np.int64)[rows.clips]
    folds = np.array([fold_of[clip.place] for clip in rows.kept], np.int64)[rows.clips]
    held_out = hold_out(rows.features, targets, rows.clips, folds, len(labels))
    if len(np.unique(held_out.targets)) < 2 or len(np.unique(held_out.folds)) < 2:
        raise _too_few(clips, rows.kept)
    weights = balanced_weights(targets, rows.clips)
    head = fit_regression(rows.features, targets, weights, len(labels), held_out.strength)
    return FittedHead(
        labels=labels,
        weight=head.weight.astype(np.float32),
        bias=head.bias.astype(np.float32),
        temperature=held_out.temperature,
        accuracy=held_out.accuracy,
        log_loss=held_out.log_loss,
        n_clips=len(rows.kept),
        n_places=len({clip.place for clip in rows.kept}),
        n_windows=len(rows.clips),
        corpus=_describe(found, rows, held_out),
    )


def layer_of(head: FittedHead) -> nn.Linear:
    """Return a fitted head as a linear layer."""
    layer = nn.Linear(head.weight.shape[1], len(head.labels))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight))
        layer.bias.copy_(torch.from_numpy(head.bias))
    return layer


def groups_of(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return DCASE's three groups, restricted to the given labels; groups left empty are omitted."""
    members = {group: tuple(label for label in whole if label in labels) for group, whole in TEN_GROUPS.items()}
    return {group: kept for group, kept in members.items() if kept}


def _deal(where: Path, clips: Sequence[Clip]) -> dict[str, int]:
    """Assign a fold to each place, label by label in turn; −1 (never held out) if it is the only place of its label.

    Raises:
        DataError: There is nothing to hold out.
    """
    fold_of: dict[str, int] = {}
    for turn, label in enumerate(sorted({clip.scene_label for clip in clips})):
        places = sorted({clip.place for clip in clips if clip.scene_label == label})
        if len(places) > 1:
            for number, place in enumerate(places):
                fold_of.setdefault(place, (turn + number) % N_FOLDS)
    held = {label for label, places in _places(clips).items() if len(places) > 1}
    if len(held) < 2 or len(set(fold_of.values())) < 2:
        raise _too_few(where, clips)
    dense = {fold: number for number, fold in enumerate(sorted(set(fold_of.values())))}
    return {clip.place: dense.get(fold_of.get(clip.place, -1), -1) for clip in clips}


def _places(clips: Sequence[Clip]) -> dict[str, set[str]]:
    """The places of each label."""
    places: dict[str, set[str]] = {}
    for clip in clips:
        places.setdefault(clip.scene_label, set()).add(clip.place)
    return places


def _too_few(where: Path, clips: Sequence[Clip]) -> DataError:
    """The error for clips of which none can be held out."""
    got = ", ".join(f"{len(places)} of {label}" for label, places in sorted(_places(clips).items()))
    return DataError(
        f"--data: {where}: expected clips of two places or more of two labels or more, so that some can be held out, "
        f"got places: {got}; add recordings of other places"
    )


def _describe(found: Clips, rows: Rows, held_out: HeldOut) -> str:
    """Describe the clips and how they were divided, in a sentence or two."""
    root = found.where if found.where.is_dir() else found.where.parent
    lines = sorted(
        "\t".join((clip.scene_label, clip.place, *(Path(os.path.relpath(path, root)).as_posix() for path in paths)))
        for clip in rows.kept
        for paths in [[clip.audio] if clip.video is None else [clip.audio, clip.video]]
    )
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    left_out = [*found.remarks, *([f"{rows.n_unreadable} without a window left out"] if rows.n_unreadable else [])]
    n_folds, n_judged = len(np.unique(held_out.folds)), len(held_out.folds)
    return (
        f"`{found.name}`{''.join(f'; {remark}' for remark in left_out)} (SHA-256 of the list of these files: "
        f"`{digest}`). Whole places were dealt to {n_folds} folds, and {n_judged:,} windows judged by heads fitted on "
        f"the other folds; the penalty of least log loss there was {held_out.strength:g}"
    )
