"""Checkpoints are whole, run no code, and are refused where they are something else."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.training import tiny_config

from trainer.errors import RunError, TrainerError
from trainer.fit.checkpoint import check_same, checkpoint_bytes, describe, flatten, load_checkpoint, parse_checkpoint
from trainer.fit.checkpoint import save_checkpoint as save

STATE = {"version": 2, "x": torch.arange(300.0), "history": [{"loss": 0.5, "stage": "all"}]}
BYTES = checkpoint_bytes(STATE)


def test_a_checkpoint_is_whole_and_runs_no_code(tmp_path: Path) -> None:
    save(tmp_path / "a.pt", STATE)
    loaded = load_checkpoint(tmp_path / "a.pt")
    assert loaded["history"] == [{"loss": 0.5, "stage": "all"}]
    assert torch.equal(loaded["x"], torch.arange(300.0))
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Path("/"), protocol=2))
    (tmp_path / "text.pt").write_text("no checkpoint")
    for name in ("evil.pt", "text.pt"):
        with pytest.raises(RunError, match="expected a checkpoint, got another file"):
            load_checkpoint(tmp_path / name)
    with pytest.raises(RunError, match="expected a checkpoint, got: No such file"):
        load_checkpoint(tmp_path / "none.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(RunError, match="expected a checkpoint, got a list"):
        load_checkpoint(tmp_path / "list.pt")


@settings(max_examples=150, deadline=None)
@given(cut=st.tuples(st.integers(0, len(BYTES)), st.integers(0, len(BYTES))), put=st.binary(max_size=8))
def test_whatever_became_of_its_bytes_there_is_one_error_or_a_checkpoint(cut: tuple[int, int], put: bytes) -> None:
    try:
        loaded = parse_checkpoint(BYTES[: min(cut)] + put + BYTES[max(cut) :], Path("a.pt"))
    except RunError as error:
        loaded, message = {}, str(error)
    else:
        message = "a.pt: expected a checkpoint, got it"
    assert isinstance(loaded, dict)
    assert message.startswith("a.pt: expected a checkpoint, got ")


def test_a_place_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainerError, match=r"a.pt: expected to write .* bytes, got: (Not a directory|File exists)"):
        save(tmp_path / "file" / "a.pt", STATE)


def test_what_a_checkpoint_is_of_leaves_out_what_does_not_matter(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    same = tiny_config(tmp_path, "name=other", "train.threads=2", "evaluate.folds=3", "data.prepared=elsewhere")
    assert describe(same, 3) == describe(config, 3)
    state = {"version": 2, "of": describe(config, 3)}
    check_same(state, same, 3, tmp_path)
    with pytest.raises(RunError, match="expected a checkpoint of labels = 4, as configured, got one of 3; choose"):
        check_same(state, config, 4, tmp_path)
    other = tiny_config(tmp_path, "model.dropout=0.5", "augment.mixup=0.4")
    with pytest.raises(RunError, match=r"model.dropout = 0.5, as configured, got one of null, and 1 more keys differ"):
        check_same(state, other, 3, tmp_path)


def test_keys_are_joined_by_dots() -> None:
    assert dict(flatten({"a": {"b": 1, "c": [1, {"d": 2}]}, "e": None, "f": ()})) == {
        "a.b": 1,
        "a.c": [1, {"d": 2}],
        "f": [],
    }
