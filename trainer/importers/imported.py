"""What an importer gives: a network as graphs, and all that the manifest and the card say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engines.manifest import OutputSpec, SmoothingSpec, WindowSpec
from trainer.data.tau_av_2021 import LABELS
from trainer.export.graphs import NetworkGraphs
from trainer.importers.files import SourceFile

TEN_SCENES = LABELS
"""Those of DCASE's corpora, in alphabetical order."""
TEN_GROUPS: Mapping[str, tuple[str, ...]] = {
    "indoor": ("airport", "metro_station", "shopping_mall"),
    "outdoor": ("park", "public_square", "street_pedestrian", "street_traffic"),
    "transportation": ("bus", "metro", "tram"),
}
"""As DCASE 2020 task 1B groups them."""
UNKNOWN_LICENCE = "NOASSERTION"
"""SPDX's word where nothing is known."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a published network comes from, for the card."""

    network: str
    """What it is, in a sentence."""
    authors: str
    """Who published it, and where."""
    data: str
    """What it was trained on, and under which terms these data are."""
    terms: str
    """What is known of the licence of the weights."""
    known_files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of files that were held and compared, to what they are."""


@dataclass(frozen=True, slots=True)
class Imported:
    """One network, read and traced."""

    name: str
    """The bundle's."""
    description: str
    """In a line."""
    labels: tuple[str, ...]
    """What it tells apart, in alphabetical order."""
    groups: Mapping[str, tuple[str, ...]]
    """Coarser answers."""
    window: WindowSpec
    """What one answer is about."""
    graphs: NetworkGraphs
    """The network, and its golden cases."""
    n_parameters: int
    """Of the network; 0 where that is not known."""
    sources: tuple[SourceFile, ...]
    """What it was read from, the weights first."""
    origin: Origin
    """Where it comes from."""
    answers: str
    """How its answers become scores of the labels: a paragraph of the card."""
    checked: str
    """What its graphs were compared with: a sentence of the card."""
    n_float32: int = 1
    """Layers from each graph's beginning that stay float32 in float16."""
    limits: tuple[str, ...] = ()
    """What it cannot do, a sentence each."""
    licence: str = UNKNOWN_LICENCE
    """SPDX expression."""
    outputs: tuple[OutputSpec, ...] = (OutputSpec("fused"),)
    """Heads and their temperatures: 1 unless published."""
    smoothing: SmoothingSpec = field(default_factory=SmoothingSpec)
    """The filter over windows."""
    found: str = ""
    """What a fitted head is worth, in a sentence; empty: nothing was fitted."""
