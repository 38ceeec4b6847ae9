"""Files that are no CLIP, a part of one, or would run something: refused in a sentence; a head instead of sentences."""

from __future__ import annotations

import io
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.published_clip import as_transformers, open_clip_state, openai_archive, rendered_image, write_merges

from ascstream.frontend import image_tensor
from engines.backends import load_engines
from engines.bundle import open_bundle
from trainer.cli import main
from trainer.errors import ConfigError, DataError
from trainer.importers.bundle import write_import
from trainer.importers.clip import import_clip
from trainer.importers.clip_weights import read_towers
from trainer.models.cp_mobile import CpMobile


class Marks:
    """A pickle of this makes a folder when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def said(path: Path, *, with_text: bool = True) -> str:
    """The refusal, one line that begins with the file."""
    with pytest.raises(DataError) as raised:
        read_towers(path, with_text=with_text, activation="gelu")
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def with_entry(archive: bytes, name: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive with one entry replaced."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(buffer, "w") as target:
        for entry in source.infolist():
            changed = entry.filename.partition("/")[2] == name
            content = data if changed else source.read(entry)
            target.writestr(entry.filename, content, compression if changed else zipfile.ZIP_STORED)
    return buffer.getvalue()


def test_an_archives_code_is_never_run(tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "ViT-B-32.pt"
    archive = openai_archive(open_clip_state(half=True))
    path.write_bytes(with_entry(archive, "data.pkl", pickle.dumps(Marks(mark), protocol=2)))
    assert "expected a TorchScript archive of a network's tensors, got a pickle that would call os.mkdir;" in said(path)
    # code that cannot even be parsed is not looked at
    path.write_bytes(with_entry(archive, "constants.pkl", pickle.dumps(Marks(mark), protocol=2)))
    assert read_towers(path, with_text=True).from_openai
    assert not mark.exists()


def test_damaged_and_packed_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ViT-B-32.pt"
    archive = openai_archive(open_clip_state(half=True))
    path.write_bytes(with_entry(archive, "data/0", bytes(1 << 10), zipfile.ZIP_DEFLATED))
    assert "expected numbers as torch.jit.save writes them, not compressed" in said(path)
    path.write_bytes(with_entry(archive, "data/0", bytes(8 << 20), zipfile.ZIP_DEFLATED))
    assert "got one that unpacks to more than it has, or has an entry twice; get a fresh copy" in said(path)
    with zipfile.ZipFile(path, "w") as twice, zipfile.ZipFile(io.BytesIO(archive)) as source:
        for root in ("archive", "other"):  # which of the two would be read?
            twice.writestr(f"{root}/data.pkl", source.read("archive/data.pkl"))
        twice.writestr("archive/constants.pkl", b"")
        twice.writestr("padding", bytes(1 << 20))
    assert "or has an entry twice" in said(path)
    path.write_bytes(with_entry(archive, "data/0", b""))
    assert "expected a TorchScript archive" in said(path)
    damaged = bytearray(archive)
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    assert "expected whole numbers, got damaged bytes" in said(path)
    path.write_bytes(archive[:-200])
    assert "expected a" in said(path)


def test_other_networks_and_parts_are_refused_by_name(tmp_path: Path) -> None:
    path, state = tmp_path / "clip.pt", open_clip_state(half=False)

    def saved(changed: dict[str, torch.Tensor]) -> Path:
        torch.save(changed, path)
        return path

    visual = {name: tensor for name, tensor in state.items() if name.startswith("visual.")}
    message = said(saved(visual))
    assert "expected both halves of CLIP, got no token_embedding.weight" in message
    assert "with --data CLIPS" in message
    assert read_towers(saved(visual), with_text=False, activation="gelu").text is None
    assert "vision transformer (ViT-B/32, B/16 or L/14)" in said(saved(CpMobile().state_dict()))
    assert "expected CLIP" in said(saved({**state, "visual.layer1.0.conv1.weight": torch.zeros(1)}))
    wide = {**state, "visual.conv1.weight": torch.zeros(1280, 3, 14, 14)}
    assert "a width of heads of 64 numbers, up to 1024 as in ViT-L, got 1280" in said(saved(wide))
    odd = {**state, "visual.positional_embedding": torch.zeros(19, 128)}
    assert "expected a class token and a square of patches, got 19 positions" in said(saved(odd))
    flat = {name: tensor for name, tensor in visual.items() if name != "visual.proj"}
    assert "visual.proj: expected 2 axes, got nothing" in said(saved(flat), with_text=False)
    less = {name: tensor for name, tensor in state.items() if "resblocks.1.mlp.c_fc" not in name}
    assert "tensors of ClipVisual, got 2 missing (transformer.resblocks.1.mlp.c_fc.weight" in said(saved(less))
    short = {name: tensor for name, tensor in state.items() if name != "ln_final.bias"}
    assert "tensors of ClipText, got 1 missing (ln_final.bias)" in said(saved(short))
    broken = {**state, "ln_final.bias": torch.full((64,), torch.nan)}
    assert "expected finite numbers, got others in ln_final.bias" in said(saved(broken))
    for scale in (torch.nan, torch.inf, -1e5):  # e^−100000 is 0, of which there is no logarithm
        assert f"logit_scale: expected a number from 0, got {scale:g};" in said(
            saved({**state, "logit_scale": torch.tensor(scale)})
        )
    assert "logit_scale: expected a number from 0, got shape [2]" in said(
        saved({**state, "logit_scale": torch.ones(2)})
    )


def test_sizes_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    path, state = tmp_path / "clip.pt", open_clip_state(half=False)

    def saved(changed: dict[str, torch.Tensor]) -> Path:
        torch.save(state | changed, path)
        return path

    repeated = {"visual.proj": torch.zeros(1).expand(128, 1 << 40)}  # a file of a few bytes more
    assert "expected plain tensors by name, got something else at visual.proj" in said(saved(repeated))
    assert "visual.proj: expected embeddings of up to 4,096 numbers, got 5,000" in said(
        saved({"visual.proj": torch.zeros(128, 5000)})
    )
    assert "token_embedding.weight: expected CLIP's word pieces, got 100 of them" in said(
        saved({"token_embedding.weight": torch.zeros(100, 64)})
    )
    assert "positional_embedding: expected sentences of 77 positions, got 2,000" in said(
        saved({"positional_embedding": torch.zeros(2000, 64)})
    )
    assert "expected a class token and a square of patches, got 1090 positions" in said(
        saved({"visual.positional_embedding": torch.zeros(33**2 + 1, 128)})
    )


def test_tensors_that_are_more_or_less_than_numbers(tmp_path: Path) -> None:
    path, state = tmp_path / "clip.pt", as_transformers(open_clip_state(half=False))
    query = "vision_model.encoder.layers.0.self_attn.q_proj.weight"
    torch.save({**state, query: state[query].to(torch.float8_e4m3fn)}, path)
    assert f"expected plain tensors by name, got something else at {query}" in said(path)
    bias = torch.nn.Parameter(state["text_model.final_layer_norm.bias"])
    for method in ("to", "isfinite", "is_complex", "detach"):
        setattr(bias, method, torch.Size)  # which a checkpoint may hold, and which no tensor's method is
    torch.save({**state, "text_model.final_layer_norm.bias": bias}, path)
    assert read_towers(path, with_text=True, activation="gelu").text is not None


def test_masks_beside_the_weights_are_left_out(tmp_path: Path) -> None:
    path, state = tmp_path / "clip.pt", open_clip_state(half=False)
    torch.save(
        {**state, "attn_mask": torch.zeros(77, 77), "transformer.resblocks.0.attn_mask": torch.zeros(77, 77)}, path
    )
    assert read_towers(path, with_text=True, activation="gelu").text is not None


def test_an_archive_of_objects_in_objects_ends(tmp_path: Path) -> None:
    module = torch.nn.Module()
    module.register_buffer("numbers", torch.zeros(3))
    for _ in range(30):
        around = torch.nn.Module()
        around.add_module("x" * 100, module)
        module = around
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript
        torch.jit.save(torch.jit.script(module), buffer)
    path = tmp_path / "deep.pt"
    path.write_bytes(buffer.getvalue())
    assert "expected plain tensors in a TorchScript archive, got none" in said(path)


def test_what_nothing_says_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "clip.pt"
    torch.save(open_clip_state(half=False), path)
    write_merges(tmp_path / "merges.txt")
    for config in (None, "[]", '{"model_cfg": 3}', "no JSON"):
        if config is not None:
            (tmp_path / "open_clip_config.json").write_text(config)
        with pytest.raises(ConfigError, match="expected --activation, as nothing in the file says"):
            import_clip(path)
    out = ["--out", str(tmp_path / "bundle")]
    assert main(["import", "clip", str(path), *out]) == 2
    assert "quick_gelu for OpenAI's" in capsys.readouterr().err
    assert main(["import", "clip", str(path), "--data", str(tmp_path), "--prompts", "x", *out]) == 2
    assert "expected no --prompts and no --vocabulary beside it" in capsys.readouterr().err
    assert main(["import", "places365", str(path), "--prompts", "x", *out]) == 2
    assert "--prompts: expected with clip, got it with places365; leave it out" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("kind", ["missing", "evil", "damaged", "empty"])
def test_the_weights_are_looked_at_before_the_vocabulary(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, mark = tmp_path / "ViT-B-32.pt", tmp_path / "ran"
    if kind == "evil":
        torch.save({"state_dict": Marks(mark)}, path)
    elif kind != "missing":
        path.write_bytes(openai_archive(open_clip_state(half=True))[:-200] if kind == "damaged" else b"")
    assert main(["import", "clip", str(path), "--out", str(tmp_path / "bundle")]) == 3
    message = capsys.readouterr().err
    assert message.startswith(f"trainer: {path}: expected")
    wanted = {"missing": "No such file", "evil": "would call os.mkdir", "damaged": "got a damaged", "empty": "0 bytes"}
    assert wanted[kind] in message
    assert message.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == ([] if kind == "missing" else [path])
    torch.save(open_clip_state(half=False), path)
    assert main(["import", "clip", str(path), "--activation", "gelu", "--out", str(tmp_path / "bundle")]) == 2
    assert "expected a list of word pieces beside it" in capsys.readouterr().err


def draw_pictures(folder: Path, n_places: int) -> Path:
    """A folder of labelled pictures that differ in colour: parks are green, malls red, each place in its own shade."""
    rng = np.random.default_rng(0)
    for label, colour in (("park", (40, 160, 40)), ("shopping_mall", (170, 50, 50))):
        (folder / label).mkdir(parents=True)
        for place in range(n_places):
            pixels = np.clip(np.array(colour) + rng.integers(-30, 30, 3) + rng.integers(-20, 20, (64, 80, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{place}.png")
    return folder


@pytest.mark.slow
def test_a_head_is_fitted_on_pictures_of_a_users_own(tmp_path: Path) -> None:
    state = open_clip_state(half=False)
    path = tmp_path / "clip.pt"
    torch.save({name: tensor for name, tensor in state.items() if name.startswith("visual.")}, path)
    imported = import_clip(path, data=draw_pictures(tmp_path / "pictures", 6), activation="gelu")
    assert imported.labels == ("park", "shopping_mall")
    assert imported.groups == {"indoor": ("shopping_mall",), "outdoor": ("park",)}
    write_import(imported, tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.manifest.video_input is not None
    picture = np.full((64, 64, 3), (45, 165, 35), np.uint8)
    prepared = image_tensor(picture, bundle.manifest.video_input[1])[None]
    with load_engines(bundle, backend="onnxruntime") as engines:
        assert engines.frame is not None
        embedding = engines.frame.infer({"image": prepared})["embedding"]
        logits = engines.scene.infer({"embeddings": embedding[:, None]})["fused"]
        longer = engines.scene.infer({"embeddings": 3 * embedding[:, None]})["fused"]
    expected = rendered_image(
        {name: tensor.double() for name, tensor in state.items()}, torch.from_numpy(prepared).double(), quick=False
    )
    np.testing.assert_allclose(embedding, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(longer, logits, rtol=0, atol=1e-4)  # its length says nothing
    assert logits[0].argmax() == 0
    card = (tmp_path / "bundle/CARD.md").read_text()
    assert "A frame's embedding is made of length 1" in card
    assert "12 places" in card
