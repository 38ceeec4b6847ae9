"""Windows from a run's own recordings or clips: golden cases, int8 calibration, clips to compare precisions on.

They are drawn deterministically: the same run gives the same windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.check import N_CASES
from trainer.clip_run import ClipRun
from trainer.config import Config
from trainer.data.audio import decode
from trainer.data.clips import EVALUATE, TRAIN
from trainer.data.memory import MemoryStore
from trainer.data.mixing import clear_absent
from trainer.data.prepared import open_prepared
from trainer.data.store import ClipStore
from trainer.data.tensors import StretchReader, TensorMaker
from trainer.errors import RunError
from trainer.inputs import PRESENCE, Inputs
from trainer.models.systems import System
from trainer.run import Run

Floats = NDArray[np.float32]
_PRESENCE_OF_CASES = ((1, 1), (1, 1), (0, 1), (1, 0), (1, 1), (1, 0), (0, 1), (1, 1))
"""Presence flags of the golden cases, audio first, for networks that take them; each modality occurs alone."""


@dataclass(frozen=True, slots=True)
class Material:
    """The clips of a run, and what each is used for."""

    store: ClipStore
    """The clips."""
    targets: NDArray[np.int64]
    """[n_clips] scene of each clip; −1: none of the scenes."""
    seen: tuple[int, ...]
    """Clips the network was trained on."""
    judged: tuple[int, ...]
    """Clips that precisions are compared on."""
    held_out: bool
    """Whether the network was not trained on `judged`."""


class Cases:
    """Draws windows from a run's clips, as inputs of its network."""

    def __init__(self, material: Material, system: System, inputs: Inputs, config: Config) -> None:
        """Set up readers for the clips.

        Args:
            material: The clips.
            system: The network's kind.
            inputs: Its inputs, with their statistics.
            config: Window and seed.
        """
        self.material = material
        self._reader = StretchReader(material.store, inputs, config.window)
        self._maker = TensorMaker(inputs, config.window, system.inputs)
        self._seed = config.seed

    def golden(self) -> dict[str, Floats]:
        """Return the middle windows of N_CASES clips: the first of each scene, then the others, repeated if too few."""
        targets = self.material.targets.tolist()
        clips = self.material.judged if self.material.held_out else range(len(targets))
        first = sorted({targets[clip]: clip for clip in reversed(clips)}.values())
        order = first + [clip for clip in clips if clip not in set(first)]
        chosen = np.resize(order, N_CASES).tolist()
        inputs = self._tensors([(clip, self._reader.last_start(clip) // 2) for clip in chosen])
        if PRESENCE in inputs:
            flags = inputs[PRESENCE] * np.array(_PRESENCE_OF_CASES, np.float32)
            inputs[PRESENCE] = np.where(flags.any(axis=1, keepdims=True), flags, inputs[PRESENCE])
            clear_absent(inputs)
        return inputs

    def ranges(self, n: int) -> Iterator[dict[str, Floats]]:
        """Yield `n` single windows at random positions in training clips, scenes in turn."""
        rng = np.random.default_rng((self._seed, 0))
        turns = self._by_turns(rng.permutation(self.material.seen).tolist())
        for clip in np.resize(turns, n).tolist():
            yield self._tensors([(clip, int(rng.integers(self._reader.last_start(clip) + 1)))])

    def judged(self, n_windows: int) -> list[int]:
        """Return the clips to compare precisions on: about `n_windows` windows, scenes in turn; sorted."""
        rng = np.random.default_rng((self._seed, 1))
        chosen: list[int] = []
        for clip in self._by_turns(rng.permutation(self.material.judged).tolist()):
            n_windows -= len(self._reader.starts(clip))
            if n_windows < 0 and chosen:
                break
            chosen.append(clip)
        return sorted(chosen)

    def _by_turns(self, clips: Sequence[int]) -> list[int]:
        """Reorder clips so that the scenes alternate."""
        seen: dict[int, int] = {}
        ranked = []
        for place, clip in enumerate(clips):
            target = int(self.material.targets[clip])
            seen[target] = seen.get(target, 0) + 1
            ranked.append((seen[target], target, place, clip))
        return [clip for *_, clip in sorted(ranked)]

    def _tensors(self, places: Sequence[tuple[int, int]]) -> dict[str, Floats]:
        """The inputs of the windows at these clips and start positions."""
        tensors = self._maker.empty(len(places))
        for item, (clip, start) in enumerate(places):
            self._maker.fill(tensors, item, self._reader.read(clip, start))
        return tensors


def open_material(run: Run | ClipRun, inputs: Inputs, root: Path) -> Material:
    """Decode a run's recordings, or open its prepared clips.

    Args:
        run: A finished run.
        inputs: Inputs of its network.
        root: The data folder.

    Raises:
        DataError: A recording or the corpus is missing.
        RunError: The corpus has other clips than the run's.
    """
    data = run.config.data
    if isinstance(run, ClipRun):
        folder = root / (data.prepared or "")
        prepared = open_prepared(folder)
        if [clip.key for clip in prepared.clips] != [clip.key for clip in run.clips]:
            raise RunError(
                f"{folder}: expected the clips that {run.folder} was trained on, got others; "
                "name the data folder with --data, or train anew"
            )
        seen, judged = tuple(run.numbers(TRAIN)), tuple(run.numbers(EVALUATE))
        return Material(prepared.store(inputs), run.targets, seen, judged, held_out=True)
    place = root / (data.labels or "")
    folder = place if place.is_dir() else place.parent
    store = MemoryStore([decode(folder / entry.file, inputs.sample_rate) for entry in run.entries], inputs.sample_rate)
    known = tuple(int(number) for number in np.flatnonzero(run.targets >= 0))
    return Material(store, run.targets, known, known, held_out=False)
