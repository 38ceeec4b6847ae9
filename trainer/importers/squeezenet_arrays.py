"""Converts the 152 arrays in which SqueezeNet on Places365 was published to weights of `trainer.models.squeezenet`.

Each convolution except the last consists of six arrays: kernels [out, in, h, w], which must be flipped because their
framework convolves where others correlate; biases; and its batch normalisation's shift, scale, mean and inverse
standard deviation:

    y = (conv − mean) · scale · inverse + shift

which is folded into kernels and biases, in double precision.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.errors import DataError
from trainer.importers.files import Arrays
from trainer.models.naming import Weights
from trainer.models.squeezenet import FIRES

_N_LABELS = 365
_PARTS = ("kernels", "biases", "shifts", "scales", "means", "inverse deviations")


def squeezenet_weights(arrays: Arrays, where: str) -> Weights:
    """Convert the arrays to weights by name.

    Args:
        arrays: arr_0 … arr_151.
        where: The file, for error messages.

    Raises:
        DataError: An array is missing, has another shape or is not finite, or there are more of them.
    """
    weights: Weights = {}
    number = 0
    for name, shape in _layers():
        n_parts = 2 if name == "conv10" else len(_PARTS)
        wanted = [shape, *[(shape[0],)] * (n_parts - 1)]
        parts = []
        for part, part_shape in zip(_PARTS, wanted, strict=False):
            parts.append(_take(arrays, number, part_shape, f"{part} of {name}", where))
            number += 1
        kernels, biases = _folded(parts)
        weights[f"{name}.weight"], weights[f"{name}.bias"] = torch.from_numpy(kernels), torch.from_numpy(biases)
    if len(arrays) > number:
        raise DataError(f"{where}: expected the {number} arrays of SqueezeNet on Places365, got {len(arrays)}")
    return weights


def _layers() -> list[tuple[str, tuple[int, ...]]]:
    """Name and kernel shape of each convolution, in the order of the file."""
    layers: list[tuple[str, tuple[int, ...]]] = [("conv1", (64, 3, 3, 3))]
    for index, (n_in, squeezed, expanded) in enumerate(FIRES):
        layers.append((f"fires.{index}.squeeze", (squeezed, n_in, 1, 1)))
        layers.append((f"fires.{index}.expand1", (expanded, squeezed, 1, 1)))
        layers.append((f"fires.{index}.expand3", (expanded, squeezed, 3, 3)))
    return [*layers, ("conv10", (_N_LABELS, 512, 1, 1))]


def _take(arrays: Arrays, number: int, shape: tuple[int, ...], what: str, where: str) -> NDArray[np.float64]:
    """Return one array of the file, once its shape and values are checked."""
    array = arrays.get(f"arr_{number}")
    if array is None or array.shape != shape:
        got = "nothing" if array is None else str(list(array.shape))
        raise DataError(
            f"{where}: arr_{number}: expected {what}, {list(shape)}, got {got}; are these the arrays of SqueezeNet on "
            "Places365, in their order?"
        )
    if not np.isfinite(array).all():
        raise DataError(f"{where}: arr_{number}: expected finite numbers, {what}, got NaN or infinity")
    return array.astype(np.float64)


def _folded(parts: list[NDArray[np.float64]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernels and biases for correlation, with the normalisation folded in."""
    kernels, biases = parts[0][:, :, ::-1, ::-1], parts[1]
    if len(parts) > 2:
        shifts, scales, means, inverses = parts[2:]
        gain = scales * inverses
        kernels, biases = kernels * gain[:, None, None, None], (biases - means) * gain + shifts
    with np.errstate(over="ignore"):  # `fit_weights` refuses infinities
        return np.ascontiguousarray(kernels, np.float32), biases.astype(np.float32)
