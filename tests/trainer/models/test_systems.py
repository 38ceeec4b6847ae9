"""The seam of the networks: what is refused, what is frozen, what the loss is made of, what is exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.networks import settle
from torch import Tensor, nn
from torch.nn import functional

from trainer.config import Config, TrainConfig, load_config
from trainer.errors import ConfigError
from trainer.inputs import EMBEDDINGS, FRAMES, PRESENCE
from trainer.models.se_crnn import SeCrnn
from trainer.models.se_visual import SeVisual
from trainer.models.sizes import TRAINABLE, config_of, window_shapes
from trainer.models.subspectral import SubSpectral
from trainer.models.systems import build_network, check_inputs, deploy, find_system, run_network, training_loss
from trainer.models.wave import Wave

CONFIGS = Path(__file__).parents[3] / "configs"
TRAIN = TrainConfig(label_smoothing=0.1, head_weight=0.3)


def read(stem: str, *settings: str) -> Config:
    """A configuration, frames small where it has any."""
    config = load_config(CONFIGS / f"{stem}.toml", settings)
    small = None if config.video is None else replace(config.video, width=32, height=32)
    return replace(config, video=small)


def draw(config: Config, n: int) -> dict[str, Tensor]:
    """Random inputs of n windows, each modality there."""
    inputs = {name: torch.randn(n, *shape) for name, shape in window_shapes(config).items()}
    return {**inputs, PRESENCE: torch.ones(n, 2)}


def targets(n: int, n_labels: int) -> Tensor:
    """Mixed labels."""
    return torch.softmax(3 * torch.randn(n, n_labels), dim=1)


@pytest.fixture(autouse=True)
def same_numbers_every_time() -> None:
    torch.manual_seed(0)


def test_an_unknown_network_is_named_and_all_known_ones() -> None:
    with pytest.raises(ConfigError) as raised:
        find_system(read("wave", "model.name=vgg"))
    assert str(raised.value) == (
        f"model.name: expected one of {', '.join(TRAINABLE)}, got 'vgg'; `trainer models` describes them"
    )
    with pytest.raises(ConfigError, match=r"got 'baseline_1b_early'; it takes OpenL3's embeddings, which nothing here"):
        find_system(read("wave", "model.name=baseline_1b_early"))
    assert config_of("baseline_1b") is None


@pytest.mark.parametrize(
    ("stem", "setting", "expected"),
    [
        ("cp_mobile", "model.dropout=0.3", "model.dropout: expected null, as cp_mobile has none, got 0.3"),
        ("cp_mobile", "model.options.groups=3", "takes base, multiplier, expansion, response_norm, got 'groups'"),
        ("wave", "model.options.join=concat", "model.options: wave takes none, got 'join'"),
        ("wave_spec", "model.options.join=both", "model.options.join: expected 'sum' or 'concat', got 'both'"),
        ("subspectral_1s", "model.options.step=1.5", "model.options.step: expected int, got 1.5"),
        ("subspectral_1s", "model.options.group=15", "model.options: expected groups of a multiple of ten bands"),
        ("se_audio", "model.options.base=7", "model.options: base: expected an even number of channels, got 7"),
        ("wave", "model.freeze=['encoder']", "model.freeze: expected a part of the network, as branch, branch.filters"),
        ("wave", "model.weights.trunk.file=x", "model.weights: expected a part of the network, as branch"),
        ("wave", "train.steps=[{parts=['bran']}]", "train.steps[0].parts: expected a part of the network, as branch"),
        ("wave", "train.steps=[{parts=[''],answer='audio'}]", "steps[0].answer: expected one of fused, got 'audio'"),
    ],
)  # fmt: skip
def test_what_a_network_does_not_have_is_refused_at_once(stem: str, setting: str, expected: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_inputs(read(stem, setting))
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_options_and_dropout_reach_the_network() -> None:
    network = build_network(read("subspectral_1s", "model.options.group=10", "model.dropout=0.1"), 10)
    assert isinstance(network, SubSpectral)
    assert (network.group, len(network.groups)) == (10, 4)
    assert {layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)} == {0.1}
    assert isinstance(build_network(read("wave_spec", "model.options.join=concat"), 3), nn.Module)


def test_frozen_parts_take_no_gradients() -> None:
    network = build_network(read("slim_av", "model.freeze=['encoder', 'scene.audio']"), 3)
    moving = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert moving
    assert all(name.startswith(("scene.video", "scene.gate")) for name in moving)


def test_logits_a_head() -> None:
    heads = {"slim_av": ("fused", "audio", "video"), "spectrogram": ("fused",), "subspectral_1s": ("fused",)}
    for stem, names in heads.items():
        config = read(stem)
        system = check_inputs(config)
        network = build_network(config, 4).eval()
        with torch.no_grad():
            logits = run_network(system, network, draw(config, 2))
        assert tuple(logits) == system.outputs == names
        assert all(head.shape == (2, 4) for head in logits.values())


def test_one_head_alone_needs_no_work_of_the_others() -> None:
    config = read("se_crnn")
    system = check_inputs(config)
    network = settle(build_network(config, 4))
    inputs = draw(config, 2)
    encoded: list[int] = []
    network.get_submodule("encoder").register_forward_hook(lambda *_: encoded.append(1))
    with torch.no_grad():
        whole = run_network(system, network, inputs)
        assert len(encoded) == 1
        audio = run_network(system, network, inputs, "audio")
    assert list(audio) == ["audio"]
    assert len(encoded) == 1
    torch.testing.assert_close(audio["audio"], whole["audio"])


def test_embeddings_stand_for_frames() -> None:
    config = read("slim_av", "video.frame_times_seconds=[0.4, 0.9]")
    system = check_inputs(config)
    network = settle(build_network(config, 4))
    inputs = draw(config, 3)
    with torch.no_grad():
        whole = run_network(system, network, inputs)
        frames = inputs.pop(FRAMES)
        inputs[EMBEDDINGS] = torch.stack([network.get_submodule("encoder")(frames[:, slot]) for slot in range(2)], 1)
        known = run_network(system, network, inputs)
    for head in system.outputs:
        torch.testing.assert_close(known[head], whole[head], rtol=1e-4, atol=1e-5)


def test_loss_of_a_plain_network_is_the_smoothed_cross_entropy() -> None:
    config = read("wave")
    system, network, inputs, wanted = (
        check_inputs(config),
        build_network(config, 4).eval(),
        draw(config, 3),
        targets(3, 4),
    )
    loss, logits = training_loss(system, network, inputs, wanted, TRAIN)
    expected = functional.cross_entropy(logits["fused"], wanted, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)


def test_heads_are_trained_where_their_modality_is_there() -> None:
    config = read("slim_av")
    system, network, inputs, wanted = (
        check_inputs(config),
        build_network(config, 4).eval(),
        draw(config, 4),
        targets(4, 4),
    )
    inputs[PRESENCE] = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    loss, logits = training_loss(system, network, inputs, wanted, replace(TRAIN, label_smoothing=0.0))
    of = {
        name: [functional.cross_entropy(head[n : n + 1], wanted[n : n + 1]).item() for n in range(4)]
        for name, head in logits.items()
    }
    audio, video = sum(of["audio"][n] for n in (0, 1, 3)), sum(of["video"][n] for n in (0, 2, 3))
    assert float(loss.detach()) == pytest.approx((sum(of["fused"]) + 0.3 * (audio + video)) / 4, rel=1e-5)
    alone, _ = training_loss(system, network, inputs, wanted, replace(TRAIN, label_smoothing=0.0), "video")
    assert float(alone.detach()) == pytest.approx(sum(of["video"]) / 4, rel=1e-5)
    plain, _ = training_loss(system, network, inputs, wanted, replace(TRAIN, label_smoothing=0.0, head_weight=0.0))
    assert float(plain.detach()) == pytest.approx(sum(of["fused"]) / 4, rel=1e-5)


def test_groups_of_subspectral_are_trained_along_and_the_penalty_is_added() -> None:
    config = read("subspectral_1s")
    system, network, inputs, wanted = (
        check_inputs(config),
        build_network(config, 4).eval(),
        draw(config, 3),
        targets(3, 4),
    )
    assert isinstance(network, SubSpectral)
    loss, logits = training_loss(system, network, inputs, wanted, TRAIN)
    answers = network(inputs["features"])
    heads = [answers.fused, *answers.groups.unbind(1)]
    expected = sum(functional.cross_entropy(head, wanted, label_smoothing=0.1) for head in heads) + network.penalty()
    torch.testing.assert_close(loss, expected)
    assert torch.equal(logits["fused"], answers.fused)


@pytest.mark.parametrize("kind", [SeVisual, SeCrnn])
def test_penalties_of_the_visual_networks(kind: type[nn.Module]) -> None:
    with torch.no_grad():
        network = kind(3)
        [last] = [
            layer for name, layer in network.named_modules() if name.endswith(("scene.classify", "visual.classify"))
        ]
        assert float(network.penalty()) == pytest.approx(1e-3 * float(last.weight.square().sum()), rel=1e-5)  # type: ignore[operator]


def test_what_is_deployed_is_a_copy_in_evaluation_mode() -> None:
    config = read("slim_av")
    system, network = check_inputs(config), build_network(config, 4)
    deployed = deploy(system, network)
    assert deployed.scene_inputs == ("features", "embeddings", "presence")
    assert deployed.outputs == ("fused", "audio", "video")
    assert deployed.encoder is not None
    for part in (deployed.scene, deployed.encoder):
        assert not any(module.training for module in part.modules())
    with torch.no_grad():
        next(deployed.scene.parameters()).add_(1)
    assert not torch.equal(next(deployed.scene.parameters()), next(network.get_submodule("scene").parameters()))
    assert network.training


def test_learned_filters_are_folded_and_side_answers_left_out() -> None:
    config = read("wave")
    system, network = check_inputs(config), build_network(config, 4)
    assert isinstance(network, Wave)
    scene = deploy(system, network).scene
    assert isinstance(scene, Wave)
    assert type(scene.branch.filters) is nn.Conv1d
    assert type(network.branch.filters) is not nn.Conv1d
    config = read("subspectral_1s")
    system = check_inputs(config)
    assert isinstance(deploy(system, build_network(config, 4)).scene(draw(config, 2)["features"]), Tensor)


def test_a_step_about_one_modality_leaves_the_other_idle() -> None:
    config = read("se_crnn")
    system, network = check_inputs(config), settle(build_network(config, 4))
    inputs, wanted = draw(config, 2), targets(2, 4)
    ran: list[str] = []
    for name in ("encoder", "scene.audio", "scene.gru"):
        network.get_submodule(name).register_forward_hook(lambda _module, _given, _answer, name=name: ran.append(name))
    with torch.no_grad():
        loss, logits = training_loss(system, network, inputs, wanted, TRAIN, "audio")
        assert (ran, set(logits)) == (["scene.audio"], {"audio"})
        expected = functional.cross_entropy(logits["audio"], wanted, label_smoothing=0.1) + network.penalty()  # type: ignore[operator]
        torch.testing.assert_close(loss, expected)
        ran.clear()
        training_loss(system, network, inputs, wanted, TRAIN, "video")
        assert ran == ["encoder"]
