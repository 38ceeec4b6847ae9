"""Frames of a frozen encoder: encoded once a training, not once an epoch, wherever that comes to the same.

What is kept of them lies in RUN/network/embeddings while the run trains. It follows from the encoder's weights, the
prepared corpus and what the run takes of it; where one of them is another, frames are encoded anew.
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
"""Of how frames are made embeddings of."""


def check_cache(config: Config, system: System) -> None:
    """See that frames can be encoded beforehand where the configuration insists on it.

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
    """Decides stage by stage whether frames are encoded beforehand, and keeps what they became."""

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
        """Take a training.

        Args:
            config: What to do.
            system: The network.
            prepared: The corpus.
            store: What reads it.
            clips: Those that are trained on.
            validation: Those that are validated with.
            folder: Of the network; parts are kept in a folder in it.
            on_frames: Called while frames are encoded, with how many are done, and of how many.
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
        """What stands for frames in the stage that is under way; None: frames are encoded as they come."""

    def begin(self, stage: Stage, network: nn.Module, n_processes: int) -> EmbeddingStore | None:
        """Encode the frames of a stage if its encoder is frozen, nothing changes by it, and it is less work.

        Args:
            stage: The one that begins, or goes on.
            network: With the stage's parts frozen.
            n_processes: That train; several encode frames as they come.

        Raises:
            DataError: A frame cannot be read.
            TrainerError: The disk refuses.
            ConfigError: Frames shall be encoded beforehand, and several processes train.
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
        """Remove what was kept; the training is over."""
        remove_embeddings(self._folder)

    def _as_they_come(self, stage: Stage, video: VideoInput, frames: FrameList) -> int:
        """Frames that a stage would encode in all its epochs."""
        train = stage.config.train
        seen = stage.n_steps * train.batch_size * len(video.frame_times_seconds)
        return train.epochs * (seen + int(np.isin(frames.clips, self._validation).sum()))

    def _encode(self, encoder: nn.Module, frames: FrameList, video: VideoInput) -> EmbeddingStore:
        """All of these frames, or what an earlier call kept of them."""
        device = next(encoder.parameters()).device
        encoder.eval()  # the stage's first epoch sets modes anew

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
        """What embeddings follow from, as a name for files."""
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
    """Whether embeddings may stand for frames in a stage: no frame is ever other than stored, nor its embedding.

    Args:
        stage: It.
        network: With the stage's parts frozen.
        system: What the network is.
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
    """Whether frames are trained on as they are stored."""
    augment = config.augment
    chances = (
        augment.flip_probability,
        augment.rotate_probability,
        augment.blur_probability,
        augment.darken_probability,
    )
    return not any(chances) and augment.crop_scale == 1 and augment.colour == 0
