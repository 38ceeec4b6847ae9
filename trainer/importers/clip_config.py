"""What files beside CLIP's weights say of them: the activation, and how their pictures were prepared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engines.errors import one_line
from trainer.errors import ConfigError
from trainer.importers.files import read_file
from trainer.models.clip_blocks import Activation

Layout = Literal["open_clip", "transformers"]
"""Whose names and whose files."""
_MAX_BYTES = 1 << 20
_CONFIGS: dict[Layout, str] = {"open_clip": "open_clip_config.json", "transformers": "config.json"}
"""Where the activation stands."""
_PREPARED: dict[Layout, str] = {"open_clip": "open_clip_config.json", "transformers": "preprocessor_config.json"}
"""Where it stands how pictures are prepared."""
_BICUBIC = 3
"""Pillow's number of it, in transformers' files."""
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Pictures:
    """By what pictures are normalised; they are scaled bicubically by their short side, the middle cut out."""

    mean: Triple = (0.48145466, 0.4578275, 0.40821073)
    """Of red, green, blue, 0…1; OpenAI's, which most of open_clip's trainings took over."""
    std: Triple = (0.26862954, 0.26130258, 0.27577711)
    """Likewise."""
    known: bool = True
    """Whether a file says so, or the weights are of OpenAI's form; else they are only likely."""


def read_activation(
    path: Path, layout: Layout, asked: Activation | None, *, from_openai: bool
) -> tuple[Activation, str]:
    """The activation that weights want, and who says so.

    Args:
        path: The weights.
        layout: Whose names they have.
        asked: What the user says; None: what is known of the file, or what a configuration beside it says.
        from_openai: Whether they have the form of OpenAI's own.

    Raises:
        ConfigError: Nothing says it.
    """
    if asked is not None:
        return asked, "as it was asked for"
    if from_openai:
        return "quick_gelu", "which OpenAI's weights want"
    said = _said_activation(_content(path.with_name(_CONFIGS[layout])), layout)
    if said is not None:
        return said, f"by {_CONFIGS[layout]} beside the file"
    raise ConfigError(
        f"{path}: expected --activation, as nothing in the file says what its weights want: quick_gelu for OpenAI's "
        "(and open_clip's models called quickgelu), gelu for LAION's and most others of open_clip; or put the "
        f"{_CONFIGS[layout]} beside it that it was published with"
    )


def read_pictures(path: Path, layout: Layout, *, from_openai: bool) -> Pictures:
    """How pictures for these weights are normalised.

    Args:
        path: The weights.
        layout: Whose names they have.
        from_openai: Whether they have the form of OpenAI's own.

    Raises:
        ConfigError: The file beside them asks for what cannot be, or for another way than every CLIP's of this kind.
    """
    if from_openai:
        return Pictures()
    beside = path.with_name(_PREPARED[layout])
    content = _content(beside)
    said = content.get("preprocess_cfg") if layout == "open_clip" else content
    mean, std = ("mean", "std") if layout == "open_clip" else ("image_mean", "image_std")
    if not isinstance(said, Mapping) or mean not in said or std not in said:
        return Pictures(known=False)
    if other := _otherwise(said):
        raise ConfigError(
            f"{beside}: expected pictures scaled bicubically by their short side, the middle cut out, as CLIP with a "
            f"vision transformer takes them, got {one_line(json.dumps(other), 80)}; is this the file of these weights?"
        )
    return Pictures(_triple(said[mean], f"{beside}: {mean}"), _triple(said[std], f"{beside}: {std}", above=1e-3))


def _content(path: Path) -> Mapping[str, Any]:
    """What a file of JSON says; nothing, where there is none or another."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(read_file(path, _MAX_BYTES).data)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, Mapping) else {}


def _said_activation(content: Mapping[str, Any], layout: Layout) -> Activation | None:
    """What a configuration says; None: nothing."""
    part = content.get("model_cfg" if layout == "open_clip" else "vision_config")
    if not isinstance(part, Mapping):
        return None
    if layout == "open_clip":
        quick = part.get("quick_gelu", False)
        return ("quick_gelu" if quick else "gelu") if isinstance(quick, bool) else None
    kind = part.get("hidden_act", "quick_gelu")
    return kind if kind in ("quick_gelu", "gelu") else None


def _otherwise(said: Mapping[str, Any]) -> dict[str, Any]:
    """What of it is not as in every CLIP of this kind; open_clip's keys, then transformers'."""
    usual = {"interpolation": "bicubic", "resize_mode": "shortest", "resample": _BICUBIC, "do_center_crop": True}
    return {key: said[key] for key, value in usual.items() if key in said and said[key] != value}


def _triple(value: object, where: str, above: float = -100.0) -> Triple:
    """Three numbers of a file."""
    if isinstance(value, list) and len(value) == 3:
        numbers = [float(one) for one in value if isinstance(one, int | float) and above < one < 100]
        if len(numbers) == 3:
            return numbers[0], numbers[1], numbers[2]
    raise ConfigError(
        f"{where}: expected three numbers for red, green and blue, got {one_line(repr(value)[:80])}; get a fresh copy"
    )
