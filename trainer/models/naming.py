"""Map the weight names of published files to the names used by the networks here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.clip import LOGIT_SCALE, ClipZeroShot
from trainer.models.clip_text import ClipText
from trainer.models.clip_visual import ClipVisual
from trainer.models.cp_mobile import CpMobile
from trainer.models.efficientat import EfficientAt
from trainer.models.resnet import ResnetTrunk
from trainer.models.vgg import VggEncoder

Weights = dict[str, Tensor]
"""Tensors by name, as in a module's state dict."""
Naming = Callable[[Weights], Weights]
"""Maps published names to ours, dropping weights that the network omits by design, such as a classifier behind it."""


def published_names(part: nn.Module) -> list[Naming]:
    """Return the naming schemes known for this part of a network; the first is the part's own."""
    kinds: dict[type[nn.Module], list[Naming]] = {
        VggEncoder: [_vgg_torchvision, _vgg_caffe],
        ResnetTrunk: [_undistributed, _resnet_panns],
        ClipVisual: [_undistributed, _clip_open, _clip_transformers],
        ClipText: [_undistributed, _text_open, _text_transformers],
        ClipZeroShot: [_sentences],
        CpMobile: [_undistributed, _cp_mobile],
        EfficientAt: [_undistributed, _efficientat],
    }
    return kinds.get(type(part), [_undistributed])


def _undistributed(weights: Weights) -> Weights:
    """Our own names, without the `module.` that DataParallel puts before those of the whole network or of a part."""
    return {re.sub(r"(?<![^.])module\.", "", name): tensor for name, tensor in weights.items()}


def _vgg_torchvision(weights: Weights) -> Weights:
    """VGG16 as named by torchvision, without its classifier."""
    return _without(_undistributed(weights), "classifier.")


