"""Names of weights: what DataParallel puts into them goes, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.models.naming import published_names


@pytest.mark.parametrize(
    ("stored", "ours"),
    [
        ("module.conv.weight", "conv.weight"),
        ("features.module.0.weight", "features.0.weight"),  # as torchvision's AlexNet and VGG are distributed
        ("module.module.0.bias", "0.bias"),
        ("submodule.0.weight", "submodule.0.weight"),
        ("module.submodule.0.weight", "submodule.0.weight"),
        ("conv.module", "conv.module"),
    ],
)
def test_a_distributed_networks_names_lose_the_part_named_module_alone(stored: str, ours: str) -> None:
    rename = published_names(nn.Identity())[0]
    assert list(rename({stored: torch.zeros(1)})) == [ours]


def test_a_part_whose_name_ends_in_module_keeps_it() -> None:
    network = nn.ModuleDict({"submodule": nn.Linear(2, 3)})
    assert published_names(network)[0](network.state_dict()).keys() == network.state_dict().keys()
