"""Records of our own networks, in the form of the published ones; their measured figures are in their cards.

Parameters and multiply-accumulates are for ten labels, as in the table of published systems.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from trainer.models.record import Reference

_ROWS = (
    Reference(
        name="slim_audio",
        about="inverted residuals with squeeze-excitation on log-mel",
        modality="audio",
        inputs={"features": (1, 64, 48)},
        parameters=85_292,
        macs=4_085_792,
        published="none",
        accuracy=None,
        log_loss=None,
        protocol=None,
        source="this project",
        repository="this one",
        factory="trainer.models.slim_audio:SlimAudio",
    ),
    Reference(
        name="slim_visual",
        about="the frame encoder of slim_av and a linear answer",
        modality="video",
        inputs={"frames": (1, 3, 128, 128)},
        parameters=446_646,
        macs=16_695_104,
        published="none",
        accuracy=None,
        log_loss=None,
        protocol=None,
        source="this project",
        repository="this one",
        factory="trainer.models.slim_visual:SlimVisual",
    ),
    Reference(
        name="slim_av",
        about="slim_audio and a slim frame encoder, gated; either modality may be missing",
        modality="audio-visual",
        inputs={"features": (1, 64, 48), "frames": (1, 3, 160, 160), "presence": (2,)},
        parameters=541_316,
        macs=30_088_320,
        published="none",
        accuracy=None,
        log_loss=None,
        protocol=None,
        source="this project",
        repository="this one",
        factory="trainer.models.slim_av:SlimAv",
    ),
)

OURS: Mapping[str, Reference] = MappingProxyType({row.name: row for row in _ROWS})
"""Records by name."""
