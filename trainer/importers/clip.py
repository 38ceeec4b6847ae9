"""Import CLIP as a bundle that recognises scenes by eye, from sentences about them or with a head fitted on pictures.

`frame` computes the embedding of a picture; `scene` either compares it with sentences that were embedded once, at
import, or is a linear head. `clip_weights.py` reads the file, `clip_prompts.py` holds the sentences and
`clip_tokens.py` tokenises them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from engines.manifest import OutputSpec, VideoInput, WindowSpec
from trainer.data.labelled import OnClip, unwatched
from trainer.errors import ConfigError
from trainer.export.graphs import trace_network
from trainer.importers.clip_heads import FittedScenes, SentenceScenes, UnitFrames, embed_prompts
from trainer.importers.clip_prompts import Prompts, read_prompts, ten_scenes
from trainer.importers.clip_tokens import MAX_BYTES, read_vocabulary
from trainer.importers.clip_weights import Towers, read_towers
from trainer.importers.embedded import Floats
from trainer.importers.files import SourceFile, read_file
from trainer.importers.fitted import fit_head, groups_of
from trainer.importers.imported import TEN_SCENES, Imported, Origin
from trainer.importers.material import picture_cases
from trainer.importers.tagger import describe_head, sum_up
from trainer.inputs import FRAMES, Inputs
from trainer.models.clip_blocks import Activation
from trainer.models.clip_visual import ClipVisual
from trainer.models.counts import count_parameters
from trainer.models.systems import System

VOCABULARIES = ("bpe_simple_vocab_16e6.txt.gz", "merges.txt")
"""File names of merge lists that are looked for next to the weights."""
_SYSTEM = System("clip", (FRAMES,), ("fused",), encodes_frames=True)
_WINDOW = WindowSpec(seconds=1.0, default_step_seconds=0.5)
_NETWORK = "CLIP (Radford et al., 2021), {name}: a vision transformer and one of sentences, trained to agree. "
_OPENAI = Origin(
    network=_NETWORK,
    authors="OpenAI: github.com/openai/CLIP. The file has the form of theirs; whether it is theirs was not compared.",
    data="400 million pictures with texts from the web (WIT-400M), which were never disclosed.",
    terms="OpenAI's repository has the MIT licence and offers the weights in it. Its model card says that any deployed "
    "use, commercial or not, is out of scope for now, that untested and unconstrained use is potentially harmful, and "
    "that surveillance is always out of scope.",
)
_OTHERS = Origin(
    network=_NETWORK,
    authors="Nothing in the file says. OpenAI (github.com/openai/CLIP) and those who train with open_clip "
    "(github.com/mlfoundations/open_clip) publish weights of this layout.",
    data="If OpenAI's: 400 million pictures with texts from the web, undisclosed. If of open_clip: mostly subsets of "
    "LAION's or DataComp's lists of pictures on the web, whose copyright belongs to their owners; the page of the "
    "weights says which.",
    terms="OpenAI's and most of open_clip's weights were published under the MIT licence; see the page that yours came "
    "from. OpenAI's model card says that any deployed use, commercial or not, is out of scope for now.",
)
_PIXELS = (
    "Parity is that of the prepared picture. FFmpeg's bicubic scaling prepares pictures here, Pillow's did in "
    "training: their pixels differ a little (docs/importing.md)."
)
_STILL = "One still decides: it knows nothing of what moves or sounds."
_LIKELY = (
    "Nothing beside its file says how pictures were normalised: OpenAI's mean and spread are taken, as most trainings "
    "did. Some took others (LAION's ViT-L/14 of laion2b has 0.5 and 0.5): put its open_clip_config.json or "
    "preprocessor_config.json beside it."
)


@dataclass(frozen=True, slots=True)
class _Head:
    """The head behind the visual tower, and what the card says about it."""

    scene: nn.Module
    """Module that maps embeddings to logits."""
    labels: tuple[str, ...]
    """The labels it distinguishes."""
    what: str
    """How it recognises them, in a few words."""
    answers: str
    """How its scores come about: a paragraph of the card."""
    sources: tuple[SourceFile, ...] = ()
    """Files it was read from."""
    temperature: float = 1.0
    """Temperature of its logits."""
    limits: tuple[str, ...] = ()
    """Its limitations, a sentence each."""
    found: str = ""
    """Held-out quality of a fitted head, in a sentence; empty if nothing was fitted."""


class ClipNetwork(nn.Module):
    """The visual tower and the scene head behind it, as they are exported."""

    def __init__(self, encoder: ClipVisual, scene: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.scene = scene


def import_clip(
    path: Path,
    *,
    data: Path | None = None,
    vocabulary: Path | None = None,
    prompts: Path | None = None,
    activation: Activation | None = None,
    on_clip: OnClip = unwatched,
) -> Imported:
    """Read a CLIP with a vision transformer, from OpenAI, from open_clip or in transformers' layout.

    Args:
        path: The weights.
        data: Labelled clips or pictures to fit a head on; None: classify by sentences.
        vocabulary: List of the tokeniser's merges; None: look for one next to the weights.
        prompts: TOML file of sentences; None: the built-in ones, for the ten scenes.
        activation: Activation the weights were trained with; None: decide by the file or a configuration next to it.
        on_clip: Called with the progress on the data.

    Raises:
        ConfigError: The activation is unknown, there is no vocabulary, the sentences are invalid, or options conflict.
        DataError: A file is unreadable or belongs to another network, or no head can be fitted on the clips.
        ExportError: A graph does not give the same answers as the network.
    """
    if data is None:
        towers = read_towers(path, with_text=True, activation=activation)  # a bad file is named before what it lacks
        lists = _vocabulary_at(path, vocabulary)
        asked = ten_scenes() if prompts is None else read_prompts(prompts)
        head = _asking(towers, asked, lists)
    elif prompts is None and vocabulary is None:
        towers = read_towers(path, with_text=False, activation=activation)
        head = _fitted(towers, data, on_clip)
    else:
        raise ConfigError("--data: expected no --prompts and no --vocabulary beside it, as a fitted head asks nothing")
    video = _video(towers)
    network = ClipNetwork(towers.visual, head.scene).eval()
    graphs = trace_network(_SYSTEM, network, Inputs(video=video), {FRAMES: picture_cases(video)})
    origin = _OPENAI if towers.from_openai else _OTHERS
    return Imported(
        name=f"clip-{towers.name}",
        description=f"{len(head.labels)} scenes by eye, by {head.what}: CLIP {towers.name}, imported.",
        labels=head.labels,
        groups=groups_of(head.labels) if set(head.labels) <= set(TEN_SCENES) else {},  # other labels have no groups
        window=_WINDOW,
        graphs=graphs,
        n_parameters=count_parameters(towers.visual).parameters,
        sources=(towers.source, *head.sources),
        origin=Origin(origin.network.format(name=towers.name) + _activation(towers), *_rest(origin)),
        answers=head.answers,
        checked="The golden answers are PyTorch's, on eight computed pictures. The project's tests render the "
        "arithmetic of both halves anew, from the names of the files, and compare it.",
        outputs=(OutputSpec("fused", head.temperature),),
        found=head.found,
        limits=(*head.limits, _STILL, _PIXELS, *(() if towers.pictures.known else (_LIKELY,))),
    )


def _rest(origin: Origin) -> tuple[str, str, str]:
    """The fields of an origin after `network`."""
    return origin.authors, origin.data, origin.terms


def _activation(towers: Towers) -> str:
    """Which activation is used and how it was determined: a sentence of the card."""
    return f"Its activation is {towers.activation}; with the wrong one, answers are only roughly right."


def _video(towers: Towers) -> VideoInput:
    """Preparation as published: short side scaled bicubically to the network's size, centre crop; 1 frame a window."""
    size = towers.visual.sizes.size
    return VideoInput(
        width=size,
        height=size,
        fit="crop",
        interpolation="bicubic",
        frame_times_seconds=(0.9,),  # early enough that a live camera's frame has arrived when the window ends
        max_age_seconds=1.0,
        mean=towers.pictures.mean,
        std=towers.pictures.std,
    )


