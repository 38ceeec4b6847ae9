"""A small CLIP as it is published: states in each layout, OpenAI's archive, merges, and its arithmetic from the names.

Two heads of 64 numbers a token, two blocks a half, patches of 16 in pictures of 64.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, PATCH, GRID, EMBEDDING, N_BLOCKS, N_TOKENS, TEXT_WIDTH = 128, 16, 4, 48, 2, 77, 64
MERGES = (
    *("t h", "th e</w>", "a n", "p h", "o t", "ph ot", "phot o</w>", "o f</w>", "i n", "r a", "ra m</w>", "t ram</w>"),
    *("p a", "r k</w>", "pa rk</w>", "e r", "l o", "lo w", "low er</w>", "n e", "ne w", "' s</w>"),
    *(f"{first} {second}" for first in "bcdg" for second in "aeiouxyzwkqv"),
)
"""A list of pairs; 22 that make words and 48 that fill it."""
N_WORDS = 512 + len(MERGES) + 2


def write_merges(path: Path) -> Path:
    """The list as transformers writes it."""
    path.write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")
    return path


def open_clip_state(*, half: bool, seed: int = 0) -> dict[str, Tensor]:
    """open_clip's layout, filled with numbers that keep their size; OpenAI's weights are in float16."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, spread: float = 1.0, mean: float = 0.0) -> Tensor:
        tensor = mean + spread * torch.randn(shape, generator=generator)
        return tensor.half().float() if half else tensor

    def blocks(prefix: str, width: int) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {}
        for index in range(N_BLOCKS):
            name = f"{prefix}transformer.resblocks.{index}."
            for layer, n_in, n_out in (("mlp.c_fc", width, 4 * width), ("mlp.c_proj", 4 * width, width),
                                       ("attn.out_proj", width, width)):  # fmt: skip
                state[f"{name}{layer}.weight"] = draw(n_out, n_in, spread=n_in**-0.5)
                state[f"{name}{layer}.bias"] = draw(n_out, spread=0.1)
            state[f"{name}attn.in_proj_weight"] = draw(3 * width, width, spread=1.5 * width**-0.5)
            state[f"{name}attn.in_proj_bias"] = draw(3 * width, spread=0.1)
            for norm in ("ln_1", "ln_2"):
                state |= norms(f"{name}{norm}", width)
        return state

    def norms(name: str, width: int) -> dict[str, Tensor]:
        return {f"{name}.weight": draw(width, spread=0.1, mean=1.0), f"{name}.bias": draw(width, spread=0.1)}

    return {
        "logit_scale": torch.tensor(3.2),
        "positional_embedding": draw(N_TOKENS, TEXT_WIDTH, spread=0.3),
        "text_projection": draw(TEXT_WIDTH, EMBEDDING, spread=TEXT_WIDTH**-0.5),
        "token_embedding.weight": draw(N_WORDS, TEXT_WIDTH),
        "visual.class_embedding": draw(WIDTH),
        "visual.positional_embedding": draw(GRID**2 + 1, WIDTH, spread=0.3),
        "visual.proj": draw(WIDTH, EMBEDDING, spread=WIDTH**-0.5),
        "visual.conv1.weight": draw(WIDTH, 3, PATCH, PATCH, spread=(3 * PATCH * PATCH) ** -0.5),
        **norms("visual.ln_pre", WIDTH),
        **norms("visual.ln_post", WIDTH),
        **norms("ln_final", TEXT_WIDTH),
        **blocks("visual.", WIDTH),
        **blocks("", TEXT_WIDTH),
    }