_VGG_CAFFE: Mapping[str, int] = MappingProxyType(
    dict(
        zip(
            [f"conv{stage}_{layer}" for stage, n in enumerate((2, 2, 3, 3, 3), start=1) for layer in range(1, n + 1)],
            (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
            strict=True,
        )
    )
)
"""Maps Caffe's convolution names to their indices in torchvision's `features`."""


def _vgg_caffe(weights: Weights) -> Weights:
    """Files converted from Caffe, such as VGG16 on Places365: conv1_1 … conv5_3; fc6 … fc8 are dropped."""
    renamed: Weights = {}
    for name, tensor in _without(_undistributed(weights), "fc6", "fc7", "fc8").items():
        layer, _, kind = name.rpartition(".")
        renamed[f"features.{_VGG_CAFFE[layer]}.{kind}" if layer in _VGG_CAFFE else name] = tensor
    return renamed


def _resnet_panns(weights: Weights) -> Weights:
    """PANNs' and PaddleAudio's names; Paddle transposes linear layers and names running statistics differently."""
    paddle = any(name.endswith("._mean") for name in weights)
    renamed: Weights = {}
    for name, tensor in _without(_undistributed(weights), "fc_audioset.", "audioset.").items():
        name = re.sub(r"^bn0\.", "band_norm.", name)
        name = re.sub(r"^fc1\.", "embed.", name)
        name = re.sub(r"\._mean$", ".running_mean", re.sub(r"\._variance$", ".running_var", name))
        renamed[name] = _transposed(tensor) if paddle and name == "embed.weight" else tensor
    return renamed


def _clip_open(weights: Weights) -> Weights:
    """open_clip's and OpenAI's visual tower, called `visual`; the text tower is dropped."""
    renamed: Weights = {}
    for name, tensor in _undistributed(weights).items():
        if name.startswith("visual."):
            ours = re.sub(r"\.in_proj_", ".in_proj.", name.removeprefix("visual."))
            renamed["proj.weight" if ours == "proj" else ours] = _transposed(tensor) if ours == "proj" else tensor
    return renamed


def _text_open(weights: Weights) -> Weights:
    """open_clip's and OpenAI's text tower; the visual tower and the scale are dropped."""
    renamed: Weights = {}
    for name, tensor in _without(_undistributed(weights), "visual.", "logit_scale").items():
        ours = re.sub(r"\.in_proj_", ".in_proj.", name)
        renamed["proj.weight" if ours == "text_projection" else ours] = (
            _transposed(tensor) if ours == "text_projection" else tensor
        )
    return renamed


_TRANSFORMERS = (
    (r"^embeddings\.class_embedding$", "class_embedding"),
    (r"^embeddings\.patch_embedding\.", "conv1."),
    (r"^embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^pre_layrnorm\.", "ln_pre."),  # sic
    (r"^post_layernorm\.", "ln_post."),
    (r"^(visual|text)_projection\.", "proj."),
    (r"^embeddings\.token_embedding\.", "token_embedding."),
    (r"^final_layer_norm\.", "ln_final."),
    (r"^encoder\.layers\.", "transformer.resblocks."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)


def _clip_transformers(weights: Weights) -> Weights:
    """The visual tower of the transformers library, queries, keys and values separate; the text tower is dropped."""
    return _of_transformers(_without(weights, "text_model.", "text_projection.", "logit_scale"), "vision_model.")


def _text_transformers(weights: Weights) -> Weights:
    """The text tower of the transformers library; the visual tower is dropped."""
    return _of_transformers(_without(weights, "vision_model.", "visual_projection.", "logit_scale"), "text_model.")


def _of_transformers(weights: Weights, half: str) -> Weights:
    """Rename the transformers weights with the prefix `half` to our names."""
    renamed: Weights = {}
    for name, tensor in _without(weights, f"{half}embeddings.position_ids").items():
        name = name.removeprefix(half)
        for pattern, ours in _TRANSFORMERS:
            name = re.sub(pattern, ours, name)
        renamed[name] = tensor
    return _joined_attention(renamed)


def _joined_attention(weights: Weights) -> Weights:
    """Concatenate each block's query, key and value projections into one tensor."""
    joined: Weights = {}
    for name, tensor in weights.items():
        match = re.fullmatch(r"(.*)\.self_attn\.([qkv])_proj\.(weight|bias)", name)
        if match is None:
            joined[name] = tensor
            continue
        block, _, kind = match.groups()
        names = [f"{block}.self_attn.{letter}_proj.{kind}" for letter in "qkv"]
        parts = [weights[part] for part in names if part in weights]
        if len(parts) == 3 and all(part.ndim and part.shape == tensor.shape for part in parts):
            joined[f"{block}.attn.in_proj.{kind}"] = torch.cat(parts)
        else:
            joined[name] = tensor
    return joined


def _sentences(weights: Weights) -> Weights:
    """Sentence embeddings of any norm, normalised here, and optionally the logarithm of their scale."""
    named = {
        name: functional.normalize(tensor.float(), dim=-1) if name == "text" else tensor
        for name, tensor in weights.items()
    }
    return {"logit_scale": torch.tensor(math.log(LOGIT_SCALE)), **named}


_CP_MOBILE = (
    (r"^model\.", ""),  # PyTorch Lightning's prefix
    (r"^in_c\.(\d)\.(\d)\.", r"stem.\1.\2."),
    (r"^stages\.s\d+\.b(\d+)\.block\.", r"blocks.\1.path."),
    (r"^stages\.s\d+\.b(\d+)\.after_block_norm\.gamma$", r"blocks.\1.norm.scale"),
    (r"^stages\.s\d+\.b(\d+)\.after_block_norm\.beta$", r"blocks.\1.norm.shift"),
    (r"^feed_forward\.", "classify."),
)


def _cp_mobile(weights: Weights) -> Weights:
    """CP-Mobile's authors' names: blocks are numbered from 1; a convolution, its norm and activation form a list."""
    renamed: Weights = {}
    for name, tensor in weights.items():
        for pattern, ours in _CP_MOBILE:
            name = re.sub(pattern, ours, name)
        name = re.sub(r"^blocks\.(\d+)", lambda match: f"blocks.{int(match[1]) - 1}", name)
        name = re.sub(r"(stem|path)\.(\d)\.(\d)\.", lambda m: f"{m[1]}.{3 * int(m[2]) + int(m[3])}.", name)
        renamed[name] = tensor
    return renamed


def _efficientat(weights: Weights) -> Weights:
    """EfficientAT's authors' names: gate layers are matrices, in a list over the gated axes; here only channels."""
    renamed: Weights = {}
    for name, tensor in weights.items():
        gate = re.fullmatch(r"(.*)\.conc_se_layers\.0\.fc([12])\.(weight|bias)", name)
        if gate is not None:
            name = f"{gate[1]}.{('squeeze', 'excite')[int(gate[2]) - 1]}.{gate[3]}"
            tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
        renamed[name] = tensor
    return renamed


def _transposed(tensor: Tensor) -> Tensor:
    """Transpose a matrix; other tensors are returned as they are and fail the later shape check."""
    return tensor.T if tensor.ndim == 2 else tensor


def _without(weights: Weights, *prefixes: str) -> Weights:
    """The weights whose names start with none of these prefixes."""
    return {name: tensor for name, tensor in weights.items() if not name.startswith(prefixes)}
