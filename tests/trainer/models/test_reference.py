"""The table of published systems agrees with the networks it builds, and says what its figures were measured on."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from trainer.models.counts import count_parameters
from trainer.models.macs import count_macs
from trainer.models.reference import REFERENCES


@pytest.mark.parametrize("name", REFERENCES)
def test_record_describes_its_network(name):
    reference = REFERENCES[name]
    with torch.device("meta"):
        network = reference.build()
        inputs = [torch.empty(1, *shape) for shape in reference.inputs.values()]
        assert count_parameters(network).parameters == reference.parameters
        assert count_macs(network, *inputs) == reference.macs
        answer = network.eval()(*inputs)
    logits = answer if isinstance(answer, torch.Tensor) else answer.fused
    assert logits.shape == (1, 10)


@pytest.mark.parametrize("name", REFERENCES)
def test_networks_answer_any_number_of_labels(name):
    reference = REFERENCES[name]
    with torch.device("meta"):
        inputs = [torch.empty(2, *shape) for shape in reference.inputs.values()]
        answer = reference.build(6).eval()(*inputs)
    logits = answer if isinstance(answer, torch.Tensor) else answer.fused
    assert logits.shape == (2, 6)


def test_a_figure_has_a_protocol():
    for name, reference in REFERENCES.items():
        assert reference.name == name
        assert (reference.accuracy is None) == (reference.protocol is None), name
        assert reference.accuracy is None or 0 < reference.accuracy < 1
        assert reference.log_loss is None or reference.accuracy is not None


def test_protocols_keep_seconds_and_clips_and_corpora_apart():
    def unit(name):
        return REFERENCES[name].protocol.corpus, REFERENCES[name].protocol.unit

    assert unit("se_crnn") == unit("wave_spec") == unit("baseline_1b")
    assert unit("resnet_clip") != unit("se_crnn")
    assert len({unit(name) for name in ("se_crnn", "resnet_clip", "clip_probe", "subspectral", "cp_mobile")}) == 5


def test_records_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        REFERENCES["wave"].accuracy = 0.99
    with pytest.raises(TypeError):
        REFERENCES["mine"] = REFERENCES["wave"]
