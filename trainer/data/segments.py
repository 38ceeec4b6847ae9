"""A network's answers on windows at given positions: all windows of a clip, with all modalities and with one alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.config import Config
from trainer.data.answers import WHOLE, Answers
from trainer.data.augment import Floats
from trainer.data.embeddings import EmbeddingStore
from trainer.data.mixing import AUDIO, VIDEO, clear_absent
from trainer.data.prefetch import prefetched
from trainer.data.store import ClipStore
from trainer.data.tensors import StretchReader, TensorMaker
from trainer.inputs import PRESENCE, Inputs

Answer = Callable[[Mapping[str, Floats]], dict[str, Floats]]
"""Maps the inputs of some windows to logits per head: `fused`, and `audio` and `video` if the network has them."""
FUSED = "fused"
_ALONE = {"audio": AUDIO, "video": VIDEO}
"""Maps each condition to the presence column that stays set."""
_WINDOWS = 64
"""Number of windows answered per call."""


class SegmentReader:
    """Reads the windows that clips are evaluated on, as the network's inputs; safe to use from several threads."""

    def __init__(
        self,
        store: ClipStore,
        inputs: Inputs,
        config: Config,
        names: Sequence[str],
        encoded: EmbeddingStore | None = None,
    ) -> None:
        """Set up reading of clips.

        Args:
            store: Decoded clips.
            inputs: The network's inputs, with their normalisation statistics.
            config: The window, and the number of reading threads.
            names: Inputs that the network takes.
            encoded: Embeddings to use instead of frames.
        """
        self._reader = StretchReader(store, inputs, config.window, encoded=encoded)
        self._maker = TensorMaker(inputs, config.window, names, encoded)
        self._workers = config.train.workers

    def segments(
        self, clips: Sequence[int], step_seconds: float | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Clip and start position of every window of these clips; by default consecutive, without overlap."""
        starts = [self._reader.starts(clip, step_seconds) for clip in clips]
        owners = np.repeat(np.asarray(clips, np.int64), [len(part) for part in starts])
        return owners, np.array([start for part in starts for start in part], np.int64)

    def answers(self, clips: Sequence[int], answer: Answer) -> Answers:
        """The network's answers on every window of these clips, and with one modality alone where it can."""
        owners, starts = self.segments(clips)
        return Answers(owners, self.logits(owners, starts, answer))

    def logits(
        self, clips: NDArray[np.int64], starts: NDArray[np.int64], answer: Answer, *, alone: bool = True
    ) -> dict[str, Floats]:
        """Logits [n_windows, n_labels] per condition, for windows at the given positions.

        With one modality alone, as in the runtime, that modality's head answers; without such a head the fused one
        does, if the network takes presence flags. If that modality is silent or dark the runtime answers `unknown`,
        which logits of 0 represent. A network with neither such heads nor flags answers only with all modalities, and
        so does any network if `alone` is False.
        """
        parts: dict[str, list[Floats]] = {}
        for inputs in self.read(clips, starts):
            answered = _under_all_conditions(inputs, answer) if alone else {WHOLE: answer(inputs)[FUSED]}
            for condition, logits in answered.items():
                parts.setdefault(condition, []).append(logits)
        return {condition: np.concatenate(part).astype(np.float32) for condition, part in parts.items()}

    def read(self, clips: NDArray[np.int64], starts: NDArray[np.int64]) -> Iterator[dict[str, Floats]]:
        """Yield the inputs of the windows at the given positions, in order and in batches."""

        def read(number: int) -> dict[str, Floats]:
            chosen = slice(number * _WINDOWS, (number + 1) * _WINDOWS)
            tensors = self._maker.empty(len(clips[chosen]))
            for item, (clip, start) in enumerate(zip(clips[chosen], starts[chosen], strict=True)):
                self._maker.fill(tensors, item, self._reader.read(int(clip), int(start)))
            return tensors

        return prefetched(read, -(-len(clips) // _WINDOWS), self._workers)


def _under_all_conditions(inputs: Mapping[str, Floats], answer: Answer) -> dict[str, Floats]:
    """Logits per condition for a batch of windows."""
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
    """Mean negative log-likelihood of the right scene: logits [n, n_labels], targets [n]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    right = shifted[np.arange(len(targets)), targets]
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - right))
