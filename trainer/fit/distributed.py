"""Training in several processes, on one machine or many, as `torchrun` starts them; one alone needs none of it.

    torchrun --nproc-per-node 2 -m trainer fit configs/slim_av.toml --data FOLDER

The first process reads and writes the run's folder, and validates; the others only compute.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainer.data.batch import Process
from trainer.errors import ConfigError, TrainerError

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What `torchrun` tells each process."""
_PATIENCE = timedelta(hours=2)
"""How long processes wait for one another: the first one validates meanwhile."""
_BATCH_NORMS: Mapping[type[nn.Module], None] = dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d))


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of a training, as one of them sees it."""

    process: Process
    """Which one this is."""
    device: torch.device
    """What it computes on."""

    @property
    def is_first(self) -> bool:
        """Whether this is the one that reads and writes files."""
        return self.process.rank == 0

    def share(self, make: Callable[[], bytes]) -> bytes:
        """What the first process makes, in all of them; an error there ends them all.

        Raises:
            TrainerError: The first process failed; in the first one, what it raised itself.
        """
        if self.process.count == 1:
            return make()
        if not self.is_first:
            return self._receive()
        try:
            data = make()
        except BaseException:
            self._send(-1)
            raise
        self._send(len(data))
        if data:
            self._broadcast(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        return data

    def mean(self, value: Tensor) -> float:
        """The mean over all processes of a number each."""
        if self.process.count > 1:
            dist.all_reduce(value)
        return value.item() / self.process.count

    def spread(self, network: nn.Module) -> nn.Module:
        """A module whose gradients are averaged over all processes; its own where there is one process.

        On GPUs normalisations take their statistics of the whole batch; on the CPU each process takes its own part's,
        as PyTorch has no such normalisation there, and so does one with a `forward` of its own.
        """
        if self.process.count == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=ids, static_graph=True)

    def _send(self, length: int) -> None:
        """Tell the others what comes; −1: nothing, there was an error."""
        self._broadcast(torch.tensor([length]))

    def _receive(self) -> bytes:
        """What the first process sends."""
        length = int(self._broadcast(torch.zeros(1, dtype=torch.int64)).item())
        if length < 0:
            raise TrainerError(
                f"process {self.process.rank}: expected the first process to go on, got an error there; "
                "its message says more"
            )
        return self._broadcast(torch.zeros(length, dtype=torch.uint8)).cpu().numpy().tobytes() if length else b""

    def _broadcast(self, value: Tensor) -> Tensor:
        """The first process's tensor, in all of them."""
        value = value.to(self.device)
        try:
            dist.broadcast(value, 0)
        except RuntimeError as error:
            raise TrainerError(
                f"process {self.process.rank}: expected the other processes to go on, got: "
                f"{str(error).splitlines()[0]}; look at their messages, then go on with --resume"
            ) from error
        return value


def count_processes() -> int:
    """Processes that `torchrun` started; 1 where it started none."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in _VARIABLES) else 1


@contextmanager
def join_group(device: str) -> Iterator[Group]:
    """The processes that `torchrun` started, or this one alone; may be entered again inside of itself.

    Args:
        device: "auto", "cpu" or "cuda".

    Raises:
        ConfigError: There is no such device, or no GPU for each process of a machine.
    """
    several = count_processes() > 1
    chosen = find_device(device, int(os.environ["LOCAL_RANK"]) if several else 0)
    if not several:
        yield Group(Process(), chosen)
        return
    joins = not dist.is_initialized()
    if joins:
        on_gpu = chosen.type == "cuda"
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE, device_id=chosen if on_gpu else None)
    try:
        yield Group(Process(dist.get_rank(), dist.get_world_size()), chosen)
    finally:
        if joins:
            dist.destroy_process_group()


def find_device(name: str, number: int = 0) -> torch.device:
    """What `train.device` means here.

    Args:
        name: "auto", "cpu" or "cuda".
        number: Which of a machine's processes this is: each has a GPU of its own.

    Raises:
        ConfigError: It means nothing, or there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f'train.device: expected "auto", "cpu" or "cuda", got {name!r}')
    n_gpus = torch.cuda.device_count() if name != "cpu" and torch.cuda.is_available() else 0
    if n_gpus == 0:
        if name == "cuda":
            raise ConfigError(
                'train.device: expected a GPU that PyTorch can use for "cuda", got none; '
                "type: --set train.device=cpu, or look at nvidia-smi"
            )
        return torch.device("cpu")
    if number >= n_gpus:
        raise ConfigError(
            f"torchrun: expected a process a GPU, of which this machine has {n_gpus}, got more; "
            f"type: torchrun --nproc-per-node {n_gpus} …"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def synchronise_norms(network: nn.Module) -> nn.Module:
    """Let every plain BatchNorm take its statistics over all processes; others, with a `forward` of their own, not."""
    for name, child in network.named_children():
        if type(child) in _BATCH_NORMS:
            setattr(network, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]
        else:
            synchronise_norms(child)
    return network
