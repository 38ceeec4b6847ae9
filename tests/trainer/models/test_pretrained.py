"""Weights from files: every published way to name them, and every way in which a file can be the wrong one."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from support.published import lightning_cp_mobile
from support.recordings import data_folder, recording
from torch import Tensor, nn

from ascstream.frontend import audio_tensor
from trainer.config import WeightsConfig, load_config
from trainer.errors import ConfigError, DataError
from trainer.models.clip import PLACES, ClipZeroShot
from trainer.models.clip_visual import ClipVisual
from trainer.models.cp_mobile import CpMobile, cp_mobile_baseline
from trainer.models.naming import Weights, published_names
from trainer.models.pretrained import fit_weights, load_weights, read_weights
from trainer.models.resnet import ResnetTrunk
from trainer.models.slim_audio import SlimAudio
from trainer.models.slim_av import SlimAv
from trainer.models.slim_visual import SlimVisual
from trainer.models.systems import build_network
from trainer.models.vgg import VggEncoder
from trainer.models.wave import Wave

CONFIGS = Path(__file__).parents[3] / "configs"
VGG_CONVOLUTIONS = ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))
N_BLOCKS = 12


def state_of(network: nn.Module, seed: int = 7) -> Weights:
    """Random weights for a network, under its own names."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }


def without_counters(weights: Weights) -> Weights:
    """As many published files have it."""
    return {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}


def torchvision_vgg(weights: Weights) -> Weights:
    """As torchvision names VGG16, with its classifier."""
    return {**weights, "classifier.0.weight": torch.zeros(8, 4), "classifier.6.bias": torch.zeros(4)}


def caffe_vgg(weights: Weights) -> Weights:
    """As files converted from Caffe name VGG16."""
    numbers = sorted({int(name.split(".")[1]) for name in weights})
    names = [f"conv{stage}_{layer}" for stage, n in VGG_CONVOLUTIONS for layer in range(1, n + 1)]
    caffe = dict(zip(numbers, names, strict=True))
    renamed = {f"{caffe[int(name.split('.')[1])]}.{name.split('.')[2]}": tensor for name, tensor in weights.items()}
    return {**renamed, "fc6.weight": torch.zeros(8, 4), "fc8a.bias": torch.zeros(3)}


def distributed(weights: Weights) -> Weights:
    """As nn.DataParallel names them."""
    return {f"module.{name}": tensor for name, tensor in weights.items()}


def panns_resnet(weights: Weights) -> Weights:
    """As PANNs name the trunk."""
    renames = {"band_norm.": "bn0.", "embed.": "fc1."}
    renamed = {next((name.replace(a, b) for a, b in renames.items() if name.startswith(a)), name): tensor
               for name, tensor in weights.items()}  # fmt: skip
    return {**renamed, "fc_audioset.weight": torch.zeros(527, 2048), "fc_audioset.bias": torch.zeros(527)}


def paddle_resnet(weights: Weights) -> Weights:
    """As Paddle writes the same: statistics renamed, linear layers transposed, no counters."""
    renamed = without_counters(panns_resnet(weights))
    renamed = {name: tensor.T.contiguous() if name == "fc1.weight" else tensor for name, tensor in renamed.items()}
    return {
        name.replace(".running_mean", "._mean").replace(".running_var", "._variance"): tensor
        for name, tensor in renamed.items()
    }


def open_clip(weights: Weights) -> Weights:
    """As OpenAI and open_clip name a whole CLIP."""
    renamed = {}
    for name, tensor in weights.items():
        if name == "proj.weight":
            renamed["visual.proj"] = tensor.T.contiguous()
        else:
            renamed[f"visual.{name.replace('.in_proj.', '.in_proj_')}"] = tensor
    text = {"token_embedding.weight": torch.zeros(9, 4), "transformer.resblocks.0.ln_1.weight": torch.zeros(4)}
    return {**renamed, **text, "logit_scale": torch.tensor(4.6), "text_projection": torch.zeros(4, 4)}


