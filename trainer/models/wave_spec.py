"""wave_spec: the waveform and spectrogram branches on the same second, joined before the head."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.latent import LATENT, LatentHead
from trainer.models.spectrogram import SpectrogramBranch
from trainer.models.wave import WaveBranch

Join = Literal["sum", "concat"]


class WaveSpec(nn.Module):
    """Both branches of wave-spec-fusion, with one head on their latent vectors.

    The published network sums them; concatenation of unit vectors is the authors' simplest alternative.
    """

    def __init__(self, n_labels: int = 10, *, dropout: float = 0.3, join: Join = "sum") -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Number of labels.
            dropout: Dropout rate before each linear layer.
            join: How the latent vectors are combined.
        """
        super().__init__()
        self.join = join
        self.wave = WaveBranch()
        self.spectrogram = SpectrogramBranch()
        self.head = LatentHead(n_labels, n_in=LATENT if join == "sum" else 2 * LATENT, dropout=dropout)

    def forward(self, waveform: Tensor, features: Tensor) -> Tensor:
        """Samples [n, 1, 48000] and log-mel [n, 1, 128, 188] to [n, n_labels] logits."""
        wave, spectrogram = self.wave(waveform), self.spectrogram(features)
        if self.join == "sum":
            latent = wave + spectrogram
        else:
            latent = torch.cat([functional.normalize(wave), functional.normalize(spectrogram)], dim=1)
        logits: Tensor = self.head(latent)
        return logits

    def deployed(self) -> WaveSpec:
        """A copy for export: in evaluation mode, its filters folded into an ordinary convolution."""
        network = copy.deepcopy(self).eval()
        network.wave.fold()
        return network