def _vocabulary_at(path: Path, given: Path | None) -> SourceFile:
    """Read the given list of merges, or the one next to the weights."""
    found = given or next((path.with_name(name) for name in VOCABULARIES if path.with_name(name).is_file()), None)
    if found is None:
        raise ConfigError(
            f"{path}: expected a list of word pieces beside it, {' or '.join(VOCABULARIES)}, got neither; name it with "
            "--vocabulary (OpenAI's is in github.com/openai/CLIP, clip/), or fit a head with --data CLIPS"
        )
    return read_file(found, MAX_BYTES)


def _asking(towers: Towers, prompts: Prompts, lists: SourceFile) -> _Head:
    """A zero-shot head that compares embeddings with sentences."""
    text = towers.text
    assert text is not None  # noqa: S101  read with_text=True
    labels = tuple(prompts.scenes)
    embedded = embed_prompts(prompts, read_vocabulary(lists, text.sizes.n_words), text.eval())
    scene = SentenceScenes(embedded, len(labels), towers.logit_scale)
    given = () if prompts.source is None else (prompts.source,)
    limits = (
        "It answers by how sentences are worded, and was never calibrated: its scores are only as good as these.",
    )
    answers = f"{_how(len(labels), len(prompts.others), towers.logit_scale)}\n\n{_listed(prompts)}"
    return _Head(scene, labels, "sentences about them", answers, (lists, *given), limits=limits)


