"""Reads CLIP from a file in any of its published layouts, and fills both towers with its weights.

Supported are OpenAI's TorchScript archives and state dictionaries, and checkpoints of open_clip and transformers. Sizes
are read from the shapes of the tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from engines.errors import one_line
from trainer.errors import DataError
from trainer.importers.clip_config import Layout, Pictures, read_activation, read_pictures
from trainer.importers.files import SourceFile, read_file, tensors_of
from trainer.importers.torchscript import is_scripted, scripted_tensors
from trainer.models.clip import LOGIT_SCALE
from trainer.models.clip_blocks import HEAD, Activation
from trainer.models.clip_text import ClipText, TextSizes
from trainer.models.clip_visual import ClipVisual, VisualSizes
from trainer.models.naming import Weights
from trainer.models.pretrained import fit_weights

MAX_BYTES = 2 << 30
"""In float32, ViT-B/32 has 350 MB in its visual and 250 MB in its text tower; ViT-L/14 has 1.7 GB altogether."""
_MAX_WIDTH, _MAX_BLOCKS = 1024, 48
"""In wider networks, attention heads have more than 64 numbers, and nothing in a file says how many."""
_MAX_GRID, _MAX_PATCH, _MAX_EMBEDDING = 32, 64, 4096
"""Patches per side, pixels per patch side, and embedding size; ViT-L/14 has at most 24, 14 and 768."""
_MIN_WORDS, _MAX_WORDS, _MAX_TOKENS = 2 * 256 + 3, 1 << 17, 1024
"""CLIP's 49,408 word pieces are 512 bytes, two marks and the merges; a sentence has 77 positions."""
_OPENAI = ("input_resolution", "context_length", "vocab_size")
"""Numbers that only OpenAI's own files hold in addition to the weights."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Names of the tensors, in one layout, from which sizes are read."""

    name: Layout
    """Whose layout it is."""
    conv: str
    """Patch convolution, [width, 3, patch, patch]."""
    positions: str
    """Position embedding of the visual tower, [grid² + 1, width]."""
    blocks: str
    """Prefix of the visual tower's blocks, before their number."""
    project: str
    """Projection from the visual tower's width to the embedding."""
    words: str
    """Token embedding, [n_words, width]."""
    text_positions: str
    """Position embedding of the text tower, [n_tokens, width]."""
    text_blocks: str
    """Prefix of the text tower's blocks, before their number."""
    transposed: bool
    """Whether projections are [width, embedding] instead of [embedding, width]."""


_LAYOUTS = (
    _Layout(
        name="open_clip",
        conv="visual.conv1.weight",
        positions="visual.positional_embedding",
        blocks="visual.transformer.resblocks.",
        project="visual.proj",
        words="token_embedding.weight",
        text_positions="positional_embedding",
        text_blocks="transformer.resblocks.",
        transposed=True,
    ),
    _Layout(
        name="transformers",
        conv="vision_model.embeddings.patch_embedding.weight",
        positions="vision_model.embeddings.position_embedding.weight",
        blocks="vision_model.encoder.layers.",
        project="visual_projection.weight",
        words="text_model.embeddings.token_embedding.weight",
        text_positions="text_model.embeddings.position_embedding.weight",
        text_blocks="text_model.encoder.layers.",
        transposed=False,
    ),
)


@dataclass(frozen=True, slots=True)
class Towers:
    """A CLIP read from a file."""

    source: SourceFile
    """The file."""
    visual: ClipVisual
    """The visual tower."""
    text: ClipText | None
    """The text tower; None if it was not requested."""
    logit_scale: float
    """Factor applied to the cosines."""
    from_openai: bool
    """Whether the file has the form that only OpenAI's own have."""
    activation: str
    """The activation and how it was determined, for the card."""
    pictures: Pictures
    """How pictures are normalised."""

    @property
    def name(self) -> str:
        """Name of the network, such as vit-b-32."""
        sizes = self.visual.sizes
        letter = {768: "b", 1024: "l"}.get(sizes.width, f"w{sizes.width}")
        return f"vit-{letter}-{sizes.patch}{'' if sizes.size == 224 else f'-{sizes.size}'}"


def read_towers(path: Path, *, with_text: bool, activation: Activation | None = None) -> Towers:
    """Read a CLIP file.

    Args:
        path: The file.
        with_text: Whether the text tower is needed.
        activation: Activation the weights were trained with; None: decide by the file or a configuration next to it.

    Raises:
        DataError: The file is unreadable or belongs to another network.
        ConfigError: The activation is unknown, or a configuration next to the file is invalid.
    """
    source = read_file(path, MAX_BYTES)
    weights = scripted_tensors(source) if is_scripted(source) else tensors_of(source)
    weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    from_openai = any(name in weights for name in _OPENAI)
    weights = {name: tensor for name, tensor in weights.items() if name not in _OPENAI and not _is_mask(name)}
    layout = _layout_of(weights, path)
    sizes = _visual_sizes(weights, layout, path)
    if with_text and layout.words not in weights:
        raise DataError(
            f"{path}: expected both halves of CLIP, got no {layout.words}; sentences need the half that reads them: "
            "name a file of the whole network, or give pictures to fit a head on with --data CLIPS"
        )
    kind, reason = read_activation(path, layout.name, activation, from_openai=from_openai)
    pictures = read_pictures(path, layout.name, from_openai=from_openai)
    visual = ClipVisual(activation=kind, sizes=sizes)
    fit_weights(visual, weights, str(path))
    text = ClipText(activation=kind, sizes=_text_sizes(weights, layout, path)) if with_text else None
    if text is not None:
        fit_weights(text, weights, str(path))
    scale = _scale_of(weights, path)
    return Towers(source, visual.eval(), text, scale, from_openai, f"{kind}, {reason}", pictures)


