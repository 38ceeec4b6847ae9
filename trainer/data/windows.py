"""Draw balanced and augmented training windows and make batches of them, independent of the number of threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engines.manifest import AudioInput, Normalisation
from trainer.config import Config
from trainer.data.audio import Mono
from trainer.data.augment import SampleAugmenter, lead_samples, mix_in
from trainer.data.augment_frames import augment_frames
from trainer.data.batch import Batch, Process
from trainer.data.embeddings import EmbeddingStore
from trainer.data.mixing import bands_axis, drop_modalities, mask, mix_styles, mix_up
from trainer.data.prefetch import prefetched
from trainer.data.store import ClipStore
from trainer.data.tensors import Stretch, StretchReader, TensorMaker
from trainer.errors import ConfigError
from trainer.inputs import FEATURES, PRESENCE, Inputs

_MEASURED_WINDOWS = 768
"""Windows that the normalisation is measured on: enough to know a band's mean to 1/20 of its standard deviation."""
_PLAN, _WINDOWS, _MIXING = 0, 1, 2
"""Streams of random numbers: which clips, the augmentation of each window, the augmentation of the batch."""


class WindowSampler:
    """Draws windows: scenes equally often, within a scene its clips in turn, at a random position in the clip.

    A fraction `augment.none_share` of the windows shows none of the scenes; their target is uniform over all scenes.

    Clips count equally, whatever their length, as in evaluation. All random numbers derive from seed, epoch, batch and
    position in the batch, so the number of threads or processes does not change a window. Windows are only mixed with
    others of the same process.
    """

    def __init__(
        self,
        store: ClipStore,
        clips: Sequence[int],
        targets: Sequence[int],
        n_labels: int,
        config: Config,
        names: Sequence[str],
        responses: Sequence[Mono] = (),
        seed: Sequence[int] = (),
    ) -> None:
        """Set up sampling from the training clips.

        Args:
            store: Decoded clips.
            clips: Indices of the training clips in the store.
            targets: Scene of each of them; −1: none of the scenes.
            n_labels: Number of scenes.
            config: Window, inputs and augmentation.
            names: Inputs that the network takes.
            responses: Impulse responses of microphones.
            seed: Appended to the configuration's seed.
        """
        self._clips = np.asarray(clips, np.int64)
        self._targets = np.asarray(targets, np.int64)
        self._members = [np.flatnonzero(self._targets == label) for label in range(n_labels)]
        self._others = np.flatnonzero(self._targets < 0)
        self._drawn = np.flatnonzero([members.size > 0 for members in self._members])
        self._n_labels = n_labels
        self._config = config
        self._names = tuple(names)
        self._seed = (config.seed, *seed)
        inputs = config.inputs
        self._augment: SampleAugmenter | None = None
        lead = 0
        if inputs.sound is not None:
            n_samples = config.n_window_samples
            augment = config.augment if responses else replace(config.augment, response_probability=0.0)
            lead = lead_samples(augment, inputs.sample_rate, n_samples)
            self._augment = SampleAugmenter(augment, inputs.sample_rate, n_samples + lead, lead, responses)
        self._store, self._lead = store, lead
        self._encoded: EmbeddingStore | None = None
        self._reader = StretchReader(store, inputs, config.window, lead)
        self._ears = StretchReader(store, replace(inputs, video=None), config.window, lead)

    def use(self, encoded: EmbeddingStore | None) -> None:
        """From the next epoch on, provide unaugmented `embeddings` instead of `frames`; None: frames again."""
        self._encoded = encoded
        self._reader = StretchReader(self._store, self._config.inputs, self._config.window, self._lead, encoded)

    def measure(self, rng: np.random.Generator) -> Inputs:
        """The inputs with each band's mean and standard deviation over augmented windows, unless configured."""
        inputs = self._config.inputs
        plain = inputs.audio
        if plain is None or plain.normalisation.kind != "none" or FEATURES not in self._names:
            return inputs
        maker = TensorMaker(replace(inputs, video=None), self._config.window, (FEATURES,))
        features = maker.empty(_MEASURED_WINDOWS)
        for item, position in enumerate(self._plan(_MEASURED_WINDOWS, rng)):
            own = np.random.default_rng(rng.integers(1 << 63))
            maker.fill(features, item, self._heard(self._ears, int(position), own))
        axis = bands_axis(plain)
        over = tuple(number for number in range(4) if number != axis)
        values = features[FEATURES]
        mean, std = values.mean(axis=over, dtype=np.float64), values.std(axis=over, dtype=np.float64)
        return replace(inputs, audio=_normalised(plain, mean, std))

    def batches(self, inputs: Inputs, epoch: int, config: Config, process: Process) -> Iterator[Batch]:
        """This process's share of every batch of one epoch, prepared ahead by `train.workers` threads.

        Raises:
            ConfigError: The batch size is not a multiple of the number of processes.
        """
        size = config.train.batch_size
        if size % process.count:
            raise ConfigError(
                f"train.batch_size: expected a multiple of the number of processes, {process.count}, got {size}"
            )
        n_steps = max(1, config.train.windows_per_epoch // size)
        plan = self._plan(n_steps * size, np.random.default_rng((*self._seed, _PLAN, epoch)))
        maker = TensorMaker(inputs, config.window, self._names, self._encoded)
        share = size // process.count
        own = slice(process.rank * share, (process.rank + 1) * share)

        def prepare(number: int) -> Batch:
            seeds = np.random.default_rng((*self._seed, _WINDOWS, epoch, number)).integers(1 << 63, size=size)[own]
            mixing = np.random.default_rng((*self._seed, _MIXING, epoch, number, process.rank))
            return self._batch(plan[number * size : (number + 1) * size][own], seeds, maker, config, number, mixing)

        return prefetched(prepare, n_steps, config.train.workers)

    def _plan(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """[n] positions in `clips`: every scene equally often, and within it every clip once before any is repeated.

        A fraction of them, at random places, is replaced by clips of none of the scenes.
        """
        labels = rng.permuted(np.resize(rng.permutation(self._drawn), n))
        plan = np.empty(n, np.int64)
        for label in self._drawn:
            members, places = self._members[label], np.flatnonzero(labels == label)
            turns = [rng.permutation(members) for _ in range(-(-places.size // members.size))]
            plan[places] = np.concatenate(turns)[: places.size] if turns else members[:0]
        if self._others.size and (n_others := round(self._config.augment.none_share * n)):
            plan[rng.choice(n, n_others, replace=False)] = rng.choice(self._others, n_others)
        return plan

    def _batch(
        self,
        positions: NDArray[np.int64],
        seeds: NDArray[np.int64],
        maker: TensorMaker,
        config: Config,
        number: int,
        mixing: np.random.Generator,
    ) -> Batch:
        """Read, augment and mix the windows of one batch."""
        inputs = maker.empty(len(positions))
        for item, (position, seed) in enumerate(zip(positions, seeds, strict=True)):
            rng = np.random.default_rng(seed)
            maker.fill(inputs, item, self._seen(self._heard(self._reader, int(position), rng), rng))
        rows = np.eye(self._n_labels + 1, self._n_labels, dtype=np.float32)
        rows[-1] = 1 / self._n_labels
        targets = rows[self._targets[positions]]
        axis = 2 if config.audio is None else bands_axis(config.audio)
        if FEATURES in inputs and config.augment.style_probability > 0:
            probability, present = config.augment.style_probability, inputs.get(PRESENCE)
            inputs[FEATURES] = mix_styles(inputs[FEATURES], probability, axis, mixing, present)
        inputs, targets = mix_up(inputs, targets, config.augment, number, mixing)
        if FEATURES in inputs:
            mask(inputs[FEATURES], config.augment, axis, mixing)
        if PRESENCE in inputs:
            drop_modalities(inputs, config.augment, mixing)
        return Batch(inputs, targets)

    def _heard(self, reader: StretchReader, position: int, rng: np.random.Generator) -> Stretch:
        """A window at a random position in a clip, its sound augmented, sometimes with another clip of its scene."""
        stretch = self._cut(reader, position, rng)
        if stretch.samples is None or self._augment is None:
            return stretch
        samples = stretch.samples
        if rng.random() < self._config.augment.mix_probability:
            target = self._targets[position]
            other = int(rng.choice(self._members[target] if target >= 0 else self._others))
            clip = int(self._clips[other])
            samples = mix_in(samples, reader.samples(clip, _place(reader, clip, rng)), rng)
        return replace(stretch, samples=self._augment(samples, rng))

    def _seen(self, stretch: Stretch, rng: np.random.Generator) -> Stretch:
        """The same stretch with its frames augmented."""
        if stretch.frames is None or not stretch.video:
            return stretch
        return replace(stretch, frames=augment_frames(stretch.frames, self._config.augment, rng))

    def _cut(self, reader: StretchReader, position: int, rng: np.random.Generator) -> Stretch:
        """A window at a random position in a clip."""
        clip = int(self._clips[position])
        return reader.read(clip, _place(reader, clip, rng))


def _place(reader: StretchReader, clip: int, rng: np.random.Generator) -> int:
    """A random start position for a whole window in a clip."""
    return int(rng.integers(reader.last_start(clip) + 1))


def _normalised(audio: AudioInput, mean: NDArray[np.float64], std: NDArray[np.float64]) -> AudioInput:
    """The input with these normalisation statistics, rounded to six digits."""
    numbers = [tuple(float(f"{value:.6g}") for value in values) for values in (mean, np.maximum(std, 1e-3))]
    return replace(audio, normalisation=Normalisation(kind="per_bin", mean=numbers[0], std=numbers[1]))
