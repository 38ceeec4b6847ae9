"""What is left of a training to look at: the log, TensorBoard's file, pictures."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from trainer.fit.curves import draw_curves, draw_range_test
from trainer.fit.history import Epoch, TensorBoard, from_plain, to_plain, write_log

HISTORY = (
    Epoch(1, "1 audio", 1e-3, 2.0, 2.25, 10.0, 0.05),
    Epoch(2, "1 audio", 5e-4, 1.0, None, 9.0, 0.04),
    Epoch(3, "2 all", 1e-6, 0.5, 1.5, 8.0, 0.0),
)


def png(path: Path) -> np.ndarray:
    """[height, width, 4] of a picture."""
    return (255 * imread(path)).round().astype(np.uint8)


def has_colour(image: np.ndarray, colour: str) -> bool:
    wanted = [int(colour[index : index + 2], 16) for index in (1, 3, 5)]
    return bool((np.abs(image[..., :3].astype(int) - wanted).sum(axis=2) < 8).sum() > 20)


def test_the_log_is_a_line_an_epoch(tmp_path: Path) -> None:
    write_log(tmp_path / "log.csv", HISTORY)
    assert (tmp_path / "log.csv").read_text().splitlines() == [
        "epoch,stage,learning_rate,loss,validation_loss,seconds,data_wait",
        "1,1 audio,0.001,2.000000,2.250000,10.000,0.0500",
        "2,1 audio,0.0005,1.000000,,9.000,0.0400",
        "3,2 all,1e-06,0.500000,1.500000,8.000,0.0000",
    ]
    assert from_plain(to_plain(HISTORY)) == HISTORY


def test_tensorboard_reads_what_was_written_and_what_was_written_again(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TensorBoard(tmp_path / "board") as board:
        assert not (tmp_path / "board").exists()
        for epoch in HISTORY:
            board.add(epoch)
    with TensorBoard(tmp_path / "board") as board:  # killed after epoch 2, and resumed
        board.add(replace(HISTORY[2], loss=0.25))
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss/training")] == [(1, 2.0), (2, 1.0), (3, 0.25)]
    assert [(e.step, e.value) for e in events.Scalars("loss/validation")] == [(1, 2.25), (3, 1.5)]
    assert events.Scalars("learning_rate")[0].value == pytest.approx(1e-3)


@pytest.mark.slow
def test_nothing_is_written_and_nothing_said_where_there_is_no_tensorboard(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['tensorboard'] = None\n"
        "from pathlib import Path\n"
        "from trainer.fit.history import Epoch, TensorBoard\n"
        "with TensorBoard(Path(sys.argv[1])) as board:\n"
        "    board.add(Epoch(1, 'all', 1e-3, 2.0, None, 1.0, 0.0))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "b")], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert not (tmp_path / "b").exists()


def test_curves_show_both_losses_and_the_rate(tmp_path: Path) -> None:
    draw_curves(tmp_path / "curves.png", HISTORY, best=2)
    image = png(tmp_path / "curves.png")
    assert image.shape == (600, 840, 4)
    assert all(has_colour(image, colour) for colour in ("#1f5fa8", "#d1661c", "#8a8f98"))
    draw_curves(tmp_path / "one.png", [replace(HISTORY[0], validation_loss=None)])
    assert has_colour(png(tmp_path / "one.png"), "#1f5fa8")
    assert not has_colour(png(tmp_path / "one.png"), "#d1661c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "one.png"]


def test_a_range_test_is_drawn_though_its_losses_explode(tmp_path: Path) -> None:
    losses = [[2.0, 1.0, 1e30, float("nan")], [2.1, 0.9, 50.0, 1e9]]
    draw_range_test(tmp_path / "range.png", [1e-3, 1e-2, 1e-1, 1.0], losses, 1e-3)
    image = png(tmp_path / "range.png")
    assert has_colour(image, "#d1661c")
