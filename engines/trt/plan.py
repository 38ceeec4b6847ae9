"""A deserialised plan and its executors, using the real TensorRT: 10.3 to 11.4, and 8.6 if necessary.

A plan is code. Callers must have verified its bytes; code for the CPU inside a plan is never allowed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engines.base import TensorSpec
from engines.errors import BackendError, one_line
from engines.trt.driver import LIBRARY
from engines.trt.log import begin, reason
from engines.trt.records import Profile

if TYPE_CHECKING:
    import tensorrt as trt

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT64": "int64",
    "INT32": "int32",
    "INT8": "int8",
    "UINT8": "uint8",
    "BOOL": "bool",
}
"""TensorRT's names of the element types that NumPy has."""


def load_plan(plan: bytes, name: str) -> TensorRtPlan:
    """Deserialise a plan. The device's context must be current, now and for every method.

    Args:
        plan: Its bytes, verified.
        name: What error messages call it.

    Raises:
        BackendError: TensorRT is not installed or rejects the plan, or the plan is not of the kind that we build.
    """
    _require_context(name)
    try:
        import tensorrt as trt
    except Exception as error:  # noqa: BLE001  (a binary of another CUDA can raise anything)
        raise BackendError(
            f"{name}: expected TensorRT, which runs the plan, got: {one_line(str(error))}; type: ascstream doctor"
        ) from None
    try:
        runtime = trt.Runtime(begin())
    except TypeError:  # "factory function returned nullptr"
        raise BackendError(
            f"{name}: expected TensorRT {trt.__version__} to start on this GPU, got: {reason()}; type: ascstream doctor"
        ) from None
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BackendError(
            f"{name}: expected a plan that TensorRT {trt.__version__} can run here, got: {reason()}; "
            "type: trainer build-engine"
        )
    return TensorRtPlan(runtime, engine, name, len(plan))


class TensorRtPlan:
    """Implements the protocol `LoadedPlan`."""

    def __init__(self, runtime: trt.Runtime, engine: trt.ICudaEngine, name: str, n_bytes: int) -> None:
        import tensorrt as trt

        self._runtime: trt.Runtime | None = runtime
        self._engine: trt.ICudaEngine | None = engine
        self.version = str(trt.__version__)
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        given = [tensor for tensor in names if engine.get_tensor_mode(tensor) == trt.TensorIOMode.INPUT]
        self.inputs: Mapping[str, TensorSpec] = {tensor: _spec(engine, tensor, name) for tensor in given}
        self.outputs: Mapping[str, TensorSpec] = {
            tensor: _spec(engine, tensor, name) for tensor in names if tensor not in given
        }
        self.profiles = tuple(_profile(engine, index, given, name) for index in range(engine.num_optimization_profiles))
        self.n_layers = int(engine.num_layers)
        scratch = "device_memory_size_v2" if hasattr(engine, "device_memory_size_v2") else "device_memory_size"
        self.memory_bytes = n_bytes + len(self.profiles) * int(getattr(engine, scratch))

    def executor(self, profile: int, stream: int) -> TensorRtExecutor:
        """Create an executor for a profile by its index; setup is queued on the stream that it must later run on."""
        if self._engine is None:
            raise BackendError("expected an open plan, got one that was closed")
        begin()
        context: trt.IExecutionContext | None = self._engine.create_execution_context()
        try:  # a rejected profile raises an exception, whatever the type annotations say
            ready = context is not None and context.set_optimization_profile_async(profile, stream)
        except RuntimeError:
            ready = False
        if context is None or not ready:
            raise BackendError(f"TensorRT could not get ready to execute: {reason()}")
        return TensorRtExecutor(context, {name: spec.shape for name, spec in self.inputs.items()})

    def close(self) -> None:
        """Release its memory; may be called twice."""
        self._engine = None
        self._runtime = None


