"""How well a linear head on YAMNet's embedding classifies the recordings, in the folds used to evaluate slim-audio.

    python benchmarks/yamnet_head.py WORK          (after benchmarks/slim_av.py DATA WORK)

Logistic regression on the windows saved by `ear.py`, half a second apart and all at the same level. The strength of the
penalty is the one with the lowest log loss on these folds; each fold's temperature is fitted on the other folds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from trainer.evaluate.metrics import softmax
from trainer.evaluate.thresholds import best_groups
from trainer.importers.regression import hold_out
from trainer.run import open_run

_STRIDE = 5
"""Every fifth window: those of `ear.py` are a tenth of a second apart."""


def main() -> int:
    """Parse the command line, fit, and print the figures."""
    parser = argparse.ArgumentParser(description="A linear head on YAMNet's embedding.")
    parser.add_argument("work", type=Path)
    work: Path = parser.parse_args().work
    run = open_run(work / "runs/slim-audio")
    fold_of = {
        number: int(split.name.removeprefix("fold-"))
        for split in run.splits
        if split.name.startswith("fold-")
        for number in split.test
    }
    with np.load(work / "data/ear/windows.npz") as file:
        first, plain = file["first"], file["plain"]
        rows = [np.flatnonzero(plain & (first == number))[::_STRIDE] for number in fold_of]
        chosen = np.concatenate(rows)
        features, recordings = file["embeddings"][chosen].astype(np.float64), first[chosen]
    folds = np.array([fold_of[number] for number in recordings])
    held_out = hold_out(features, run.targets[recordings], recordings, folds, len(run.labels))
    groups = [
        [run.labels.index(name) for name in names if name in run.labels] for names in run.config.data.groups.values()
    ]
    probabilities = softmax(held_out.logits, held_out.temperature)
    _, right = best_groups(probabilities, held_out.targets, groups)
    print(
        f"{len(chosen):,} windows of {len(fold_of)} recordings; penalty {held_out.strength:g}; scenes alike: accuracy "
        f"{held_out.accuracy:.3f}, groups {held_out.weights @ right:.3f}, log loss {held_out.log_loss:.3f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
