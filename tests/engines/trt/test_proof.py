"""The parity gate: how golden cases go through a plan. What it refuses is in test_build.py."""

from __future__ import annotations

from engines.check import N_CASES
from engines.trt.proof import golden_batches


def test_golden_cases_fit_any_profile() -> None:
    assert golden_batches(8) == golden_batches(32) == (1, 2, 5)
    assert golden_batches(4) == (1, 2, 4, 1)
    assert golden_batches(1) == (1,) * N_CASES
    assert all(sum(golden_batches(largest)) == N_CASES for largest in range(1, 40))
    assert all(max(golden_batches(largest)) <= largest for largest in range(1, 40))
