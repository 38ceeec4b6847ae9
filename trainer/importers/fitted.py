"""A head for scenes, fitted on a user's labelled clips; what is held out shares no place with what judges it.

`embedded.py` makes features of the clips, through the runtime's own windows; `regression.py` has the arithmetic.
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
"""At most; fewer where no label has as many places."""


@dataclass(frozen=True, slots=True)
class FittedHead:
    """Scenes from features, linearly."""

    labels: tuple[str, ...]
    """Those of the clips, in alphabetical order."""
    weight: Floats
    """[n_labels, n_features], on the features as they come: their standardisation is folded in."""
    bias: Floats
    """[n_labels]."""
    temperature: float
    """Of held-out answers."""
    accuracy: float
    """Of held-out windows, labels alike, within them clips alike."""
    log_loss: float
    """The same windows', each fold at the temperature of the others."""
    n_clips: int
    """Clips it was fitted on."""
    n_places: int
    """Places they are of."""
    n_windows: int
    """Windows they gave."""
    corpus: str
    """Which clips they were, and how they were divided: for the card."""


def fit_head(
    embed: Embed,
    inputs: Inputs,
    window: WindowSpec,
    clips: Path,
    *,
    allowed: Sequence[str] = TEN_SCENES,
    on_clip: OnClip = unwatched,
) -> FittedHead:
    """Fit a head on labelled clips: multinomial logistic regression, every label alike, within it every clip alike.

    The strength of its penalty has the least log loss on held-out places; its temperature is that of these answers.

    Args:
        embed: The encoder.
        inputs: What it takes of a window.
        window: How long that is.
        clips: Labelled clips, as `trainer evaluate --data` reads them; the evaluation split of a divided list is not
            fitted on.
        allowed: Labels that count.
        on_clip: Told how far the encoder is.

    Raises:
        DataError: They cannot be read, are all for evaluation, or there are too few places of too few labels to hold
            any out.
    """
    found = read_labelled(clips, allowed, "fit")
    if any(clip.split == EVALUATE for clip in found.clips):  # they come only where there are no others
        raise DataError(
            f"--data: {clips}: expected clips to fit a head on, got those of the evaluation split alone, which are "
            "left to measure on; add clips of another split, or leave splits out of the list"
        )
    chosen = [clip for clip in found.clips if clip.scene_label != NONE]
    labels = tuple(sorted({clip.scene_label for clip in chosen}))
    _deal(clips, chosen)  # before anything takes time
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
    """A fitted head as a layer of a network."""
    layer = nn.Linear(head.weight.shape[1], len(head.labels))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight))
        layer.bias.copy_(torch.from_numpy(head.bias))
    return layer


def groups_of(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """DCASE's three groups, without the scenes that are not among the labels."""
    members = {group: tuple(label for label in whole if label in labels) for group, whole in TEN_GROUPS.items()}
    return {group: kept for group, kept in members.items() if kept}


def _deal(where: Path, clips: Sequence[Clip]) -> dict[str, int]:
    """Fold of each place, label by label in turn; −1, never held out, where a label has no other place.

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
    """Places of each label."""
    places: dict[str, set[str]] = {}
    for clip in clips:
        places.setdefault(clip.scene_label, set()).add(clip.place)
    return places


def _too_few(where: Path, clips: Sequence[Clip]) -> DataError:
    """The refusal of clips that leave nothing to hold out."""
    got = ", ".join(f"{len(places)} of {label}" for label, places in sorted(_places(clips).items()))
    return DataError(
        f"--data: {where}: expected clips of two places or more of two labels or more, so that some can be held out, "
        f"got places: {got}; add recordings of other places"
    )


def _describe(found: Clips, rows: Rows, held_out: HeldOut) -> str:
    """The clips and how they were divided, in a sentence or two."""
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
