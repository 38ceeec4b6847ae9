"""Import an audio tagging network as a bundle, with a scene head fitted on a user's clips behind its features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from engines.manifest import AudioInput, OutputSpec, WindowSpec, seconds_to_samples
from trainer.data.labelled import OnClip
from trainer.export.graphs import trace_network
from trainer.importers.embedded import Floats
from trainer.importers.files import SourceFile
from trainer.importers.fitted import FittedHead, fit_head, groups_of, layer_of
from trainer.importers.imported import Imported, Origin
from trainer.importers.material import sound_cases
from trainer.inputs import FEATURES, Inputs
from trainer.models.systems import System

AUDIOSET = (
    "AudioSet (Gemmeke et al., 2017), two million clips of ten seconds from YouTube: the labels are CC BY 4.0, the "
    "clips belong to their owners."
)
"""The taggers' training data, for their cards."""


class Tagger(Protocol):
    """A network that computes features of a window before it assigns tags."""

    def embed(self, features: Tensor) -> Tensor:
        """Map [n, …] inputs to [n, n_features]."""
        ...


class SceneTagger(nn.Module):
    """A tagger's features and a linear head on them, as they are exported, without the tags."""

    def __init__(self, tagger: Tagger, head: FittedHead) -> None:
        super().__init__()
        self.tagger = tagger
        self.scenes = layer_of(head)

    def forward(self, features: Tensor) -> Tensor:
        """Map [n, …] inputs to [n, n_labels] logits."""
        logits: Tensor = self.scenes(self.tagger.embed(features))
        return logits


def fit_scenes(tagger: Tagger, audio: AudioInput, window: WindowSpec, clips: Path, on_clip: OnClip) -> FittedHead:
    """Fit a scene head on a tagger's features of a user's clips.

    Args:
        tagger: The network, in evaluation mode.
        audio: The input it takes.
        window: The window's length.
        clips: Labelled recordings, as `trainer evaluate --data` reads them.
        on_clip: Called with the progress on them.

    Raises:
        DataError: They cannot be read, or too few of them can be held out.
    """

    def embed(feeds: Mapping[str, Floats]) -> Floats:
        with torch.no_grad():
            return np.asarray(tagger.embed(torch.from_numpy(feeds[FEATURES])))

    return fit_head(embed, Inputs(audio=audio), window, clips, on_clip=on_clip)


def imported_tagger(
    name: str,
    what: str,
    tagger: Tagger,
    head: FittedHead,
    *,
    audio: AudioInput,
    window: WindowSpec,
    source: SourceFile,
    origin: Origin,
    features: str,
    n_parameters: int,
    n_float32: int = 1,
    limits: tuple[str, ...] = (),
) -> Imported:
    """Trace a tagger with its scene head.

    Args:
        name: Name of the bundle.
        what: The network, in a few words.
        tagger: The network, in evaluation mode.
        head: Its scene head.
        audio: The input it takes.
        window: The window's length and step.
        source: The file it was read from.
        origin: Where it comes from.
        features: Its input features and which of the network's features the head sees: sentences of the card.
        n_parameters: Number of parameters that are run, without the head.
        n_float32: Number of leading layers that stay float32 in the float16 graph.
        limits: Its limitations, a sentence each.

    Raises:
        ExportError: The graph does not give the same answers as the network.
    """
    system = System(name, (FEATURES,), ("fused",), encodes_frames=False)
    cases = {FEATURES: sound_cases(audio, seconds_to_samples(window.seconds, audio.sample_rate))}
    graphs = trace_network(system, SceneTagger(tagger, head).eval(), Inputs(audio=audio), cases)
    return Imported(
        name=name,
        description=f"{len(head.labels)} scenes by ear: a head fitted on a user's clips behind {what}, imported.",
        labels=head.labels,
        groups=groups_of(head.labels),
        window=window,
        graphs=graphs,
        n_parameters=n_parameters + head.weight.size + head.bias.size,
        sources=(source,),
        origin=origin,
        answers=f"{features} A linear layer makes a logit a scene of them; the softmax of the logits, divided by the "
        f"temperature, is the score.\n\n{describe_head(head)}",
        checked="The golden answers are PyTorch's, on eight computed sounds. The project's tests render the authors' "
        "arithmetic anew, from the names of the file, and compare features and answers.",
        outputs=(OutputSpec("fused", head.temperature),),
        n_float32=n_float32,
        limits=limits,
        found=sum_up(head),
    )


def describe_head(head: FittedHead) -> str:
    """Describe what a fitted head was fitted on, for the card."""
    return (
        f"The head was fitted on {head.n_windows:,} windows of {head.n_clips:,} clips of {head.n_places:,} places: "
        f"{head.corpus}. {sum_up(head)}. The strength of its penalty and its temperature were chosen on these."
    )


def sum_up(head: FittedHead) -> str:
    """Summarise the held-out quality of a fitted head in a sentence."""
    return (
        "On windows of places held out, scenes alike and within them clips alike: accuracy "
        f"{head.accuracy:.3f}, log loss {head.log_loss:.3f}; {1 / len(head.labels):.3f} and "
        f"{np.log(len(head.labels)):.3f} are chance"
    )
