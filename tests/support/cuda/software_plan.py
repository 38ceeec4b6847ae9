"""A plan without TensorRT: what it executes is queued on the software driver's streams. See software_cuda.c."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from engines.base import Array, TensorSpec
from engines.errors import BackendError
from engines.trt.records import Profile, profiles_of

INPUTS = {
    "wide": TensorSpec("wide", "float32", ("n", 3, 4)),
    "narrow": TensorSpec("narrow", "float32", ("n", 5)),
    "codes": TensorSpec("codes", "int64", ("n", 2)),
}
OUTPUTS = {
    "mixed": TensorSpec("mixed", "float32", ("n", 70)),
    "copied": TensorSpec("copied", "int64", ("n", 2)),
}


def driver() -> Any:
    """The driver's library, in the process that uses it."""
    library: Any = ctypes.CDLL("libcuda.so.1")
    size, address = ctypes.c_size_t, ctypes.c_uint64
    library.software_count.restype = ctypes.c_long
    library.software_count.argtypes = [ctypes.c_char_p]
    library.software_fail.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int]
    library.software_failed.restype = ctypes.c_char_p
    library.software_mix.argtypes = [address, address, address, size, size, size, size, ctypes.c_void_p]
    library.cuMemcpyDtoDAsync_v2.argtypes = [address, address, size, ctypes.c_void_p]
    library.cuStreamIsCapturing.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
    return library


def expected(feeds: Mapping[str, Array]) -> dict[str, Array]:
    """What the plan answers, bit for bit."""
    columns = np.arange(70)
    wide = feeds["wide"].reshape(len(feeds["wide"]), 12)[:, columns % 12]
    scaled = wide * (columns + 1).astype(np.float32)
    return {"mixed": scaled + feeds["narrow"][:, columns % 5], "copied": feeds["codes"].copy()}


def random_feeds(batch: int, seed: int) -> dict[str, Array]:
    """Feeds for that many."""
    random = np.random.default_rng(seed)
    return {
        "wide": random.standard_normal((batch, 3, 4)).astype(np.float32),
        "narrow": random.standard_normal((batch, 5)).astype(np.float32),
        "codes": random.integers(-(2**62), 2**62, (batch, 2)),
    }


class SoftwarePlan:
    """The protocol `LoadedPlan`; `closed` names what was closed, in order."""

    version = "0.0"
    memory_bytes = 12345
    n_layers = 2

    def __init__(self, batches: Sequence[int] = (1, 8), *, recordable: bool = True, profiles: Any = None) -> None:
        self.inputs, self.outputs = dict(INPUTS), dict(OUTPUTS)
        self.profiles: tuple[Profile, ...] = profiles or profiles_of(tuple(batches))
        self.closed: list[str] = []
        self.recordable = recordable
        self.interrupt: BaseException | None = None
        """Raised by the next execution, once."""
        self.meanwhile: Callable[[], object] | None = None
        """Called by the next execution, once."""

    def executor(self, profile: int, stream: int) -> SoftwareExecutor:
        return SoftwareExecutor(self, profile, stream)

    def close(self) -> None:
        assert driver().software_count(b"current") > 0, "no context is current"
        self.closed.append("plan")


class SoftwareExecutor:
    """The protocol `Executor`; as strict as TensorRT where that does not tell."""

    def __init__(self, plan: SoftwarePlan, position: int, stream: int) -> None:
        self._driver = driver()
        self._plan = plan
        self._profile = plan.profiles[position]
        self._name = f"executor {position}"
        self._stream = stream
        self._addresses: dict[str, int] = {}
        self._batch = 0
        self._ran = False

    def bind(self, addresses: Mapping[str, int]) -> None:
        assert addresses.keys() == {*INPUTS, *OUTPUTS}
        assert all(address % 256 == 0 for address in addresses.values())
        self._addresses = dict(addresses)

    def set_batch(self, batch: int) -> None:
        assert self._profile.smallest <= batch <= self._profile.largest
        self._batch = batch
        self._ran = False

    def execute(self, stream: int) -> None:
        assert stream == self._stream
        meanwhile, self._plan.meanwhile = self._plan.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        capturing = ctypes.c_int(0)
        self._driver.cuStreamIsCapturing(stream, ctypes.byref(capturing))
        if capturing.value and not (self._plan.recordable and self._ran):
            raise BackendError("TensorRT failed: operation not permitted when stream is capturing")
        at, batch = self._addresses, self._batch
        mixed = self._driver.software_mix(at["mixed"], at["wide"], at["narrow"], batch, 12, 5, 70, stream)
        copied = self._driver.cuMemcpyDtoDAsync_v2(at["copied"], at["codes"], 16 * batch, stream)
        if mixed or copied:
            raise BackendError(f"TensorRT failed: CUDA error {mixed or copied}")
        self._ran = True
        interrupt, self._plan.interrupt = self._plan.interrupt, None
        if interrupt is not None:
            raise interrupt

    def close(self) -> None:
        if self._name not in self._plan.closed:
            assert "plan" not in self._plan.closed, "closed after its plan"
            self._plan.closed.append(self._name)
