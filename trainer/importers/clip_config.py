"""Reads the configuration files next to CLIP's weights: the activation, and how pictures were prepared."""

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
"""Whose tensor names and configuration files a checkpoint has."""
_MAX_BYTES = 1 << 20
_CONFIGS: dict[Layout, str] = {"open_clip": "open_clip_config.json", "transformers": "config.json"}
"""The file that states the activation."""
_PREPARED: dict[Layout, str] = {"open_clip": "open_clip_config.json", "transformers": "preprocessor_config.json"}
"""The file that states how pictures are prepared."""
_BICUBIC = 3
"""Pillow's constant for bicubic resampling, as transformers' files state it."""
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Pictures:
    """How pictures are normalised, after the short side is scaled bicubically and the middle is cut out."""

    mean: Triple = (0.48145466, 0.4578275, 0.40821073)
    """Mean of red, green and blue, pixels in 0…1; the default is OpenAI's, which most open_clip models share."""
    std: Triple = (0.26862954, 0.26130258, 0.27577711)
    """Standard deviation, likewise."""
    known: bool = True
    """True if a file states the values or the weights have OpenAI's form; otherwise they are only likely."""


def read_activation(
    path: Path, layout: Layout, asked: Activation | None, *, from_openai: bool
) -> tuple[Activation, str]:
    """Determine which activation the weights were trained with, and how that is known.

    Args:
        path: The weights.
        layout: Whose tensor names they have.
        asked: The user's choice; None: decide by the file itself or by a configuration next to it.
        from_openai: Whether the file has the form that only OpenAI's own have.

    Raises:
        ConfigError: Nothing states the activation.
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
    """Determine how pictures for these weights are normalised.

    Args:
        path: The weights.
        layout: Whose tensor names they have.
        from_openai: Whether the file has the form that only OpenAI's own have.

    Raises:
        ConfigError: The file next to them has invalid values, or scales or crops unlike every CLIP of this kind.
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
    """The object in a JSON file; empty if the file is missing, invalid or holds something else."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(read_file(path, _MAX_BYTES).data)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, Mapping) else {}


def _said_activation(content: Mapping[str, Any], layout: Layout) -> Activation | None:
    """The activation stated in a configuration; None if it states none, or one that is not supported."""
    part = content.get("model_cfg" if layout == "open_clip" else "vision_config")
    if not isinstance(part, Mapping):
        return None
    if layout == "open_clip":
        quick = part.get("quick_gelu", False)
        return ("quick_gelu" if quick else "gelu") if isinstance(quick, bool) else None
    kind = part.get("hidden_act", "quick_gelu")
    return kind if kind in ("quick_gelu", "gelu") else None


def _otherwise(said: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that differ from every CLIP of this kind; checks open_clip's keys, then transformers'."""
    usual = {"interpolation": "bicubic", "resize_mode": "shortest", "resample": _BICUBIC, "do_center_crop": True}
    return {key: said[key] for key, value in usual.items() if key in said and said[key] != value}


def _triple(value: object, where: str, above: float = -100.0) -> Triple:
    """Three numbers from a file, each above `above` and below 100."""
    if isinstance(value, list) and len(value) == 3:
        numbers = [float(one) for one in value if isinstance(one, int | float) and above < one < 100]
        if len(numbers) == 3:
            return numbers[0], numbers[1], numbers[2]
    raise ConfigError(
        f"{where}: expected three numbers for red, green and blue, got {one_line(repr(value)[:80])}; get a fresh copy"
    )
