"""CLIP in its three published layouts against its arithmetic written anew, and what it answers by sentences."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from support.published_clip import (
    MERGES,
    as_transformers,
    open_clip_state,
    openai_archive,
    rendered_image,
    rendered_text,
    write_merges,
)
from torch import Tensor
from torch.nn import functional

from ascstream.frontend import image_tensor
from engines.backends import load_engines
from engines.bundle import open_bundle
from trainer.cli import main
from trainer.errors import ConfigError
from trainer.importers.bundle import write_import
from trainer.importers.clip import import_clip
from trainer.importers.clip_heads import SentenceScenes
from trainer.importers.clip_prompts import ten_scenes
from trainer.importers.clip_tokens import read_vocabulary
from trainer.importers.clip_weights import read_towers
from trainer.importers.files import read_file
from trainer.importers.imported import TEN_SCENES

SIZE = 64


def write_state(folder: Path, layout: str, state: dict[str, Tensor], *, activation: str = "gelu") -> Path:
    """The published file of that layout, and what lies beside it."""
    folder.mkdir(exist_ok=True)
    write_merges(folder / "merges.txt")
    if layout == "openai":
        path = folder / "ViT-B-32.pt"
        path.write_bytes(openai_archive(state))
    elif layout == "open_clip":
        path = folder / "open_clip_pytorch_model.bin"
        torch.save({"epoch": 32, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
        config = {"model_cfg": {"embed_dim": 48, "quick_gelu": activation == "quick_gelu"}}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
    else:
        path = folder / "model.safetensors"
        safetensors.torch.save_file(as_transformers(state), path)
        config = {"model_type": "clip", "vision_config": {"hidden_act": activation}}
        (folder / "config.json").write_text(json.dumps(config))
    return path


@pytest.mark.parametrize(
    ("layout", "activation"),
    [("openai", "quick_gelu"), ("open_clip", "gelu"), ("open_clip", "quick_gelu"), ("transformers", "gelu")],
)
def test_both_halves_give_the_published_arithmetic(layout: str, activation: str, tmp_path: Path) -> None:
    state = open_clip_state(half=layout == "openai")
    path = write_state(tmp_path / layout, layout, state, activation=activation)
    towers = read_towers(path, with_text=True)
    assert towers.activation.startswith(f"{activation}, ")
    assert towers.from_openai == (layout == "openai")
    assert towers.logit_scale == pytest.approx(math.exp(3.2), rel=1e-3)
    double = {name: tensor.double() for name, tensor in state.items()}
    quick = activation == "quick_gelu"
    frames = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    expected = rendered_image(double, frames.double(), quick=quick)
    with torch.no_grad():
        torch.testing.assert_close(towers.visual(frames).double(), expected, rtol=0, atol=1e-5)
    assert (rendered_image(double, frames.double(), quick=not quick) - expected).abs().max() > 1e-4
    assert towers.text is not None
    sentences = [[84, 3, 70, 85], [84, 5, 6, 7, 8, 9, 85]]
    for row, sentence in zip(towers.text.embed(sentences), sentences, strict=True):
        wanted = rendered_text(double, sentence, quick=quick)
        torch.testing.assert_close(row.double(), wanted, rtol=0, atol=1e-5)


def asked_anew(state: dict[str, Tensor], merges: Path, frames: Tensor) -> Tensor:
    """[n, 10] scores by the ten scenes' sentences, from the state alone."""
    vocabulary = read_vocabulary(read_file(merges, 1 << 20), len(state["token_embedding.weight"]))
    prompts, rows = ten_scenes(), []
    for sentences in (*prompts.scenes.values(), *prompts.others):
        units = [
            functional.normalize(rendered_text(state, vocabulary.encode(text, 77), quick=True), dim=0)
            for text in sentences
        ]
        rows.append(functional.normalize(torch.stack(units).mean(dim=0), dim=0))
    images = functional.normalize(rendered_image(state, frames, quick=True), dim=1)
    places = torch.softmax(state["logit_scale"].exp() * images @ torch.stack(rows).T, dim=1)
    return places[:, :10] + places[:, 10:].sum(dim=1, keepdim=True) / 10


