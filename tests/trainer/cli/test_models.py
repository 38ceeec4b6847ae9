"""Our networks keep their budget, and what their records say of them is true."""

from __future__ import annotations

import pytest
import torch
from support.networks import settle
from torch import Tensor, nn

from trainer.models.counts import count_parameters
from trainer.models.frame_encoder import EMBEDDING, FrameEncoder
from trainer.models.macs import count_macs
from trainer.models.ours import OURS


def windows(name: str, n: int) -> list[Tensor]:
    """Inputs of n windows; presence flags are ones."""
    shapes = OURS[name].inputs
    return [torch.ones(n, *shape) if key == "presence" else torch.randn(n, *shape) for key, shape in shapes.items()]


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_network_answers_every_window_of_a_batch_alone(name: str) -> None:
    torch.manual_seed(0)
    model = OURS[name].build().eval()
    inputs = windows(name, 5)
    with torch.inference_mode():
        answers = model(*inputs)
        alone = [model(*(batch[index : index + 1] for batch in inputs)) for index in range(5)]
    for head, logits in enumerate([answers] if isinstance(answers, Tensor) else answers):
        assert logits.shape == (5, 10)
        parts = [part if isinstance(part, Tensor) else part[head] for part in alone]
        torch.testing.assert_close(logits, torch.cat(parts), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_record_describes_our_network(name: str) -> None:
    with torch.device("meta"):
        model = OURS[name].build()
        inputs = [torch.empty(1, *shape) for shape in OURS[name].inputs.values()]
        assert count_parameters(model).parameters == OURS[name].parameters
        assert count_macs(model, *inputs) == OURS[name].macs


def test_counts_of_our_networks() -> None:
    assert (OURS["slim_audio"].parameters, OURS["slim_audio"].macs) == (85_292, 4_085_792)
    assert (OURS["slim_av"].parameters, OURS["slim_av"].macs) == (541_316, 30_088_320)
    with torch.device("meta"):
        slim_av = OURS["slim_av"].build()
        parts = [slim_av.get_submodule(name) for name in ("encoder", "scene", "scene.audio", "scene.gate")]
        assert [count_parameters(part).parameters for part in parts] == [445_036, 96_280, 85_292, 9_378]
        assert count_macs(slim_av.get_submodule("encoder"), torch.empty(1, 3, 160, 160)) == 25_991_584


def test_our_networks_are_slim() -> None:
    with torch.device("meta"):
        audio, frames = OURS["slim_audio"].build(), FrameEncoder()
    assert count_parameters(audio).parameters <= 130_000
    assert count_parameters(frames).parameters <= 1_000_000


def test_the_frame_encoder_takes_any_size() -> None:
    torch.manual_seed(0)
    encoder = FrameEncoder().eval()
    with torch.inference_mode():
        for size in ((96, 96), (160, 160), (128, 224)):
            embedding = encoder(torch.randn(2, 3, *size))
            assert embedding.shape == (2, EMBEDDING)
            assert embedding.min() >= 0


@pytest.mark.parametrize("name", sorted(OURS))
def test_dropout_and_channels_are_the_configured_ones(name: str) -> None:
    hears = "features" in OURS[name].inputs
    model = OURS[name].build(3, dropout=0.35, **({"n_channels": 2} if hears else {}))
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.35}
    channels = [module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert (2 in channels) is hears


def test_a_relative_ear_hears_no_gain() -> None:
    torch.manual_seed(0)
    features = torch.randn(3, 2, 64, 48)
    kept, relative = (OURS["slim_audio"].build(4, n_channels=2, relative=value).eval() for value in (False, True))
    settle(kept)
    relative.load_state_dict(kept.state_dict())
    with torch.inference_mode():
        moved, still = ((net(features + 1.7) - net(features)).abs().max() for net in (kept, relative))
        assert still < moved / 100
        centred = features - features.mean(dim=(1, 2, 3), keepdim=True)
        torch.testing.assert_close(relative(features), kept(centred), rtol=0, atol=1e-6)
