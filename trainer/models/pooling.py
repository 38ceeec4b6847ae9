"""Adaptive average pooling over time as a constant matrix, which exports even where the lengths do not divide."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TimePool(nn.Module):
    """Average pooling into `n_out` windows over `n_in` steps, placed as in `nn.AdaptiveAvgPool1d`.

    Window i spans ⌊i·n_in / n_out⌋ up to ⌈(i + 1)·n_in / n_out⌉; windows overlap where the lengths do not divide. ONNX
    has no such pooling, so it is a product with a constant matrix.
    """

    matrix: Tensor

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.register_buffer("matrix", averaging_matrix(n_in, n_out), persistent=False)

    def forward(self, steps: Tensor) -> Tensor:
        """[…, n_in] to […, n_out]."""
        return steps @ self.matrix


def averaging_matrix(n_in: int, n_out: int) -> Tensor:
    """[n_in, n_out]: column i holds 1 / length in the rows of window i, zero elsewhere."""
    columns = []
    for index in range(n_out):
        start, end = index * n_in // n_out, -(-(index + 1) * n_in // n_out)
        columns.append([1 / (end - start) if start <= step < end else 0.0 for step in range(n_in)])
    return torch.tensor(columns).T.contiguous()
