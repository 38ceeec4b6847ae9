"""subspectral: overlapping groups of mel bands, each with its own network and logits, and a global network over all.

SubSpectralNet (Phaye, Benetos and Wang, 2019), on ten seconds or adapted to one; 40-20-10 stands for its mel bands,
the bands per group and the step between groups.
"""

from __future__ import annotations

import copy
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.initialise import he_normal, keras_default

WIDTHS = (32, 64)
EMBEDDING = 32
"""Size of the embedding that a group passes to the global network."""
NARROWEST = 64
"""Width of the global network's last hidden layer."""
PENALTY = 1e-4
"""L2 penalty on the normalisations' scales and shifts."""
Norm = Literal["channel", "row"]


class Answers(NamedTuple):
    """Logits of a window, from the global network and from each group."""

    fused: Tensor
    """[n, n_labels] from the global network: the network's answer."""
    groups: Tensor
    """[n, n_groups, n_labels] from each group, lowest bands first: an auxiliary loss worth 3 points of accuracy."""


class SubSpectral(nn.Module):
    """One small network per group of bands, and a global network on their embeddings."""

    def __init__(
        self,
        n_labels: int = 10,
        *,
        n_channels: int = 2,
        n_mels: int = 40,
        group: int = 20,
        step: int = 10,
        n_hops: int = 500,
        norm: Norm = "channel",
        dropout: float = 0.3,
    ) -> None:
        """Make a network with fresh weights.

        Args:
            n_labels: Number of labels.
            n_channels: Number of feature channels: two for left and right, or one.
            n_mels: Number of mel bands.
            group: Bands per group, a multiple of ten.
            step: Bands from the start of one group to the next.
            n_hops: Hops per window, a multiple of five: 500 as published, 50 for the adaptation to one second, whose
                weights have the same shapes.
            norm: Normalise per channel, or per mel row, as the Keras system declares it and its published parameter
                count requires.
            dropout: Dropout rate.
        """
        super().__init__()
        if group % 10 or n_hops % 5 or group > n_mels:
            raise ValueError(
                f"expected groups of a multiple of ten bands, at most {n_mels}, and a multiple of five hops, "
                f"got {group} bands and {n_hops} hops"
            )
        self.group = group
        self.starts = tuple(range(0, n_mels - group + 1, step))
        self.groups = nn.ModuleList(
            GroupNetwork(n_labels, n_channels, group, n_hops, norm, dropout) for _ in self.starts
        )
        n_joined = EMBEDDING * len(self.starts)
        layers: list[nn.Module] = []
        for width in global_widths(n_joined):
            layers += [nn.Linear(n_joined, width), nn.ReLU(), nn.Dropout(dropout)]
            n_joined = width
        self.join = nn.Sequential(*layers, nn.Linear(n_joined, n_labels))
        self.join.apply(keras_default)

    def forward(self, features: Tensor) -> Answers:
        """Features [n, n_channels, n_mels, n_hops], each band standardised over the training set, to the answers."""
        embeddings, logits = [], []
        for start, network in zip(self.starts, self.groups, strict=True):
            embedding, answer = network(features[:, :, start : start + self.group])
            embeddings.append(embedding)
            logits.append(answer)
        return Answers(self.join(torch.cat(embeddings, dim=1)), torch.stack(logits, dim=1))

    def penalty(self) -> Tensor:
        """The regularisation term that the Keras recipe adds to the loss."""
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        return PENALTY * torch.stack([norm.weight.square().sum() + norm.bias.square().sum() for norm in norms]).sum()

    def deployed(self) -> GlobalAnswer:
        """A copy for export: in evaluation mode, returning only the global network's logits."""
        return GlobalAnswer(copy.deepcopy(self)).eval()


class GroupNetwork(nn.Module):
    """Two convolutions with strong pooling, a 32-dimensional embedding, logits."""

    def __init__(self, n_labels: int, n_channels: int, n_rows: int, n_hops: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        first, second = WIDTHS
        self.maps = nn.Sequential(
            nn.Conv2d(n_channels, first, 7, padding=3),
            _normalisation(norm, first, n_rows),
            nn.ReLU(),
            nn.MaxPool2d((n_rows // 10, 5)),
            nn.Dropout(dropout),
            nn.Conv2d(first, second, 7, padding=3),
            _normalisation(norm, second, 10),
            nn.ReLU(),
            nn.MaxPool2d((4, n_hops // 5)),
            nn.Dropout(dropout),
            nn.Flatten(),
        )
        self.maps.apply(he_normal)
        self.embed = nn.Linear(2 * second, EMBEDDING)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(EMBEDDING, n_labels)
        keras_default(self.embed)
        keras_default(self.classify)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """[n, n_channels, n_rows, n_hops] to the embedding [n, 32] before dropout, and [n, n_labels] logits."""
        embedding = torch.relu(self.embed(self.maps(features)))
        return embedding, self.classify(self.dropout(embedding))


class RowNorm(nn.BatchNorm2d):
    """BatchNorm with statistics per row of the maps instead of per channel, and Keras's constants."""

    def __init__(self, n_rows: int) -> None:
        super().__init__(n_rows, eps=1e-3, momentum=0.01)

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_channels, n_rows, n_hops] to the same shape."""
        if self.training or self.running_mean is None or self.running_var is None:
            return super().forward(maps.transpose(1, 2)).transpose(1, 2)
        scale = self.weight / torch.sqrt(self.running_var + self.eps)
        shift = self.bias - self.running_mean * scale
        return maps * scale[:, None] + shift[:, None]


class GlobalAnswer(nn.Module):
    """Returns only the fused answer of a `SubSpectral`."""

    def __init__(self, network: SubSpectral) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        """[n, n_channels, n_mels, n_hops] to [n, n_labels] logits."""
        answers: Answers = self.network(features)
        return answers.fused


def summed_loss(answers: Answers, target: Tensor) -> Tensor:
    """Unweighted sum of the global and all groups' cross-entropies, averaged over the batch.

    Args:
        answers: Answers for a batch.
        target: [n] labels, or [n, n_labels] probabilities.
    """
    heads = torch.cat([answers.groups, answers.fused[:, None]], dim=1)
    return torch.stack([functional.cross_entropy(logits.float(), target) for logits in heads.unbind(1)]).sum()


def global_widths(n_in: int) -> list[int]:
    """Hidden widths of the global network: the largest power of two not above its input, halved down to 64."""
    width = 1 << (n_in.bit_length() - 1)
    widths = []
    while width >= NARROWEST:
        widths.append(width)
        width //= 2
    return widths


def _normalisation(norm: Norm, n_channels: int, n_rows: int) -> nn.BatchNorm2d:
    """BatchNorm over channels or rows."""
    return nn.BatchNorm2d(n_channels) if norm == "channel" else RowNorm(n_rows)