class TensorRtExecutor:
    """Implements the protocol `Executor`."""

    def __init__(self, context: trt.IExecutionContext, shapes: Mapping[str, Sequence[Any]]) -> None:
        self._context: trt.IExecutionContext | None = context
        self._execute = context.execute_async_v3
        self._shapes = {tensor: tuple(shape[1:]) for tensor, shape in shapes.items()}

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Set the device addresses of all inputs and outputs."""
        context = self._opened()
        for tensor, address in addresses.items():
            if not context.set_tensor_address(tensor, address):
                raise self._refused(f"does not take {tensor} where it lies")

    def set_batch(self, batch: int) -> None:
        """Set the number of windows or images in the next calls; must be within the profile."""
        context = self._opened()
        for tensor, shape in self._shapes.items():
            if not context.set_input_shape(tensor, (batch, *shape)):
                raise self._refused(f"does not take {batch} at a time")
        try:
            unknown = context.infer_shapes()
        except RuntimeError as error:
            raise self._refused(f"does not know its shapes for {batch} at a time: {one_line(str(error))}") from None
        if unknown:
            raise self._refused(f"does not know the shape of {', '.join(unknown)} for {batch} at a time")

    def execute(self, stream: int) -> None:
        """Queue the kernels on the stream with that handle.

        Raises:
            BackendError: TensorRT refused.
        """
        if not self._execute(stream):
            raise self._refused("failed")

    def close(self) -> None:
        """Release its memory; may be called twice."""
        self._execute = self._closed  # a bound method keeps its object alive
        self._context = None

    def _closed(self, stream_handle: object) -> bool:  # noqa: ARG002
        return False

    def _opened(self) -> trt.IExecutionContext:
        """The context; raises once this has been closed."""
        if self._context is None:
            raise BackendError("expected an open plan, got one that was closed")
        return self._context

    def _refused(self, what: str) -> BackendError:
        """The error for a call that TensorRT refused."""
        return BackendError(f"TensorRT {what}: {reason()}")


def _spec(engine: trt.ICudaEngine, tensor: str, name: str) -> TensorSpec:
    """Describe a tensor, which must be on the device, with a free batch axis and all other axes fixed."""
    import tensorrt as trt

    kind = engine.get_tensor_dtype(tensor).name
    shape = tuple(engine.get_tensor_shape(tensor))
    on_device = engine.get_tensor_location(tensor) == trt.TensorLocation.DEVICE
    if kind not in _DTYPES or not on_device or not shape or shape[0] != -1 or min(shape[1:], default=1) < 1:
        raise BackendError(
            f"{name}: expected a plan whose tensors lie on the device, with a free batch axis and fixed other ones, "
            f"got {one_line(tensor)}: {kind.lower()} {list(shape)}; type: trainer build-engine"
        )
    return TensorSpec(tensor, _DTYPES[kind], ("n", *shape[1:]))


def _profile(engine: trt.ICudaEngine, index: int, inputs: Sequence[str], name: str) -> Profile:
    """Batch sizes of a profile, which must be the same for all inputs."""
    sizes = {tuple(int(shape[0]) for shape in engine.get_tensor_profile_shape(tensor, index)) for tensor in inputs}
    try:
        ((smallest, usual, largest),) = sizes
        return Profile(smallest, usual, largest)
    except ValueError:
        raise BackendError(
            f"{name}: expected a plan whose inputs have the same batch sizes, got {sorted(sizes)}; "
            "type: trainer build-engine"
        ) from None


def _require_context(name: str) -> None:
    """Raise if no context is current: TensorRT would end the process instead."""
    context = ctypes.c_void_p()
    try:
        code = ctypes.CDLL(LIBRARY).cuCtxGetCurrent(ctypes.byref(context))
    except (OSError, AttributeError):
        code = None
    if code != 0 or not context.value:
        raise BackendError(f"{name}: expected a GPU to load the plan on, got none; type: ascstream doctor")