def _is_mask(name: str) -> bool:
    """Whether a tensor is the causal mask, which archives may hold but which follows from the sizes."""
    return name.rpartition(".")[2] == "attn_mask"


def _layout_of(weights: Weights, path: Path) -> _Layout:
    """Find the layout by the names of the tensors.

    Raises:
        DataError: It is none of the known ones, or the visual tower is a ResNet.
    """
    layout = next((layout for layout in _LAYOUTS if layout.conv in weights), None)
    if layout is None or any(name.startswith("visual.layer1.") for name in weights):
        some = ", ".join(one_line(name, 80) for name in list(weights)[:3])
        raise DataError(
            f"{path}: expected CLIP with a vision transformer (ViT-B/32, B/16 or L/14) as OpenAI, open_clip or "
            f"transformers name it, got {some}, …; is this a file of another network?"
        )
    return layout


def _visual_sizes(weights: Weights, layout: _Layout, path: Path) -> VisualSizes:
    """Sizes of the visual tower."""
    width, _, patch, _ = _shape(weights, layout.conv, 4, path)
    n_tokens, _ = _shape(weights, layout.positions, 2, path)
    grid = math.isqrt(max(n_tokens - 1, 0))
    if not 0 < grid <= _MAX_GRID or grid**2 + 1 != n_tokens or not 0 < patch <= _MAX_PATCH:
        raise DataError(
            f"{path}: {layout.positions}: expected a class token and a square of patches, got {n_tokens} positions of "
            f"patches of {patch}"
        )
    n_blocks = _n_blocks(weights, layout.blocks, path)
    return VisualSizes(
        patch, grid, _width(width, layout.conv, path), n_blocks, _embedding(weights, layout.project, layout, path)
    )


def _embedding(weights: Weights, project: str, layout: _Layout, path: Path) -> int:
    """Embedding size that a projection gives."""
    size = _shape(weights, project, 2, path)[1 if layout.transposed else 0]
    if not 0 < size <= _MAX_EMBEDDING:
        raise DataError(f"{path}: {project}: expected embeddings of up to {_MAX_EMBEDDING:,} numbers, got {size:,}")
    return size


def _text_sizes(weights: Weights, layout: _Layout, path: Path) -> TextSizes:
    """Sizes of the text tower."""
    n_words, width = _shape(weights, layout.words, 2, path)
    n_tokens, _ = _shape(weights, layout.text_positions, 2, path)
    if not _MIN_WORDS <= n_words <= _MAX_WORDS:
        raise DataError(f"{path}: {layout.words}: expected CLIP's word pieces, got {n_words:,} of them")
    if not 2 < n_tokens <= _MAX_TOKENS:
        raise DataError(f"{path}: {layout.text_positions}: expected sentences of 77 positions, got {n_tokens:,}")
    project = "text_projection" if layout.transposed else "text_projection.weight"
    embedding = _embedding(weights, project, layout, path)
    n_blocks = _n_blocks(weights, layout.text_blocks, path)
    return TextSizes(n_words, n_tokens, _width(width, layout.words, path), n_blocks, embedding)


def _shape(weights: Weights, name: str, n_axes: int, path: Path) -> tuple[int, ...]:
    """Shape of a tensor that must have `n_axes` axes."""
    tensor = weights.get(name)
    if tensor is None or tensor.ndim != n_axes:
        got = "nothing" if tensor is None else str(list(tensor.shape))
        raise DataError(f"{path}: {name}: expected {n_axes} axes, got {got}; is this a file of another network?")
    return tuple(tensor.shape)


def _width(width: int, name: str, path: Path) -> int:
    """Check that a width is a multiple of the head size, 64, and not too large; return it."""
    if width % HEAD or not 0 < width <= _MAX_WIDTH:
        raise DataError(
            f"{path}: {name}: expected a width of heads of {HEAD} numbers, up to {_MAX_WIDTH} as in ViT-L, got "
            f"{width}; larger ones have other heads"
        )
    return width


def _n_blocks(weights: Weights, prefix: str, path: Path) -> int:
    """Number of blocks, counted by their names."""
    n_blocks = len({name.removeprefix(prefix).partition(".")[0] for name in weights if name.startswith(prefix)})
    if not 0 < n_blocks <= _MAX_BLOCKS:
        raise DataError(f"{path}: {prefix}: expected up to {_MAX_BLOCKS} blocks, got {n_blocks}")
    return n_blocks


def _scale_of(weights: Weights, path: Path) -> float:
    """Factor applied to cosines: the exponential of a learned number, at most 100 as in training; 100 if missing."""
    learned = weights.get("logit_scale")
    if learned is None:
        return LOGIT_SCALE
    if learned.numel() != 1 or not 0 <= float(learned) < math.inf:
        got = f"shape {list(learned.shape)}" if learned.numel() != 1 else f"{float(learned):g}"
        raise DataError(f"{path}: logit_scale: expected a number from 0, got {got}; is this a file of another network?")
    return min(math.exp(min(float(learned), 10.0)), LOGIT_SCALE)