def _how(n_labels: int, n_others: int, scale: float) -> str:
    """How a sentence head computes its scores: a paragraph of the card."""
    how = (
        "Each sentence below was embedded once, at import, and made of length 1; a scene is the mean of its sentences, "
        f"made of length 1 again. A frame's cosines with them, times {scale:.4g}, become probabilities by a softmax; "
        "those of a window's frames are averaged, and the logits are their logarithms."
    )
    if not n_others:
        return f"{how} Nothing stands for what is no scene: whatever it sees, it calls one of them."
    return (
        f"{how} {n_others} places that are no scene are asked for beside them; their probability is spread, "
        f"score = p + p_none / {n_labels}. So the scores sum to 1, and where the picture shows no scene they are all "
        f"near {1 / n_labels:.2g}: {_shown(n_labels)}."
    )


def _shown(n_labels: int) -> str:
    """What equal scores lead to, for the card: a scene is named from a score of 0.5 on."""
    if n_labels > 2:
        return f"`unknown`, rather than the best of {n_labels} bad guesses"
    return "where scenes begin to be named, so that two labels hardly ever are `unknown`; more labels are"


def _listed(prompts: Prompts) -> str:
    """All sentences as a Markdown table."""
    rows: Mapping[str, tuple[str, ...]] = {
        **prompts.scenes,
        **({"(no scene)": tuple(text for texts in prompts.others for text in texts)} if prompts.others else {}),
    }
    cells = [f"| {_cell(label)} | {' · '.join(_cell(text) for text in texts)} |" for label, texts in rows.items()]
    return "\n".join(["| scene | sentences |", "|---|---|", *cells])


def _cell(text: str) -> str:
    """A user's text escaped for a Markdown table cell."""
    printable = "".join(char if char.isprintable() else "?" for char in text)
    return printable.replace("|", "\\|").replace("`", "'").replace("<", "&lt;")


def _fitted(towers: Towers, clips: Path, on_clip: OnClip) -> _Head:
    """A linear head fitted on labelled clips."""
    unit = UnitFrames()

    def embed(feeds: Mapping[str, Floats]) -> Floats:
        frames = torch.from_numpy(feeds[FRAMES])
        with torch.no_grad():
            embedded = towers.visual(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
            return np.asarray(unit(embedded))

    head = fit_head(embed, Inputs(video=_video(towers)), _WINDOW, clips, on_clip=on_clip)
    answers = "A frame's embedding is made of length 1; a linear layer makes a logit a scene of it, and the softmax of "
    answers += f"the logits, divided by the temperature, is the score.\n\n{describe_head(head)}"
    what = "a head fitted on a user's clips"
    return _Head(FittedScenes(head), head.labels, what, answers, (), head.temperature, found=sum_up(head))
