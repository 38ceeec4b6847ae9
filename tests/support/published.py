"""Weights under the names that their authors gave them."""

from __future__ import annotations

from trainer.models.naming import Weights


def lightning_cp_mobile(weights: Weights) -> Weights:
    """As the authors of CP-Mobile name it, in a checkpoint of PyTorch Lightning."""
    stages = (1, 1, 1, 2, 2, 3)
    renamed = {}
    for name, tensor in weights.items():
        part, *rest = name.split(".")
        if part == "stem":
            group, layer = divmod(int(rest[0]), 3)
            name = ".".join(["in_c", str(group), str(layer), *rest[1:]])
        elif part == "classify":
            name = ".".join(["feed_forward", *rest])
        else:
            block = f"stages.s{stages[int(rest[0])]}.b{int(rest[0]) + 1}"
            if rest[1] == "norm":
                name = f"{block}.after_block_norm.{ {'scale': 'gamma', 'shift': 'beta'}[rest[2]] }"
            else:
                group, layer = divmod(int(rest[2]), 3)
                name = ".".join([block, "block", str(group), str(layer), *rest[3:]])
        renamed[f"model.{name}"] = tensor
    return renamed