def transformers_clip(weights: Weights) -> Weights:
    """As transformers names a whole CLIP."""
    fixed = {
        "class_embedding": "vision_model.embeddings.class_embedding",
        "positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "proj.weight": "visual_projection.weight",
    }
    parts = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj",
             "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}  # fmt: skip
    renamed: Weights = {}
    for name, tensor in weights.items():
        if name in fixed:
            renamed[fixed[name]] = tensor
        elif name.startswith(("ln_pre", "ln_post")):
            layer, kind = name.split(".")
            renamed[f"vision_model.{'pre_layrnorm' if layer == 'ln_pre' else 'post_layernorm'}.{kind}"] = tensor
        else:
            _, _, number, layer = name.split(".", 3)
            layer, kind = layer.rsplit(".", 1)
            block = f"vision_model.encoder.layers.{number}"
            if layer == "attn.in_proj":
                for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                    renamed[f"{block}.self_attn.{letter}_proj.{kind}"] = part.contiguous()
            else:
                renamed[f"{block}.{parts[layer]}.{kind}"] = tensor
    text = {
        "text_model.embeddings.token_embedding.weight": torch.zeros(9, 4),
        "text_projection.weight": torch.zeros(4, 4),
    }
    ids = {"vision_model.embeddings.position_ids": torch.arange(50)[None], "logit_scale": torch.tensor(4.6)}
    return {**renamed, **text, **ids}


NAMINGS = [
    pytest.param(VggEncoder, dict, id="vgg"),
    pytest.param(VggEncoder, torchvision_vgg, id="torchvision"),
    pytest.param(VggEncoder, caffe_vgg, id="caffe"),
    pytest.param(VggEncoder, lambda weights: distributed(torchvision_vgg(weights)), id="torchvision, distributed"),
    pytest.param(ResnetTrunk, dict, id="resnet"),
    pytest.param(ResnetTrunk, without_counters, id="resnet without counters"),
    pytest.param(ResnetTrunk, panns_resnet, id="panns"),
    pytest.param(ResnetTrunk, paddle_resnet, id="paddle"),
    pytest.param(ClipVisual, dict, id="clip"),
    pytest.param(ClipVisual, open_clip, id="open_clip"),
    pytest.param(ClipVisual, transformers_clip, id="transformers"),
    pytest.param(lambda: Wave(3), distributed, id="wave, distributed"),
    pytest.param(CpMobile, lightning_cp_mobile, id="cp_mobile"),
    pytest.param(cp_mobile_baseline, dict, id="cp_mobile_baseline"),
]


@pytest.mark.parametrize(("make", "rename"), NAMINGS)
def test_published_names_are_known(make: Callable[[], nn.Module], rename: Callable[[Weights], Weights]) -> None:
    with torch.device("meta"):  # names and shapes are all it takes
        weights = make().state_dict()
        renamed = rename(dict(weights))
        found = [naming(renamed) for naming in published_names(make())]
    shapes = {name: tensor.shape for name, tensor in without_counters(dict(weights)).items()}
    assert shapes in [{name: tensor.shape for name, tensor in without_counters(names).items()} for names in found]


@pytest.mark.parametrize("rename", [dict, caffe_vgg, torchvision_vgg])
def test_values_go_where_they_belong(rename: Callable[[Weights], Weights]) -> None:
    encoder = VggEncoder()
    weights = state_of(encoder)
    fit_weights(encoder, rename(weights), "file")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in encoder.state_dict().items())


@pytest.mark.parametrize("rename", [panns_resnet, paddle_resnet])
def test_values_of_a_trunk_go_where_they_belong(rename: Callable[[Weights], Weights]) -> None:
    trunk = ResnetTrunk()
    weights = state_of(trunk)
    fit_weights(trunk, rename(weights), "file")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in trunk.state_dict().items())


def test_values_of_cp_mobile_go_where_they_belong() -> None:
    network = CpMobile()
    weights = state_of(network)
    fit_weights(network, lightning_cp_mobile(weights), "file")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


@pytest.mark.data
def test_the_published_cp_mobile_hears_scenes_of_a_telephone() -> None:
    root = data_folder() / "weights"
    file = "cpmobile_tau22_cpjku_dcase23/epoch=149-step=81900.ckpt"
    config = load_config(CONFIGS / "cp_mobile.toml")
    config = replace(config, model=replace(config.model, weights={"": WeightsConfig(file)}))
    network = build_network(config, 10, root).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == 126_952
    assert config.audio is not None
    for name, scene in (
        ("amberleigh", "park"),
        ("golden-gate", "street_traffic"),
        ("herald-sq-metro", "metro_station"),
    ):
        samples = recording(f"scenes_audio/sounds_from_places/{name}.mp3", config.audio.sample_rate, 5)
        windows = np.stack([audio_tensor(part, config.audio) for part in np.split(samples, 5, axis=1)])
        with torch.no_grad():
            probabilities = torch.softmax(network(torch.from_numpy(windows)).mean(dim=0), dim=0)
        assert probabilities[sorted(PLACES).index(scene)] > 0.8, name


