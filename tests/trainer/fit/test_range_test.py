"""The range test finds the rate above which training fails, and leaves a table and a picture."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from support.training import N_LABELS, TinyData, tiny_config

from trainer.errors import DataError
from trainer.fit.range_test import range_test

RATES = tuple(np.logspace(-5, 3, 17))


@pytest.mark.slow
def test_a_range_test_suggests_a_tenth_of_the_best_rate(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "train.optimizer=sgd", "train.schedule=onecycle")
    found = range_test(config, N_LABELS, TinyData().for_config(config), tmp_path / "out", rates=RATES, repetitions=3)
    lowest = [RATES[int(np.nanargmin(losses))] for losses in found.losses]
    assert found.peak == pytest.approx(np.median(lowest) / 10, rel=1e-2)
    assert 1e-3 < found.peak < 1.0
    for losses in found.losses:
        assert len(losses) == len(RATES)
        assert losses[0] == pytest.approx(np.log(N_LABELS), abs=0.3)  # a fresh network each time
        assert np.isnan(losses[-1]) or losses[-1] > 2 * losses[0]
    with (tmp_path / "out" / "range_test.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["learning_rate", "loss_1", "loss_2", "loss_3"]
    assert [float(row["learning_rate"]) for row in rows] == [pytest.approx(rate, rel=1e-5) for rate in RATES]
    assert float(rows[3]["loss_2"]) == pytest.approx(found.losses[1][3], abs=1e-6)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["range_test.csv", "range_test.png"]


def test_a_range_test_can_be_repeated(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    tests = [
        range_test(config, N_LABELS, TinyData().for_config(config), tmp_path / name, rates=RATES[:4], repetitions=2)
        for name in ("one/run", "two/run")
    ]
    assert tests[0] == tests[1]


def test_without_batches_there_is_one_error(tmp_path: Path) -> None:
    class Empty(TinyData):
        def batches(self, *_arguments):
            return iter(())

    config = tiny_config(tmp_path)
    with pytest.raises(DataError, match="expected a batch of training windows at least, got none"):
        range_test(config, N_LABELS, Empty().for_config(config), tmp_path / "out")
    assert not (tmp_path / "out").exists()
