"""`engines/trt/plan.py` over TensorRT's own types and a synthetic engine: without a GPU, nobody else makes one.

    python -m support.cuda.plan_scenes

It needs a TensorRT that can be imported, which it takes as `tensorrt`, and prints JSON.
"""

from __future__ import annotations

import gc
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorrt_rtx as trt

sys.modules["tensorrt"] = trt

from engines.errors import BackendError  # noqa: E402
from engines.trt.compile import compile_graph  # noqa: E402
from engines.trt.exchange import Request  # noqa: E402
from engines.trt.log import process_log  # noqa: E402
from engines.trt.plan import TensorRtPlan  # noqa: E402
from engines.trt.records import profiles_of  # noqa: E402


@dataclass
class Tensor:
    """One input or output."""

    shape: tuple[int, ...]
    dtype: Any = trt.DataType.FLOAT
    mode: Any = trt.TensorIOMode.INPUT
    location: Any = trt.TensorLocation.DEVICE
    batches: tuple[tuple[int, int, int], ...] = ((1, 1, 1), (2, 8, 8))


@dataclass
class Engine:
    """What `deserialize_cuda_engine` gives, as far as it is asked."""

    tensors: dict[str, Tensor]
    contexts: bool = True
    num_layers: int = 7
    device_memory_size_v2: int = 1000
    num_optimization_profiles: int = 2
    calls: list[Any] = field(default_factory=list)

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return self.tensors[name].mode

    def get_tensor_dtype(self, name: str) -> Any:
        return self.tensors[name].dtype

    def get_tensor_shape(self, name: str) -> Any:
        return trt.Dims(self.tensors[name].shape)

    def get_tensor_location(self, name: str) -> Any:
        return self.tensors[name].location

    def get_tensor_profile_shape(self, name: str, profile: int) -> Any:
        tensor = self.tensors[name]
        return [trt.Dims((batch, *tensor.shape[1:])) for batch in tensor.batches[profile]]

    def create_execution_context(self) -> Any:
        return Context(self.calls) if self.contexts else None


@dataclass
class Context:
    """What `create_execution_context` gives; refuses batches of 5, addresses of 5, and streams of 5."""

    calls: list[Any]
    unknown: tuple[str, ...] = ()

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self._note("profile", profile, stream)
        if profile == 5:
            raise RuntimeError("Error in set optimization profile async.")  # as the bindings do
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        return self._note("shape", name, shape) and shape[0] != 5

    def set_tensor_address(self, name: str, address: int) -> bool:
        return self._note("address", name, address) and address != 5

    def infer_shapes(self) -> list[str]:
        return list(self.unknown)

    def execute_async_v3(self, stream: int) -> bool:
        return self._note("execute", stream) and stream != 5

    def _note(self, *call: Any) -> bool:
        self.calls.append(call)
        if 5 in call or (5, 4) in call:
            process_log().log(trt.ILogger.Severity.WARNING, "never mind")
            process_log().log(trt.ILogger.Severity.ERROR, "IExecutionContext::x: Error Code 3:\n  it was five")
        return True


def tensors(**changed: Tensor) -> dict[str, Tensor]:
    out = trt.TensorIOMode.OUTPUT
    return {"a": Tensor((-1, 4)), "b": Tensor((-1,), trt.DataType.INT64), "y": Tensor((-1, 2, 3), mode=out)} | changed


def opened(engine: Engine) -> TensorRtPlan:
    runtime: Any = object()
    given: Any = engine
    return TensorRtPlan(runtime, given, "scene", 500)


def refusal(call: Callable[[], object]) -> str:
    try:
        call()
    except BackendError as error:
        return str(error)
    return "no error"


def loggers() -> list[str]:
    """What TensorRT was given to log with, by a build and after it, in one process: TensorRT keeps the first."""
    gc.disable()
    graph = Path(__file__).parents[3] / "ascstream" / "bundles" / "slim-audio" / "scene.onnx"
    request = Request(graph="scene", precision="float32", profiles=profiles_of((1,)), effort=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timing caches are deprecated in TensorRT-RTX
        for _ in range(2):
            compile_graph(graph.read_bytes(), request, tell=lambda *_: None)
    return [kind.__module__ for kind in trt.ILogger.__subclasses__() if kind is not trt.Logger]


def main() -> None:
    engine = Engine(tensors())
    plan = opened(engine)
    executor = plan.executor(1, 99)
    executor.set_batch(8)
    executor.bind({"a": 256, "b": 512, "y": 1024})
    executor.execute(99)
    refused = [refusal(lambda: executor.set_batch(5)), refusal(lambda: executor.bind({"a": 5}))]
    refused += [refusal(lambda: executor.execute(5)), refusal(lambda: executor.execute(99))]
    executor.close()
    executor.close()
    plan.close()
    plan.close()
    closed = [refusal(lambda: executor.execute(1)), refusal(lambda: executor.set_batch(1))]
    closed += [refusal(lambda: plan.executor(0, 1))]
    found = {
        "specs": [f"{key} {spec}" for key, spec in (*plan.inputs.items(), *plan.outputs.items())],
        "profiles": [(profile.smallest, profile.usual, profile.largest) for profile in plan.profiles],
        "numbers": [plan.n_layers, plan.memory_bytes],
        "calls": engine.calls[:7],
        "refused": refused,
        "closed": closed,
        "no memory": refusal(lambda: opened(Engine(tensors(), contexts=False)).executor(0, 1)),
        "no profile": refusal(lambda: opened(Engine(tensors())).executor(5, 1)),
        "unfit": [
            refusal(lambda: opened(Engine(tensors(a=Tensor((3, 4)))))),
            refusal(lambda: opened(Engine(tensors(a=Tensor((-1, -1)))))),
            refusal(lambda: opened(Engine(tensors(a=Tensor((-1, 4), trt.DataType.BF16))))),
            refusal(lambda: opened(Engine(tensors(a=Tensor((-1, 4), location=trt.TensorLocation.HOST))))),
            refusal(lambda: opened(Engine(tensors(a=Tensor((-1, 4), batches=((1, 1, 1), (2, 4, 4))))))),
        ],
    }
    print(json.dumps(found | {"loggers": loggers()}))


if __name__ == "__main__":
    main()
