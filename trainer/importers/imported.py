"""What an importer returns: a network as graphs, and everything the manifest and the card say about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engines.manifest import OutputSpec, SmoothingSpec, WindowSpec
from trainer.data.tau_av_2021 import LABELS
from trainer.export.graphs import NetworkGraphs
from trainer.importers.files import SourceFile

TEN_SCENES = LABELS
"""The scenes of DCASE's corpora, in alphabetical order."""
TEN_GROUPS: Mapping[str, tuple[str, ...]] = {
    "indoor": ("airport", "metro_station", "shopping_mall"),
    "outdoor": ("park", "public_square", "street_pedestrian", "street_traffic"),
    "transportation": ("bus", "metro", "tram"),
}
"""The scenes as grouped in DCASE 2020 task 1B."""
UNKNOWN_LICENCE = "NOASSERTION"
"""SPDX's word for an unknown licence."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a published network comes from, for the card."""

    network: str
    """What it is, in a sentence."""
    authors: str
    """Who published it, and where."""
    data: str
    """What it was trained on, and the terms of these data."""
    terms: str
    """What is known about the licence of the weights."""
    known_files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of files that were available and compared, mapped to what they are."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A network, read and traced."""

    name: str
    """Name of the bundle."""
    description: str
    """Description in one line."""
    labels: tuple[str, ...]
    """The labels it distinguishes, in alphabetical order."""
    groups: Mapping[str, tuple[str, ...]]
    """Groups of labels, for coarser answers."""
    window: WindowSpec
    """Length and step of the window that one answer is about."""
    graphs: NetworkGraphs
    """The network's graphs and their golden cases."""
    n_parameters: int
    """Number of the network's parameters; 0 if unknown."""
    sources: tuple[SourceFile, ...]
    """The files it was read from, the weights first."""
    origin: Origin
    """Where it comes from."""
    answers: str
    """How its answers become scores of the labels: a paragraph of the card."""
    checked: str
    """What its graphs were compared with: a sentence of the card."""
    n_float32: int = 1
    """Number of leading layers of each graph that stay float32 in the float16 graphs."""
    limits: tuple[str, ...] = ()
    """Its limitations, a sentence each."""
    licence: str = UNKNOWN_LICENCE
    """Licence of the weights, an SPDX expression."""
    outputs: tuple[OutputSpec, ...] = (OutputSpec("fused"),)
    """Heads and their temperatures: 1 unless published or fitted."""
    smoothing: SmoothingSpec = field(default_factory=SmoothingSpec)
    """The smoothing filter over windows."""
    found: str = ""
    """Held-out quality of a fitted head, in a sentence; empty if nothing was fitted."""
