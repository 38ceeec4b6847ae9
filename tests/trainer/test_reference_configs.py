"""Every configuration: its network takes its inputs, learns from a batch, and answers in its graphs as in PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.networks import settle
from support.trt_operators import unknown_operators
from torch import Tensor, nn

from engines.ort import OrtEngine
from trainer.config import Config, load_config
from trainer.errors import ConfigError
from trainer.inputs import EMBEDDINGS, FRAMES, PRESENCE
from trainer.models.counts import count_parameters
from trainer.models.graph import export_graph
from trainer.models.ours import OURS
from trainer.models.reference import REFERENCES
from trainer.models.sizes import TAKES, config_of, window_shapes
from trainer.models.systems import System, build_network, check_inputs, deploy, run_network, training_loss

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL_FRAMES = ("video.width=64", "video.height=64")
ONE_SECOND = ("window.seconds=1.0", "window.default_step_seconds=0.5")
QUICKER = {
    "se_visual": SMALL_FRAMES,
    "se_crnn": SMALL_FRAMES,
    "slim_av": SMALL_FRAMES,
    "slim_visual": SMALL_FRAMES,
    "resnet_audio": ONE_SECOND,
    "resnet_clip": (*ONE_SECOND, "video.frame_times_seconds=[0.5]"),
    "clip_probe": (*ONE_SECOND, "video.frame_times_seconds=[0.5]"),
    "clip_zero_shot": (*ONE_SECOND, "video.frame_times_seconds=[0.5]"),
}
"""Smaller inputs of the same networks."""
SLOW = {"se_visual", "se_crnn", "resnet_audio", "resnet_clip", "clip_probe", "clip_zero_shot"}
STEMS = sorted(path.stem for path in CONFIGS.glob("*.toml"))
VARIANTS = [
    *(pytest.param(stem, (), id=stem, marks=pytest.mark.slow if stem in SLOW else ()) for stem in STEMS),
    pytest.param("se_audio", ("audio.channels=mono",), id="se_audio mono"),
    pytest.param("se_audio", ("audio.channels='left,right'", "model.options.base=8"), id="se_audio 8-16-32 stereo"),
    pytest.param("se_crnn", ("model.name=se_crnn_early",), id="se_crnn_early", marks=pytest.mark.slow),
    pytest.param("cp_mobile", ("model.name=cp_mobile_baseline",), id="cp_mobile_baseline"),
    pytest.param("wave_spec", ("model.options.join=concat",), id="wave_spec concatenated"),
    pytest.param("slim_audio", ("audio.channels='left,right'",), id="slim_audio stereo"),
    pytest.param("slim_av", ("video.frame_times_seconds=[0.4, 0.9]",), id="slim_av two frames"),
]
"""Configurations and what is set over them."""
BATCHES = (1, 2, 5)


def read(stem: str, settings: tuple[str, ...] = ()) -> Config:
    """A configuration of this project."""
    return load_config(CONFIGS / f"{stem}.toml", settings)


def draw(config: Config, system: System, n: int) -> dict[str, Tensor]:
    """Inputs of n windows, in the range the network is trained with."""
    shapes = window_shapes(config)
    inputs = {name: torch.randn(n, *shapes[name]) for name in system.inputs if name in shapes}
    if system.name.startswith("resnet"):
        inputs["features"] = 15 * inputs["features"] - 70
    if FRAMES in inputs and config.video is not None and config.video.scale == 1:
        inputs[FRAMES] = 40 * inputs[FRAMES] + 128
    if PRESENCE in system.inputs:
        inputs[PRESENCE] = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])[torch.arange(n) % 3]
    return inputs


def moderate(network: nn.Module) -> nn.Module:
    """Statistics as of a trained network, and logits near ten: in the thousands, float32 has no probabilities left."""
    settle(network)
    with torch.no_grad():
        for name, layer in network.named_modules():
            if (
                name in ("classify", "scene.head.classify")
                and isinstance(layer, nn.Linear)
                and layer.in_features >= 2048
            ):
                layer.weight.div_(200)
    return network


def test_every_network_has_a_configuration_and_every_configuration_a_network() -> None:
    named = {str(config_of(name)).split()[0] for name in TAKES}
    assert named <= {f"configs/{stem}.toml" for stem in STEMS}
    assert {read(stem).model.name for stem in STEMS} | {"se_crnn_early", "cp_mobile_baseline"} == set(TAKES)
    assert set(TAKES) == {name for name in (*OURS, *REFERENCES) if not name.startswith("baseline_1b")}


@pytest.mark.parametrize("stem", STEMS)
def test_a_configuration_gives_the_network_as_published(stem: str) -> None:
    config = read(stem)
    system = check_inputs(config)
    record = {**REFERENCES, **OURS}[system.name]
    shapes = window_shapes(config)
    assert tuple(record.inputs) == system.inputs
    for name, shape in shapes.items():
        assert shape == record.inputs[name]
    with torch.device("meta"):
        network = build_network(config, 10)
    assert count_parameters(network).parameters == record.parameters
    assert all(step.parts for step in config.train.steps)


@pytest.mark.parametrize("name", [*(name for name in TAKES if "_early" in name or "_baseline" in name)])
def test_the_advice_of_the_table_is_a_configuration(name: str) -> None:
    file, _, setting = str(config_of(name)).split()
    assert check_inputs(read(Path(file).stem, (setting,))).name == name


@pytest.mark.parametrize(("stem", "settings"), VARIANTS)
def test_one_step_then_graphs_that_answer_alike(stem: str, settings: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    config = read(stem, (*QUICKER.get(stem, ()), *settings))
    system = check_inputs(config)
    network = build_network(config, 4)
    one_step(config, system, network)
    moderate(network)
    inputs = draw(config, system, max(BATCHES))
    with torch.no_grad():
        logits = run_network(system, network, inputs)
    deployed = deploy(system, network)
    assert deployed.outputs == tuple(logits)
    assert (deployed.encoder is not None) == (FRAMES in inputs)
    if deployed.encoder is not None:
        images = inputs.pop(FRAMES)
        with torch.no_grad():
            inputs[EMBEDDINGS] = torch.stack([deployed.encoder(images[:, slot]) for slot in range(images.shape[1])], 1)
        encoded = {"embedding": inputs[EMBEDDINGS].flatten(0, 1)}
        if stem not in ("resnet_clip", "clip_zero_shot"):  # whose encoder is clip_probe's
            same_answers(deployed.encoder, {"image": images.flatten(0, 1)}, encoded, probabilities=False)
    scene = {name: inputs[name] for name in deployed.scene_inputs}
    same_answers(deployed.scene, scene, logits, probabilities=True)


def one_step(config: Config, system: System, network: nn.Module) -> None:
    """A step of training on random windows; the loss is a number and what is not frozen moves."""
    inputs = draw(config, system, 3)
    targets = torch.softmax(3 * torch.randn(3, 4), dim=1)
    answer = config.train.steps[0].answer if config.train.steps else "fused"
    loss, logits = training_loss(system, network.train(), inputs, targets, config.train, answer)
    assert loss.isfinite()
    assert tuple(logits) == (system.outputs if answer == "fused" else (answer,))
    assert all(head.shape == (3, 4) for head in logits.values())
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    before = [parameter.detach().clone() for parameter in trained]
    loss.backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(trained, 1e-3).step()
    assert any(not torch.equal(old, new) for old, new in zip(before, trained, strict=True))
    for name in config.model.freeze:
        assert all(parameter.grad is None for parameter in network.get_submodule(name).parameters())


def same_answers(
    network: nn.Module, inputs: dict[str, Tensor], expected: dict[str, Tensor], *, probabilities: bool
) -> None:
    """A network's graph answers as PyTorch did, in any batch."""
    graph = export_graph(network, {name: batch[:2] for name, batch in inputs.items()}, list(expected))
    assert unknown_operators(graph) == []
    with OrtEngine(graph, name="graph") as engine:
        for size in BATCHES:
            answers = engine.infer({name: batch[:size].numpy() for name, batch in inputs.items()})
            for name, wanted in expected.items():
                answer, wanted = answers[name], wanted[:size]
                # twice: PyTorch's own answer in another batch differs by as much as the graph's
                assert np.abs(answer - wanted.numpy()).max() <= 2 * 2e-6 * float(wanted.abs().max()), name
                if probabilities:
                    difference = torch.softmax(torch.from_numpy(answer), 1) - torch.softmax(wanted, 1)
                    assert float(difference.abs().max()) <= 1e-5, name


