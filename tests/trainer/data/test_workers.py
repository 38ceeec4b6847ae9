"""Tasks in several processes: messages, errors, deaths, and nobody left behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from support.tasks import die_at_three, die_of_real_time_signal, fail_at_three, send_for_ever, square, tell_process

from trainer.data.workers import run_tasks
from trainer.errors import TrainerError


@pytest.mark.parametrize("n_workers", [1, 2, 3])
def test_every_task_is_done_once(n_workers: int) -> None:
    got: list[int] = []
    run_tasks(square, range(8), n_workers, got.append)
    assert sorted(got) == [number * number for number in range(8)]


def test_processes_share_the_work() -> None:
    got: list[tuple[int, int]] = []
    run_tasks(tell_process, range(4), 2, got.append)
    assert {number for number, _ in got} == {0, 1, 2, 3}
    pids = {pid for _, pid in got}
    assert len(pids) == 2
    assert os.getpid() not in pids


@pytest.mark.parametrize("n_workers", [1, 2])
def test_what_a_task_raises_comes_back(n_workers: int) -> None:
    with pytest.raises(ValueError, match="three is too many"):
        run_tasks(fail_at_three, range(9), n_workers, lambda _: None)


def test_a_process_that_is_killed_is_told() -> None:
    with pytest.raises(TrainerError, match=r"got one that ended with signal SIGKILL; .* use fewer: --workers"):
        run_tasks(die_at_three, range(9), 2, lambda _: None)


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    with pytest.raises(TrainerError, match=rf"got one that ended with signal {signal.SIGRTMIN + 2}; "):
        run_tasks(die_of_real_time_signal, range(2), 2, lambda _: None)


def test_all_are_stopped_where_the_caller_stops() -> None:
    seen: set[int] = set()

    def listen(message: tuple[int, int]) -> None:
        seen.add(message[1])
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tasks(send_for_ever, range(9), 2, listen)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in seen) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [pid for pid in seen if Path(f"/proc/{pid}").exists()]


def test_nothing_to_do_is_done_at_once() -> None:
    run_tasks(square, [], 4, lambda _: None)