@pytest.mark.slow
def test_ten_scenes_by_sentences_from_openais_archive(tmp_path: Path) -> None:
    state = open_clip_state(half=True)
    path = write_state(tmp_path / "openai", "openai", state)
    imported = import_clip(path)
    assert (imported.name, imported.labels) == ("clip-vit-w128-16-64", TEN_SCENES)
    write_import(imported, tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.manifest.video_input is not None
    video = bundle.manifest.video_input[1]
    assert (video.width, video.short_side, video.interpolation, video.embedding_size) == (SIZE, None, "bicubic", 48)
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    prepared = ((picture / 255 - mean) / std).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(image_tensor(picture, video)[None], prepared, rtol=0, atol=1e-5)
    double = {name: tensor.double() for name, tensor in state.items()}
    expected = asked_anew(double, tmp_path / "openai/merges.txt", torch.from_numpy(prepared)).numpy()
    for precision, tolerance in (("float32", 1e-5), ("float16", 2e-2)):
        with load_engines(bundle, backend="onnxruntime", precision=precision) as engines:
            assert engines.frame is not None
            embedding = engines.frame.infer({"image": prepared.astype(np.float32)})["embedding"]
            logits = engines.scene.infer({"embeddings": embedding[:, None]})["fused"]
        np.testing.assert_allclose(np.exp(logits), expected, rtol=0, atol=tolerance)  # they sum to 1 as they are
    card = (tmp_path / "bundle/CARD.md").read_text()
    for words in (
        "any deployed use, commercial or not, is out of scope",
        "quick_gelu, which OpenAI's weights want",
        "a photo of the inside of a tram.",
        "| (no scene) | a photo of a kitchen.",
        "MIT licence",
        "`merges.txt`",
    ):
        assert words in card


def test_what_is_no_scene_is_spread() -> None:
    text = torch.eye(5)  # three scenes and two places that are none
    scene = SentenceScenes(text, 3, logit_scale=100.0).eval()
    with torch.no_grad():
        scores = torch.exp(scene(torch.eye(5)[[0, 4]][:, None] * 7)).numpy()
        mixed = torch.exp(scene(torch.eye(5)[None, [0, 4]])).numpy()
    np.testing.assert_allclose(scores, [[1, 0, 0], [1 / 3] * 3], atol=1e-6)
    np.testing.assert_allclose(mixed, [[2 / 3, 1 / 6, 1 / 6]], atol=1e-6)


@pytest.mark.slow
def test_sentences_of_a_users_own_and_other_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_state(tmp_path / "clip", "open_clip", open_clip_state(half=False))
    prompts = tmp_path / "prompts.toml"
    asked = 'harbour = ["boats | at a pier"]\nalley = ["a narrow street", "an alley"]\n'
    prompts.write_text(f'{asked}indoor = ["a room"]\nairport = ["an airport"]\n')  # a group of the ten, and one of them
    out = tmp_path / "bundle"
    assert main(["import", "clip", str(path), "--prompts", str(prompts), "--out", str(out)]) == 0
    assert f"{prompts}\n" in capsys.readouterr().err
    manifest = open_bundle(out).manifest
    assert (manifest.labels, manifest.groups) == (("airport", "alley", "harbour", "indoor"), {})
    card = (out / "CARD.md").read_text()
    assert "| harbour | boats \\| at a pier |" in card
    assert "Nothing stands for what is no scene" in card
    assert "gelu, by open_clip_config.json beside the file" in card
    assert "Nothing in the file says." in card
    assert "Nothing beside its file says how pictures were normalised: OpenAI's mean and spread" in card
    prompts.write_text(f'{asked}none = ["a kitchen"]\n')
    half = {"model_cfg": {}, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (path.parent / "open_clip_config.json").write_text(json.dumps(half))
    imported = import_clip(path, prompts=prompts)
    assert [spec.video.mean for spec in imported.graphs.inputs if spec.video is not None] == [(0.5, 0.5, 0.5)]
    assert "near 0.5: where scenes begin to be named" in imported.answers
    assert not any("OpenAI" in limit for limit in imported.limits)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('park = "a park"', "park: expected a label and sentences"),
        ("park = []\ntram = ['a']", "park: expected a label and sentences"),
        ("park = ['a']\nnone = ['b']", "expected sentences of at least two labels, got 1"),
        ("park = [", "expected a TOML file of sentences, got: "),
        ("unknown = ['a']\ntram = ['b']", 'expected a scene\'s name, and not "unknown", got "unknown"'),
        (f"{'x' * 200} = ['a']\ntram = ['b']", "expected names of at most 128 characters, got 200"),
        (f"park = {'1' * 5000}", "expected a TOML file of sentences, got: Exceeds the limit"),
        (
            ".".join(["a"] * 500) + " = 1",
            'a: expected a label and sentences, as park = ["a photo of a park."], got dict',
        ),
        ("park = ['a', 3]\ntram = ['b']", "park: expected sentences of 1 to 1,000 characters, got int"),
        (
            f"park = ['{'a' * 1001}']\ntram = ['b']",
            "park: expected sentences of 1 to 1,000 characters, got one of 1,001",
        ),
        (
            "park = ['A  tree']\nnone = ['a tree']\ntram = ['b']",
            "none: expected other sentences than those of park, got",
        ),
        (f"park = ['{'a ' * 76}']\ntram = ['b']", "expected sentences of at most 75 word pieces, got 76 in 'a a a"),
    ],
)
def test_sentences_that_cannot_be_asked_are_refused(text: str, expected: str, tmp_path: Path) -> None:
    path = write_state(tmp_path / "clip", "open_clip", open_clip_state(half=False))
    (tmp_path / "prompts.toml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        import_clip(path, prompts=tmp_path / "prompts.toml")
    assert expected in str(raised.value)


def test_merges_are_looked_for_beside_the_weights(tmp_path: Path) -> None:
    path = write_state(tmp_path / "clip", "open_clip", open_clip_state(half=False))
    (tmp_path / "clip/merges.txt").rename(tmp_path / "elsewhere.txt")
    with pytest.raises(
        ConfigError, match=r"bpe_simple_vocab_16e6\.txt\.gz or merges\.txt, got neither; name it with --v"
    ):
        import_clip(path)
    imported = import_clip(path, vocabulary=tmp_path / "elsewhere.txt")
    assert [source.path.name for source in imported.sources] == [path.name, "elsewhere.txt"]
    assert len(MERGES) == 70