@pytest.mark.parametrize(
    ("stem", "setting", "expected"),
    [
        ("se_audio", "audio.context_seconds=0", "1 or 2 or 3 channels × 64 bands × 50 hops, got 3 × 64 × 49"),
        ("cp_mobile", "audio.feature.n_mels=128", "features of 1 channel × 256 bands × 65 hops, got 1 × 128 × 65"),
        ("spectrogram", "model.name=subspectral_1s", "any number of bands × 50 hops, got 1 × 128 × 188"),
        ("spectrogram", "audio.feature={kind='waveform'}", "1 channel × 128 bands × 188 hops, got 1 × 48000"),
        ("wave", "window.seconds=2.0", "waveform of 1 channel × 48000 samples, got 1 × 96000; set waveform.channels"),
        ("clip_probe", "video.width=192", "3 planes × 224 rows × 224 columns, got 1 × 3 × 224 × 192"),
        ("se_crnn", "video.frame_times_seconds=[0.9]", "frames of 5 frames × 3 planes"),
        ("wave", "model.name=wave_spec", "wave_spec takes features of 1 channel × 128 bands × 188 hops, got none"),
        ("wave_spec", "model.name=wave", "wave takes waveform, got features too; leave out the table [audio]"),
        ("slim_audio", "video={width=64,height=64,fit='crop',frame_times_seconds=[0.5],max_age_seconds=1}", "[video]"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_refused(stem: str, setting: str, expected: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_inputs(read(stem, (setting,)))
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_window_of_no_whole_number_of_samples_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"window\.seconds .*: expected a whole number of samples, got 0\.99999 s"):
        check_inputs(read("cp_mobile", ("window.seconds=0.99999", "window.default_step_seconds=0.5")))


def test_the_data_that_is_set_last_counts() -> None:
    assert read("cp_mobile").data.prepared == "tau-cp_mobile"
    listed = read("cp_mobile", ("data.labels=mine.csv",)).data
    assert (listed.labels, listed.prepared) == ("mine.csv", None)
    prepared = read("slim_audio", ("data.prepared=mine",)).data
    assert (prepared.labels, prepared.prepared) == (None, "mine")
