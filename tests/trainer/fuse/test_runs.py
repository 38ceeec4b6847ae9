"""What runs said of what was held out, as files that can be paired: windows that overlap count once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.answers import run_config, write_run

from trainer.config import parse_config
from trainer.data.recordings import Corpus, Recording
from trainer.data.splits import Split
from trainer.errors import RunError
from trainer.fuse.pool import Expert, make_pool
from trainer.fuse.runs import calibrated, judged_run, open_both
from trainer.run import PREDICTIONS, Predictions, save_predictions, start_run

LABELS = ("bus", "park")
POOL = make_pool(Expert(LABELS, 2.0), Expert(LABELS, 1.0))


def test_a_run_on_recordings_gives_each_by_the_network_that_never_heard_it(tmp_path: Path) -> None:
    rows = tuple(
        Recording(f"{label}{n}.wav", tmp_path / f"{label}{n}.wav", label, f"place {label}{n}", "here")
        for label in LABELS
        for n in range(2)
    )
    for row in rows:
        row.path.write_bytes(row.file.encode())
    config = parse_config(run_config(data={"labels": "labels.csv"}, evaluate={"step_seconds": 0.5}))
    splits = (Split("fold-0", (1, 3), (0, 2)), Split("fold-1", (0, 2), (1, 3)), Split("final", (0, 1, 2, 3), ()))
    run = start_run(tmp_path / "run", config, Corpus(LABELS, rows, (), ()), [3.0] * 4, splits)
    logits = {}
    for split in splits[:2]:
        recordings = np.repeat(np.array(split.test, np.int64), 5)  # five windows, half a second apart
        values = np.stack([np.arange(10.0), -np.arange(10.0)], axis=1).astype(np.float32) + len(logits)
        for index in split.test:
            logits[index] = values[recordings == index]
        save_predictions(run.folder / split.name / PREDICTIONS, Predictions(values, recordings))
    heard = list(judged_run(tmp_path / "run", POOL, "audio"))
    assert [(entry.label, entry.place) for entry in heard] == [(LABELS.index(row.label), row.group) for row in rows]
    for index, entry in enumerate(heard):
        np.testing.assert_allclose(entry.evidence, POOL.evidence("audio", logits[index][::2]), atol=1e-12)
    opened = open_both(POOL, tmp_path / "run", tmp_path / "run")
    expected = calibrated(POOL, tmp_path / "run", tmp_path / "run")
    for split in splits[:2]:
        (run.folder / split.name / PREDICTIONS).unlink()  # they were read, and are not read again
    assert calibrated(POOL, *opened) == expected
    assert len(list(judged_run(opened[0], POOL, "audio"))) == len(heard)


def test_a_run_on_clips_gives_its_evaluation_split(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", LABELS)
    seen = list(judged_run(tmp_path / "run", POOL, "video"))
    wanted = [entry for entry in run.clips if entry.split == "evaluate"]
    assert [(LABELS[entry.label], entry.place) for entry in seen] == [(entry.label, entry.place) for entry in wanted]
    answers = run.answers("evaluation")
    first = answers.logits["whole"][answers.clips == answers.clips[0]]
    np.testing.assert_allclose(seen[0].evidence, POOL.evidence("video", first), atol=1e-6)


def test_a_run_that_is_not_finished_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        list(judged_run(tmp_path / "nothing", POOL, "audio"))
