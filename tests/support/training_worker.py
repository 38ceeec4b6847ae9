"""Trains the tiny network in a process of its own, to be killed or to be one of several.

python training_worker.py FOLDER MODE SETTING…       FOLDER/run/ is the run's
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

import matplotlib.backends.backend_agg  # noqa: F401
import torch._dynamo
import torch.utils.tensorboard  # noqa: F401  (like those above: so that those who are forked need not load it)
from support.training import N_LABELS, TinyData, tiny_config

from trainer.config import Config
from trainer.errors import TrainerError
from trainer.fit.loop import CHECKPOINT, fit_network


def fit(folder: Path, config: Config, data: TinyData) -> None:
    """Train, keeping a copy of each epoch's checkpoint."""
    run = folder / "run"

    def keep(epoch: int, _loss: float) -> None:
        shutil.copy(run / CHECKPOINT, folder / f"epoch-{epoch}.pt")

    fit_network(config, N_LABELS, data, run, validate=data.validate(config), on_epoch=keep)


def fit_killed(folder: Path, config: Config, data: TinyData) -> None:
    """Train in forks that are killed, each a little later than the one before, until one gets to its end."""
    for number in range(100):
        child = os.fork()
        if child == 0:
            fit(folder, config, data)
            os._exit(0)
        time.sleep(0.1 + 0.07 * number)
        if os.waitpid(child, os.WNOHANG)[0] == 0:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            continue
        print(number)
        return


def fit_shared(folder: Path, config: Config, data: TinyData) -> None:
    """Train in two processes, told as `torchrun` would; then again from the checkpoint of every epoch but the last.

    The second time FOLDER is FOLDER/after-EPOCH. What a process says of an error is in its `process-RANK.txt`.
    """
    run_two(folder, config, data)
    for epoch in range(1, len(list(folder.glob("epoch-*.pt")))):
        again = folder / f"after-{epoch}"
        (again / "run").mkdir(parents=True)
        shutil.copy(folder / f"epoch-{epoch}.pt", again / "run" / CHECKPOINT)
        run_two(again, config, data)


def run_two(folder: Path, config: Config, data: TinyData) -> None:
    """Two forks, until both have ended."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    children = []
    for rank in range(2):
        children.append(os.fork())
        if children[-1]:
            continue
        os.environ.update(told, RANK=str(rank), LOCAL_RANK=str(rank))
        try:
            fit(folder, config, data)
        except TrainerError as error:
            (folder / f"process-{rank}.txt").write_text(str(error), encoding="utf-8")
        os._exit(0)
    for child in children:
        os.waitpid(child, 0)


def fit_without_space(folder: Path, config: Config, data: TinyData) -> None:
    """Train one epoch, then into files that may not grow so large."""
    run = folder / "run"

    def shrink(epoch: int, _loss: float) -> None:
        if epoch == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    try:
        fit_network(config, N_LABELS, data, run, validate=data.validate(config), on_epoch=shrink)
    except TrainerError as error:
        print(error)
        sys.exit(error.exit_code)


def main() -> None:
    """Do what the arguments say."""
    folder, mode, *settings = sys.argv[1:]
    config = tiny_config(Path(folder) / f"settings-{os.getpid()}", *settings)
    data = TinyData().for_config(config)
    {"fit": fit, "killed": fit_killed, "shared": fit_shared, "full": fit_without_space}[mode](
        Path(folder), config, data
    )


if __name__ == "__main__":
    main()
