"""EfficientAT: sizes as published, and the answers of its authors' arithmetic, from a file of their names."""

from __future__ import annotations

import pytest
import torch
from support.efficientat import augment_mel, authors, published_efficientat, sounds

from trainer.errors import DataError
from trainer.models.efficientat import N_MELS, EfficientAt
from trainer.models.macs import count_macs
from trainer.models.pretrained import fit_weights

PUBLISHED = {0.4: 0.983, 0.5: 1.43, 1.0: 4.88, 2.0: 17.91, 3.0: 39.09, 4.0: 68.43}
"""Width to millions of parameters, as its authors' table has them."""


@pytest.mark.parametrize("width", PUBLISHED)
def test_it_has_as_many_parameters_as_published(width: float) -> None:
    with torch.device("meta"):
        network = EfficientAt(width)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    # 0.9836 million stand in the table as 0.983
    assert n_parameters / 1e6 == pytest.approx(PUBLISHED[width], abs=0.0007 if width == 0.4 else 0.005)
    assert network.embedding_size == round(960 * width)


@pytest.mark.parametrize("width", [0.1, 0.4, 0.5, 1.0])
def test_it_answers_as_its_authors_arithmetic_from_a_published_file(width: float) -> None:
    state = published_efficientat(width, seed=3)
    network = EfficientAt(width).eval()
    fit_weights(network, state, "mn.pt")
    features = augment_mel(sounds(torch.Generator().manual_seed(1)))
    tags, pooled = authors(state, features)
    with torch.no_grad():
        answered, embedded = network(features[:, None]), network.embed(features[:, None])
    torch.testing.assert_close(answered, tags, rtol=0, atol=2e-5 * float(tags.abs().max()))
    torch.testing.assert_close(embedded, pooled, rtol=0, atol=2e-5 * float(pooled.abs().max()))
    assert float(tags.abs().max()) > 1
    assert float(pooled.std(dim=0).mean()) > 0.1  # windows are told apart


@pytest.mark.parametrize(("width", "billions"), [(0.4, 0.11), (1.0, 0.54), (4.0, 8.03)])
def test_ten_seconds_cost_what_is_published(width: float, billions: float) -> None:
    with torch.device("meta"):
        macs = count_macs(EfficientAt(width), torch.zeros(1, 1, N_MELS, 1000))
    assert macs / 1e9 == pytest.approx(billions, abs=0.005)


def test_a_gate_over_bands_is_another_network() -> None:
    state = published_efficientat(0.4)
    state["features.4.block.2.conc_se_layers.1.fc1.weight"] = torch.zeros(8, 16)
    with pytest.raises(DataError, match=r"1 unexpected \(features\.4\.block\.2\.conc_se_layers\.1\.fc1\.weight\)"):
        fit_weights(EfficientAt(0.4), state, "mn.pt")
    state = published_efficientat(0.4)
    state["features.4.block.2.conc_se_layers.0.fc1.weight"] = torch.zeros(8, 16)
    with pytest.raises(DataError, match=r"1 of another shape \(features\.4\.block\.2\.squeeze\.weight\)"):
        fit_weights(EfficientAt(0.4), state, "mn.pt")