@pytest.mark.slow
@pytest.mark.parametrize("rename", [open_clip, transformers_clip])
def test_values_of_clip_go_where_they_belong(rename: Callable[[Weights], Weights], tmp_path: Path) -> None:
    tower = ClipVisual()
    weights = state_of(tower)
    safetensors.torch.save_file(rename(weights), tmp_path / "clip.safetensors")
    load_weights(nn.ModuleDict({"encoder": tower}), "encoder", WeightsConfig("clip.safetensors"), tmp_path)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in tower.state_dict().items())


def test_sentences_are_normalised_and_have_a_scale() -> None:
    head, text = ClipZeroShot(torch.zeros(3, 512)), 5 * torch.randn(3, 512)
    fit_weights(head, {"text": text}, "file")
    torch.testing.assert_close(head.text, text / text.norm(dim=1, keepdim=True))
    assert head.logit_scale.exp().item() == pytest.approx(100)
    fit_weights(head, {"text": text, "logit_scale": torch.tensor(3.0)}, "file")
    assert head.logit_scale.item() == pytest.approx(3.0)


def save(path: Path, weights: object) -> Path:
    """By the ending: .safetensors, or torch.save."""
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(weights, path)  # type: ignore[arg-type]
    else:
        torch.save(weights, path)
    return path


@pytest.mark.parametrize("wrap", ["", "state_dict", "model", "average"])
def test_a_checkpoint_is_unwrapped(wrap: str, tmp_path: Path) -> None:
    weights = state_of(SlimAudio(3))
    content = {wrap: weights, "epoch": 7} if wrap else OrderedDict(weights)
    assert set(read_weights(save(tmp_path / "file.pt", content))) == set(weights)


def test_a_trained_ear_goes_into_an_audio_visual_network(tmp_path: Path) -> None:
    ear = state_of(SlimAudio(4))
    path = save(tmp_path / "ear.pt", {"model": ear, "average": {name: tensor + 1 for name, tensor in ear.items()}})
    network = SlimAv(4)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    load_weights(network, "scene.audio", WeightsConfig("ear.pt", digest.upper()), tmp_path)
    assert torch.equal(network.scene.audio.classify.weight, ear["classify.weight"] + 1)


def test_a_part_of_another_runs_network_is_found_in_its_checkpoint(tmp_path: Path) -> None:
    whole = state_of(SlimVisual(22))
    save(tmp_path / "run.pt", {"version": 2, "weights": whole, "history": []})
    network = SlimVisual(7)
    load_weights(network, "encoder", WeightsConfig("run.pt"), tmp_path)
    assert torch.equal(network.encoder.embed[0].weight, whole["encoder.embed.0.weight"])
    assert network.scene.classify[1].out_features == 7
    with pytest.raises(DataError, match="of another shape"):
        load_weights(network, "scene", WeightsConfig("run.pt"), tmp_path)


def test_a_network_is_built_with_the_weights_of_its_configuration(tmp_path: Path) -> None:
    config = load_config(CONFIGS / "wave.toml", ['model.weights.branch.file="branch.safetensors"'])
    fresh = build_network(config, 3)
    branch = state_of(fresh.get_submodule("branch"))
    with pytest.raises(DataError, match=r"branch\.safetensors: expected a file of weights, got: No such file"):
        build_network(config, 3, tmp_path)
    save(tmp_path / "branch.safetensors", branch)
    built = build_network(config, 3, tmp_path)
    assert torch.equal(built.get_parameter("branch.filters.low"), branch["filters.low"])


