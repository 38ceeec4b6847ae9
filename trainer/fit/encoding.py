"""Cache the frame embeddings of a frozen encoder, encoding each frame once per training where that is equivalent.

The cache lies in RUN/network/embeddings while the run trains. Its key covers the encoder's weights, the prepared
corpus and what the run uses of it; if any of them changes, frames are encoded anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from engines.manifest import VideoInput
from engines.schema import encode
from trainer.config import Config
from trainer.data.embeddings import (
    EmbeddingStore,
    Floats,
    FrameList,
    OnFrames,
    encode_frames,
    list_frames,
    remove_embeddings,
)
from trainer.data.index import INDEX
from trainer.data.prepared import Prepared, hash_of
from trainer.data.store import ClipStore
from trainer.errors import ConfigError
from trainer.fit.stages import Stage
from trainer.models.systems import System

FOLDER = "embeddings"
_KEY = "train.cache_embeddings"
_VERSION = 1
"""Version of the encoding procedure; part of the cache key."""


def check_cache(config: Config, system: System) -> None:
    """Check that frames can be encoded in advance if `train.cache_embeddings` is true.

    Raises:
        ConfigError: They cannot.
    """
    if not config.train.cache_embeddings:
        return
    if not system.encodes_frames:
        raise ConfigError(f"{_KEY}: expected a network that encodes frames for true, got {system.name}; leave it out")
    if not _are_left_alone(config):
        raise ConfigError(
            f"{_KEY}: expected frames that are not augmented for true, as each is encoded once; set "
            "augment.flip_probability=0, augment.crop_scale=1, augment.colour=0 and no turn, blur or darkness, "
            "or leave it out"
        )
    if config.train.distil is not None:
        raise ConfigError(
            f"{_KEY}: expected no train.distil for true, as a teacher may see frames; leave one of them out"
        )


class FrameCache:
    """Decides for each stage whether frames are encoded in advance, and holds their embeddings."""

    def __init__(
        self,
        config: Config,
        system: System,
        prepared: Prepared,
        store: ClipStore,
        clips: Sequence[int],
        validation: Sequence[int],
        folder: Path,
        on_frames: OnFrames = lambda _done, _total: None,
    ) -> None:
        """Set up the cache for one training.

        Args:
            config: The run's configuration.
            system: The network's description.
            prepared: The prepared corpus.
            store: Reads the corpus's clips.
            clips: Positions of the training clips.
            validation: Positions of the validation clips.
            folder: The network's folder; the cache is a subfolder of it.
            on_frames: Called while frames are encoded, with the number done and the total.
        """
        self._config = config
        self._system = system
        self._prepared = prepared
        self._store = store
        self._clips = (*clips, *validation)
        self._validation = validation
        self._folder = folder / FOLDER
        self._on_frames = on_frames
        self.encoded: EmbeddingStore | None = None
        """Embeddings that replace frames in the current stage; None: frames are encoded in every batch."""

    def begin(self, stage: Stage, network: nn.Module, n_processes: int) -> EmbeddingStore | None:
        """Encode a stage's frames in advance if its encoder is frozen, results do not change, and it saves work.

        Args:
            stage: The stage that begins or resumes.
            network: The network, with the stage's frozen parts frozen.
            n_processes: Number of training processes; with more than one, frames are encoded in every batch.

        Raises:
            DataError: A frame cannot be read.
            TrainerError: The embeddings cannot be written to disk.
            ConfigError: `train.cache_embeddings` is true, but several processes train.
        """
        self.encoded, video = None, self._config.video
        if video is None or not may_encode_once(stage, network, self._system):
            return None
        if n_processes > 1:
            if self._config.train.cache_embeddings:
                raise ConfigError(f"{_KEY}: expected one process for true, got {n_processes}; leave it out")
            return None
        times = [np.array(clip.frame_times, np.float64) for clip in self._prepared.clips]
        frames = list_frames(self._store, times, self._clips, video, self._config.window)
        if self._config.train.cache_embeddings or len(frames) <= self._as_they_come(stage, video, frames):
            self.encoded = self._encode(network.get_submodule("encoder"), frames, video)
        return self.encoded

    def clear(self) -> None:
        """Delete the cached files once the training is over."""
        remove_embeddings(self._folder)

    def _as_they_come(self, stage: Stage, video: VideoInput, frames: FrameList) -> int:
        """Number of frames that a stage would encode over all its epochs without the cache."""
        train = stage.config.train
        seen = stage.n_steps * train.batch_size * len(video.frame_times_seconds)
        return train.epochs * (seen + int(np.isin(frames.clips, self._validation).sum()))

    def _encode(self, encoder: nn.Module, frames: FrameList, video: VideoInput) -> EmbeddingStore:
        """Encode these frames, reusing embeddings that an earlier call has cached."""
        device = next(encoder.parameters()).device
        encoder.eval()  # the stage's first epoch resets train and eval modes

        def run(tensors: Floats) -> Floats:
            with torch.inference_mode():
                embeddings: Floats = encoder(torch.from_numpy(tensors).to(device)).float().cpu().numpy()
            return embeddings

        key = self._key(encoder, frames)
        workers = self._config.train.workers
        return encode_frames(
            self._store, frames, video, run, self._folder, key, workers=workers, on_frames=self._on_frames
        )

    def _key(self, encoder: nn.Module, frames: FrameList) -> str:
        """Cache key: a hash of everything the embeddings depend on, used in file names."""
        digest = hashlib.sha256()
        config = self._config
        said = (_VERSION, encode(config.model), encode(config.video), hash_of(self._prepared.folder / INDEX))
        digest.update(json.dumps(said).encode())
        digest.update(frames.clips.tobytes() + frames.numbers.tobytes())
        for name, weights in encoder.state_dict().items():
            digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
            digest.update(weights.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:32]


def may_encode_once(stage: Stage, network: nn.Module, system: System) -> bool:
    """Whether cached embeddings may replace frames in a stage: frames are never augmented, the encoder never changes.

    Args:
        stage: The stage.
        network: The network, with the stage's frozen parts frozen.
        system: The network's description.
    """
    config = stage.config
    wanted = config.train.cache_embeddings
    if wanted is False or not system.encodes_frames or stage.answer == "audio":
        return False
    if not _are_left_alone(config) or config.train.distil is not None:
        return False
    if config.augment.mixup > 0 and not wanted:
        return False
    encoder = network.get_submodule("encoder")
    if any(parameter.requires_grad for parameter in encoder.parameters()):
        return False
    return not any(isinstance(module, _DropoutNd) and module.p > 0 for module in encoder.modules())


def _are_left_alone(config: Config) -> bool:
    """Whether the configuration applies no augmentation to frames."""
    augment = config.augment
    chances = (
        augment.flip_probability,
        augment.rotate_probability,
        augment.blur_probability,
        augment.darken_probability,
    )
    return not any(chances) and augment.crop_scale == 1 and augment.colour == 0