def as_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same as transformers names it: projections transposed, queries, keys and values apart."""
    fixed = {
        "logit_scale": "logit_scale",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    }
    parts = {"visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm",
             "ln_final": "text_model.final_layer_norm", "visual.transformer.resblocks": "vision_model.encoder.layers",
             "transformer.resblocks": "text_model.encoder.layers", "ln_1": "layer_norm1", "ln_2": "layer_norm2",
             "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}  # fmt: skip
    renamed = {
        "visual_projection.weight": state["visual.proj"].T.contiguous(),
        "text_projection.weight": state["text_projection"].T.contiguous(),
        "vision_model.embeddings.position_ids": torch.arange(GRID**2 + 1)[None],
        "text_model.embeddings.position_ids": torch.arange(N_TOKENS)[None],
    }
    for name, tensor in state.items():
        if name in fixed:
            renamed[fixed[name]] = tensor
        elif "proj" not in name or ".attn." in name or ".mlp." in name:
            theirs = name
            for ours, part in parts.items():
                theirs = theirs.replace(ours, part) if theirs.startswith(ours) or f".{ours}." in theirs else theirs
            if ".attn.in_proj_" in theirs:
                block, kind = theirs.split(".attn.in_proj_")
                for letter, piece in zip("qkv", tensor.chunk(3), strict=True):
                    renamed[f"{block}.self_attn.{letter}_proj.{kind}"] = piece.contiguous()
            else:
                renamed[theirs] = tensor
    return renamed


def openai_archive(state: dict[str, Tensor]) -> bytes:
    """A TorchScript archive with this state in float16, and the three numbers that OpenAI keeps beside it."""
    root = nn.Module()
    for name, tensor in state.items():
        *path, last = name.split(".")
        part = root
        for step in path:
            if step not in dict(part.named_children()):
                part.add_module(step, nn.Module())
            part = part.get_submodule(step)
        part.register_parameter(last, nn.Parameter(tensor.half() if name != "logit_scale" else tensor))
    for name, number in (("input_resolution", PATCH * GRID), ("context_length", N_TOKENS), ("vocab_size", N_WORDS)):
        root.register_buffer(name, torch.tensor(number))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, in which theirs was published
        torch.jit.save(torch.jit.script(root), buffer)
    return buffer.getvalue()


def rendered_image(state: dict[str, Tensor], frames: Tensor, *, quick: bool) -> Tensor:
    """[n, 3, 64, 64] to [n, 48]: the paper's arithmetic by the names of open_clip's file, a token after another."""
    patches = functional.unfold(frames, PATCH, stride=PATCH).transpose(1, 2)  # [n, 16, 3 · 16 · 16]
    tokens = patches @ state["visual.conv1.weight"].flatten(1).T
    token = state["visual.class_embedding"].expand(len(frames), 1, WIDTH)
    tokens = torch.cat([token, tokens], dim=1) + state["visual.positional_embedding"]
    tokens = _blocks(state, "visual.", _norm(state, "visual.ln_pre", tokens), quick=quick, causal=False)
    return _norm(state, "visual.ln_post", tokens[:, 0]) @ state["visual.proj"]


def rendered_text(state: dict[str, Tensor], sentence: list[int], *, quick: bool) -> Tensor:
    """Numbers of word pieces to [48]; padded with zeros to 77, read where the largest number is, as published."""
    padded = torch.tensor([[*sentence, *[0] * (N_TOKENS - len(sentence))]])
    tokens = state["token_embedding.weight"][padded] + state["positional_embedding"]
    tokens = _norm(state, "ln_final", _blocks(state, "", tokens, quick=quick, causal=True))
    return tokens[0, int(padded[0].argmax())] @ state["text_projection"]


def _norm(state: dict[str, Tensor], name: str, tokens: Tensor) -> Tensor:
    """Over the last axis."""
    spread = torch.sqrt(tokens.var(dim=-1, unbiased=False, keepdim=True) + 1e-5)
    return (tokens - tokens.mean(dim=-1, keepdim=True)) / spread * state[f"{name}.weight"] + state[f"{name}.bias"]


def _blocks(state: dict[str, Tensor], prefix: str, tokens: Tensor, *, quick: bool, causal: bool) -> Tensor:
    """Every block of a half; attention head by head."""
    for index in range(N_BLOCKS):
        name = f"{prefix}transformer.resblocks.{index}."
        inner = _norm(state, f"{name}ln_1", tokens)
        query, key, value = (
            inner @ weight.T + bias
            for weight, bias in zip(
                state[f"{name}attn.in_proj_weight"].chunk(3), state[f"{name}attn.in_proj_bias"].chunk(3), strict=True
            )
        )
        heads = []
        for start in range(0, tokens.shape[2], 64):
            part = slice(start, start + 64)
            similar = query[:, :, part] @ key[:, :, part].transpose(1, 2) / 8
            if causal:
                similar = similar + torch.full_like(similar[0], -torch.inf).triu(1)
            heads.append(torch.softmax(similar, dim=2) @ value[:, :, part])
        mixed = torch.cat(heads, dim=2)
        tokens = tokens + mixed @ state[f"{name}attn.out_proj.weight"].T + state[f"{name}attn.out_proj.bias"]
        inner = _norm(state, f"{name}ln_2", tokens)
        inner = inner @ state[f"{name}mlp.c_fc.weight"].T + state[f"{name}mlp.c_fc.bias"]
        inner = inner / (1 + torch.exp(-1.702 * inner)) if quick else inner * (1 + torch.erf(inner / 2**0.5)) / 2
        tokens = tokens + inner @ state[f"{name}mlp.c_proj.weight"].T + state[f"{name}mlp.c_proj.bias"]
    return tokens