class Loud:
    """Something a pickle would run."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return print, ("run",)


def write_loud(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": Loud()}))


def write_loud_torch(path: Path) -> None:
    torch.save({"weight": Loud()}, path)


def write_part(path: Path) -> None:
    save(path, {"weight": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:-40])


def write_numbers(path: Path) -> None:
    torch.save({"weight": [1, 2, 3], "bias": 3}, path)


def write_list(path: Path) -> None:
    torch.save([torch.zeros(3)], path)


@pytest.mark.parametrize(
    ("name", "write", "expected"),
    [
        ("empty.pt", lambda path: path.write_bytes(b""), "plain values alone, got 0 bytes; get a fresh copy"),
        ("empty.safetensors", lambda path: path.write_bytes(b""), "a .safetensors file, got 0 bytes; get a fresh copy"),
        ("text.pt", lambda path: path.write_text("weights"), 'alone, got text, which begins with "weights"; get a'),
        ("text.safetensors", lambda path: path.write_text("weights"), 'file, got text, which begins with "weights"; '),
        ("loud.pt", write_loud, "tensors and plain values alone, got a pickle that would call builtins.print; convert"),
        ("loud_torch.pt", write_loud_torch, "would call builtins.print; convert it where you trust it, with: "),
        ("part.safetensors", write_part, "got a damaged .safetensors file, a part of one, or one with another"),
        ("part.pt", write_part, "plain values alone, got a damaged archive, or a part of one; get a fresh copy"),
        ("numbers.pt", write_numbers, "expected plain tensors by name, got something else at weight, bias"),
        ("list.pt", write_list, "expected tensors by name, got list"),
        ("nothing.pt", lambda path: torch.save({}, path), "expected tensors by name, got none"),
        ("folder.pt", Path.mkdir, "expected a file of weights, got: Is a directory"),
        ("absent.pt", lambda _path: None, "expected a file of weights, got: No such file or directory"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_weights_is_refused(
    name: str, write: Callable[[Path], object], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / name)
    with pytest.raises(DataError) as raised:
        read_weights(tmp_path / name)
    assert expected in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / name))
    assert "\n" not in str(raised.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_checkpoint_is_refused_or_read(zipped: bool, tmp_path: Path) -> None:
    whole = tmp_path / "whole.pt"
    torch.save({"weight": torch.ones(4, 4)}, whole, _use_new_zipfile_serialization=zipped)
    data, path = whole.read_bytes(), tmp_path / "file.pt"
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[random.integers(len(data))] = random.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(DataError):
            read_weights(path)


def test_an_altered_file_is_not_even_read(tmp_path: Path) -> None:
    write_loud(tmp_path / "file.pt")
    with pytest.raises(DataError, match=r"expected the SHA-256 00+, got [0-9a-f]{64}; fetch the file again"):
        read_weights(tmp_path / "file.pt", "0" * 64)


def test_a_file_outside_the_data_folder_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "data"
    inside.mkdir()
    outside = save(tmp_path / "file.pt", state_of(SlimAudio(3)))
    (inside / "link.pt").symlink_to(outside)
    for name in ("../file.pt", str(outside), "link.pt"):
        with pytest.raises(ConfigError, match=r"model\.weights\.\"\": expected a path inside the data folder"):
            load_weights(SlimAudio(3), "", WeightsConfig(name), inside)


def faults(network: nn.Module, weights: dict[str, Tensor]) -> str:
    """What is said of weights that are not a network's; nothing of it was changed."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(DataError) as raised:
        fit_weights(network, weights, "file")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_weights_of_another_network_are_counted_and_the_first_named() -> None:
    network = Wave(3)
    own = state_of(network)
    lacking = {name: tensor for name, tensor in own.items() if "head" not in name}
    said = faults(network, lacking)
    assert "got 14 missing (head.layers.1.weight, head.layers.1.bias, head.layers.3.weight, …);" in said
    assert "got 1 unexpected (other)" in faults(network, {**own, "other": torch.zeros(1)})
    assert "1 of another shape (head.layers.9.bias); are these weights of this network" in faults(
        network, {**own, "head.layers.9.bias": torch.zeros(10)}
    )
    other = faults(network, state_of(SlimAudio(3)))
    assert "expected the" in other
    assert "missing (branch.filters.low, branch.filters.band, branch.first.0.weight, …)" in other
    assert "unexpected (stem.0.weight, " in other


def test_numbers_that_are_none_are_refused() -> None:
    network = SlimAudio(3)
    weights = state_of(network)
    weights["classify.bias"][1] = torch.nan
    assert faults(network, weights) == "file: expected finite numbers, got others in classify.bias"


@pytest.mark.parametrize(
    "weights",
    [
        {f"vision_model.encoder.layers.0.self_attn.{letter}_proj.weight": torch.zeros(size, 4)
         for letter, size in (("q", 4), ("k", 5), ("v", 4))},
        {f"vision_model.encoder.layers.0.self_attn.{letter}_proj.bias": torch.tensor(0.0) for letter in "qkv"},
        {"visual.proj": torch.zeros(3)},
        {"visual.proj": torch.zeros(2, 3, 4)},
    ],
)  # fmt: skip
def test_published_names_with_other_shapes_are_refused(weights: Weights) -> None:
    assert "expected the 152 tensors of ClipVisual, got" in faults_on_meta(weights)


def faults_on_meta(weights: Weights) -> str:
    """What is said of weights that are not CLIP's tower."""
    with torch.device("meta"):
        tower = ClipVisual()
    with pytest.raises(DataError) as raised:
        fit_weights(tower, weights, "file")
    return str(raised.value)
