"""Distributed training on one or more machines, as started by `torchrun`; a single process needs none of this.

    torchrun --nproc-per-node 2 -m trainer fit configs/slim_av.toml --data FOLDER

Rank 0 reads and writes the run's folder and validates; the other processes only compute.
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
"""Environment variables that `torchrun` sets for each process."""
_PATIENCE = timedelta(hours=2)
"""Collective timeout; long because the other processes wait while rank 0 validates."""
_BATCH_NORMS: Mapping[type[nn.Module], None] = dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d))


@dataclass(frozen=True, slots=True)
class Group:
    """The training's process group, as seen by one of its processes."""

    process: Process
    """This process's rank, and the number of processes."""
    device: torch.device
    """Device that this process computes on."""

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which reads and writes files."""
        return self.process.rank == 0

    def share(self, make: Callable[[], bytes]) -> bytes:
        """Call `make` on rank 0 and return its result in every process; an error there ends all of them.

        Raises:
            TrainerError: Rank 0 failed; on rank 0 itself, the original exception propagates.
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
        """Average a scalar over all processes."""
        if self.process.count > 1:
            dist.all_reduce(value)
        return value.item() / self.process.count

    def spread(self, network: nn.Module) -> nn.Module:
        """Wrap a module so that its gradients are averaged over all processes; returned as is if there is only one.

        On the CPU, and in normalisations with a `forward` of their own, each process normalises by its own part of the
        batch, as PyTorch has no synchronised version; on GPUs the others use the whole batch (see `synchronise_norms`).
        """
        if self.process.count == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=ids, static_graph=True)

    def _send(self, length: int) -> None:
        """Announce the payload's length to the other processes; −1 signals an error."""
        self._broadcast(torch.tensor([length]))

    def _receive(self) -> bytes:
        """Receive the payload that rank 0 sends."""
        length = int(self._broadcast(torch.zeros(1, dtype=torch.int64)).item())
        if length < 0:
            raise TrainerError(
                f"process {self.process.rank}: expected the first process to go on, got an error there; "
                "its message says more"
            )
        return self._broadcast(torch.zeros(length, dtype=torch.uint8)).cpu().numpy().tobytes() if length else b""

    def _broadcast(self, value: Tensor) -> Tensor:
        """Broadcast rank 0's tensor to all processes."""
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
    """Number of processes that `torchrun` started; 1 without `torchrun`."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in _VARIABLES) else 1


@contextmanager
def join_group(device: str) -> Iterator[Group]:
    """Join the process group that `torchrun` started, or a group of this process alone; may be nested.

    Args:
        device: "auto", "cpu" or "cuda".

    Raises:
        ConfigError: The device does not exist, or a machine has fewer GPUs than processes.
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
    """Resolve `train.device` to a device of this machine.

    Args:
        name: "auto", "cpu" or "cuda".
        number: The process's local rank, which is the index of its GPU.

    Raises:
        ConfigError: The name is unknown, or there is no such device.
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
    """Replace every plain BatchNorm by SyncBatchNorm, in place; subclasses with their own `forward` are left alone."""
    for name, child in network.named_children():
        if type(child) in _BATCH_NORMS:
            setattr(network, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]
        else:
            synchronise_norms(child)
    return network
