"""The networks keep their budget and give the shapes they promise."""

from __future__ import annotations

import pytest
import torch

from trainer.config import ModelConfig
from trainer.errors import ConfigError
from trainer.models import build_model
from trainer.models.counts import count_parameters
from trainer.models.macs import count_macs
from trainer.models.ours import OURS


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_network_answers_every_window_of_a_batch_alone(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(ModelConfig(name=name), 10).eval()
    features = torch.randn(5, 1, 64, 48)
    with torch.inference_mode():
        logits = model(features)
        alone = torch.cat([model(part) for part in features.split(1)])
    assert logits.shape == (5, 10)
    torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_record_describes_our_network(name: str) -> None:
    with torch.device("meta"):
        model = build_model(ModelConfig(name=name), 10)
        inputs = [torch.empty(1, *shape) for shape in OURS[name].inputs.values()]
        assert count_parameters(model).parameters == OURS[name].parameters
        assert count_macs(model, *inputs) == OURS[name].macs


def test_the_slim_audio_network_is_slim() -> None:
    model = build_model(ModelConfig(name="slim_audio"), 10)
    assert sum(parameter.numel() for parameter in model.parameters()) <= 130_000


def test_dropout_is_the_configured_one() -> None:
    model = build_model(ModelConfig(dropout=0.35), 3)
    assert [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)] == [0.35]


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(ConfigError, match=r"model\.name: expected one of slim_audio, se_audio, .*, got 'vgg'"):
        build_model(ModelConfig(name="vgg"), 3)
