"""The file of a network's answers: it comes back as it was, or one sentence says that it is something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.errors import RunError
from trainer.evaluate.answers import Answers, load_answers, save_answers

ANSWERS = Answers(np.array([3, 3, 5]), {"whole": np.eye(3, 4, dtype=np.float32), "audio": np.ones((3, 4), np.float32)})


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    save_answers(tmp_path / "deep/a.npz", ANSWERS)
    read = load_answers(tmp_path / "deep/a.npz")
    assert read.clips.tolist() == [3, 3, 5]
    assert list(read.logits) == ["whole", "audio"]
    for name, logits in ANSWERS.logits.items():
        np.testing.assert_array_equal(read.logits[name], logits)


@pytest.mark.parametrize("n_bytes", [0, 1, 4, 30, 100, 200, 400, 600, -30, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, n_bytes: int) -> None:
    save_answers(tmp_path / "a.npz", ANSWERS)
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:n_bytes])
    with pytest.raises(RunError, match=r"a\.npz: expected the answers of a network, got a broken file; delete it"):
        load_answers(tmp_path / "a.npz")


def test_every_byte_turned_over_is_answers_or_an_error(tmp_path: Path) -> None:
    save_answers(tmp_path / "a.npz", ANSWERS)
    whole = (tmp_path / "a.npz").read_bytes()
    n_refused = 0
    for position in range(0, len(whole), 3):
        (tmp_path / "a.npz").write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            load_answers(tmp_path / "a.npz")
        except RunError:
            n_refused += 1
    assert n_refused > len(whole) / 6


@pytest.mark.parametrize(
    "arrays",
    [
        {"clips": np.arange(3)},
        {"clips": np.arange(3), "logits_audio": np.ones((3, 2))},
        {"clips": np.arange(3), "logits_whole": np.ones((2, 2))},
        {"clips": np.arange(3), "logits_whole": np.ones(3)},
        {"clips": np.array(0), "logits_whole": np.array(0.0)},
        {"logits_whole": np.ones((3, 2))},
        {"clips": np.arange(3), "logits_whole": np.full((3, 2), "one")},
        {"clips": np.arange(3), "logits_whole": np.ones((3, 2), complex)},
    ],
)
def test_arrays_of_something_else_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(RunError, match=r"a\.npz: expected"):
        load_answers(tmp_path / "a.npz")


def test_a_single_array_a_folder_and_nothing_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "single.npy", np.ones(3))
    (tmp_path / "folder.npz").mkdir()
    for name in ("single.npy", "folder.npz", "nothing.npz"):
        with pytest.raises(RunError, match=f"{name}: expected the answers of a network, got "):
            load_answers(tmp_path / name)
