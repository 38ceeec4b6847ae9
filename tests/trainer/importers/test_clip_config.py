"""What stands beside CLIP's weights: activation and normalisation of each layout, and what is not believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import ConfigError
from trainer.importers.clip_config import Layout, Pictures, read_activation, read_pictures

HALF = [0.5, 0.5, 0.5]
OPENAI = Pictures()
LAION_L_14: dict[Layout, tuple[str, dict[str, Any]]] = {
    "open_clip": (
        "open_clip_config.json",
        {"model_cfg": {"embed_dim": 768}, "preprocess_cfg": {"mean": HALF, "std": HALF}},
    ),
    "transformers": (
        "preprocessor_config.json",
        {"image_mean": HALF, "image_std": HALF, "resample": 3, "do_center_crop": True, "size": {"shortest_edge": 224}},
    ),
}
"""As laion2b_s32b_b82k was published: not by OpenAI's mean and spread."""


def write(folder: Path, name: str, content: object) -> Path:
    """The file beside weights that need not be there."""
    (folder / name).write_text(json.dumps(content))
    return folder / "weights.bin"


@pytest.mark.parametrize("layout", ["open_clip", "transformers"])
def test_pictures_are_normalised_as_the_file_beside_says(layout: Layout, tmp_path: Path) -> None:
    path = write(tmp_path, *LAION_L_14[layout])
    assert read_pictures(path, layout, from_openai=False) == Pictures((0.5,) * 3, (0.5,) * 3, known=True)
    assert read_pictures(path, layout, from_openai=True) == OPENAI
    other: Layout = "transformers" if layout == "open_clip" else "open_clip"
    assert read_pictures(path, other, from_openai=False) == Pictures(OPENAI.mean, OPENAI.std, known=False)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"mean": "half"}, "open_clip_config.json: mean: expected three numbers for red, green and blue, got 'half'"),
        ({"mean": [0.5, None, 0.5]}, "mean: expected three numbers"),
        ({"std": [0.5, 0.5, 0]}, "std: expected three numbers for red, green and blue, got [0.5, 0.5, 0]"),
        ({"std": [0.5, 0.5, 1e999]}, "std: expected three numbers"),
        (
            {"resize_mode": "squash"},
            'the middle cut out, as CLIP with a vision transformer takes them, got {"resize_mode"',
        ),
        ({"interpolation": "bilinear"}, 'got {"interpolation": "bilinear"}; is this the file of these weights?'),
    ],
)
def test_what_cannot_be_or_is_another_way_is_refused(changed: dict[str, object], expected: str, tmp_path: Path) -> None:
    name, content = LAION_L_14["open_clip"]
    path = write(tmp_path, name, {**content, "preprocess_cfg": {**content["preprocess_cfg"], **changed}})
    with pytest.raises(ConfigError) as raised:
        read_pictures(path, "open_clip", from_openai=False)
    assert expected in str(raised.value)


@pytest.mark.parametrize("content", [[], 3, {"preprocess_cfg": 3}, {"preprocess_cfg": {"mean": HALF}}])
def test_a_file_that_says_nothing_leaves_what_is_likely(content: object, tmp_path: Path) -> None:
    path = write(tmp_path, "open_clip_config.json", content)
    assert not read_pictures(path, "open_clip", from_openai=False).known
    with pytest.raises(ConfigError, match="expected --activation"):
        read_activation(path, "open_clip", None, from_openai=False)


@pytest.mark.parametrize(
    ("layout", "name", "content", "expected"),
    [
        ("open_clip", "open_clip_config.json", {"model_cfg": {}}, "gelu"),
        ("open_clip", "open_clip_config.json", {"model_cfg": {"quick_gelu": True}}, "quick_gelu"),
        ("transformers", "config.json", {"vision_config": {"hidden_act": "gelu"}}, "gelu"),
        ("transformers", "config.json", {"vision_config": {}}, "quick_gelu"),
    ],
)
def test_the_activation_stands_beside_the_weights(
    layout: Layout, name: str, content: object, expected: str, tmp_path: Path
) -> None:
    path = write(tmp_path, name, content)
    said = (expected, f"by {name} beside the file")
    assert read_activation(path, layout, None, from_openai=False) == said
    assert read_activation(path, layout, "gelu", from_openai=True) == ("gelu", "as it was asked for")
    assert read_activation(path, layout, None, from_openai=True) == ("quick_gelu", "which OpenAI's weights want")


@pytest.mark.parametrize("quick", ["false", 1, None])
def test_an_activation_in_other_words_is_not_guessed(quick: object, tmp_path: Path) -> None:
    path = write(tmp_path, "open_clip_config.json", {"model_cfg": {"quick_gelu": quick}})
    with pytest.raises(ConfigError, match="expected --activation"):
        read_activation(path, "open_clip", None, from_openai=False)
