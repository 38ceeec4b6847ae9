"""What a network says of windows of known places: every second of a clip, with all modalities and with one alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.config import Config
from trainer.data.augment import Floats
from trainer.data.embeddings import EmbeddingStore
from trainer.data.mixing import AUDIO, VIDEO, clear_absent
from trainer.data.prefetch import prefetched
from trainer.data.store import ClipStore
from trainer.data.tensors import StretchReader, TensorMaker
from trainer.evaluate.answers import WHOLE, Answers
from trainer.inputs import PRESENCE, Inputs

Answer = Callable[[Mapping[str, Floats]], dict[str, Floats]]
"""Inputs of some windows to logits a head: `fused`, and `audio` and `video` where the network has such heads."""
FUSED = "fused"
_ALONE = {"audio": AUDIO, "video": VIDEO}
"""Condition to the column of presence that stays."""
_WINDOWS = 64
"""Windows answered at once."""


class SegmentReader:
    """Reads the windows that clips are judged by, as a network takes them; several threads may use it."""

    def __init__(
        self,
        store: ClipStore,
        inputs: Inputs,
        config: Config,
        names: Sequence[str],
        encoded: EmbeddingStore | None = None,
    ) -> None:
        """Take clips, the network's inputs with their statistics, and the names of those it takes.

        Args:
            store: Decoded clips.
            inputs: With their statistics.
            config: The window, and how many threads read.
            names: Inputs that the network takes.
            encoded: Embeddings to take in place of frames.
        """
        self._reader = StretchReader(store, inputs, config.window, encoded=encoded)
        self._maker = TensorMaker(inputs, config.window, names, encoded)
        self._workers = config.train.workers

    def segments(
        self, clips: Sequence[int], step_seconds: float | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Clip and position of every window of these clips: by default one after another, without overlap."""
        starts = [self._reader.starts(clip, step_seconds) for clip in clips]
        owners = np.repeat(np.asarray(clips, np.int64), [len(part) for part in starts])
        return owners, np.array([start for part in starts for start in part], np.int64)

    def answers(self, clips: Sequence[int], answer: Answer) -> Answers:
        """What a network says of every window of these clips, and of each with a modality missing where it can."""
        owners, starts = self.segments(clips)
        return Answers(owners, self.logits(owners, starts, answer))

    def logits(
        self, clips: NDArray[np.int64], starts: NDArray[np.int64], answer: Answer, *, alone: bool = True
    ) -> dict[str, Floats]:
        """[n_windows, n_labels] a condition of the windows at these places.

        As in the runtime, the head of the modality that is left answers, and where there is none the fused one, if the
        network takes presence flags. Where the one that is left is silence or a covered lens the runtime says
        `unknown`: logits of 0 stand for that. A network with neither answers as a whole only, and so does any where
        `alone` is False.
        """
        parts: dict[str, list[Floats]] = {}
        for inputs in self.read(clips, starts):
            answered = _under_all_conditions(inputs, answer) if alone else {WHOLE: answer(inputs)[FUSED]}
            for condition, logits in answered.items():
                parts.setdefault(condition, []).append(logits)
        return {condition: np.concatenate(part).astype(np.float32) for condition, part in parts.items()}

    def read(self, clips: NDArray[np.int64], starts: NDArray[np.int64]) -> Iterator[dict[str, Floats]]:
        """Inputs of the windows at these places, in order, some of them at a time."""

        def read(number: int) -> dict[str, Floats]:
            chosen = slice(number * _WINDOWS, (number + 1) * _WINDOWS)
            tensors = self._maker.empty(len(clips[chosen]))
            for item, (clip, start) in enumerate(zip(clips[chosen], starts[chosen], strict=True)):
                self._maker.fill(tensors, item, self._reader.read(int(clip), int(start)))
            return tensors

        return prefetched(read, -(-len(clips) // _WINDOWS), self._workers)


def _under_all_conditions(inputs: Mapping[str, Floats], answer: Answer) -> dict[str, Floats]:
    """Logits a condition of some windows."""
    heads = answer(inputs)
    logits = {WHOLE: heads[FUSED]}
    for condition, kept in _ALONE.items():
        if PRESENCE in inputs:
            alone = {name: values.copy() for name, values in inputs.items()}
            alone[PRESENCE][:] = 0
            alone[PRESENCE][:, kept] = 1
            clear_absent(alone)
            answered = answer(alone)
            heard = inputs[PRESENCE][:, kept, None] > 0
            logits[condition] = np.where(heard, answered.get(condition, answered[FUSED]), np.float32(0))
        elif condition in heads:
            logits[condition] = heads[condition]
    return logits


def mean_log_loss(logits: Floats, targets: Sequence[int] | NDArray[np.int64]) -> float:
    """Mean over windows of −log of the probability of what is right: [n, n_labels] and [n]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    right = shifted[np.arange(len(targets)), targets]
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - right))
