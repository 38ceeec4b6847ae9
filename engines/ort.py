"""The ONNX Runtime backend: turns a graph's verified bytes into an engine on the CPU."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from functools import cache
from typing import Any

from engines.base import Array, Engine, TensorSpec
from engines.errors import BackendError, one_line
from engines.graph import check_graph
from engines.muted import muted_stderr

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_SOURCE = re.compile(r"/\S+\.(?:cc|h|cpp):\d+ ")
_QUALIFIER = re.compile(r"^ ?(?:const|noexcept|\[with .*?\]) ?")
_MAX_BYTES = 2 << 30
"""Memory all graphs of a process may use together, weights included: three times what the largest network we know of
needs. Without a limit, a graph of a hundred bytes can request a terabyte."""
_FATAL = 4
"""ONNX Runtime's log level: everything that matters arrives as an exception, so nothing should be printed."""


class OrtEngine(Engine):
    """A graph run by ONNX Runtime on the CPU.

    One thread and no spinning by default: at these sizes a second thread halves the median latency but multiplies the
    95th percentile by ten as soon as anything else runs, and a spinning one burns a core between windows.
    """

    def __init__(self, model: bytes, *, name: str = "graph", threads: int = 1, precision: str = "float32") -> None:
        """Load a graph.

        Args:
            model: The bytes of an ONNX file with its weights inside.
            name: What error messages call the graph.
            threads: Threads one call may use.
            precision: The graph's precision, for the text of `backend`.

        Raises:
            BackendError: ONNX Runtime is not installed or rejects the graph, or the graph refers to other files.
        """
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise BackendError(f"threads: expected a whole number of at least 1, got {threads!r}")
        onnxruntime = _onnxruntime()
        check_graph(model, name)
        options = session_options(threads)
        try:
            session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # noqa: BLE001  (its exceptions have no other base class in common)
            raise BackendError(f"{name}: expected a graph that ONNX Runtime can run, got: {_reason(error)}") from None
        plural = "" if threads == 1 else "s"
        super().__init__(
            name,
            f"onnxruntime {onnxruntime.__version__} CPU, {precision}, {threads} thread{plural}",
            _specs(session.get_inputs(), name),
            _specs(session.get_outputs(), name),
        )
        self._session: Any = session
        self._output_names = list(self.outputs)

    def close(self) -> None:
        """Release the session; may be called twice."""
        super().close()
        self._session = None

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Run the session, which allocates new outputs each time.

        Bound, preallocated buffers save only 2 µs of 150 (benchmarks/inference.py) and would have to be copied out.
        """
        try:
            values = self._session.run(self._output_names, feeds)
        except Exception as error:  # noqa: BLE001  (its exceptions have no other base class in common)
            raise BackendError(f"{self.name}: ONNX Runtime failed: {_reason(error)}") from None
        return dict(zip(self._output_names, values, strict=True))


def session_options(threads: int) -> Any:
    """Options for a session that runs operators one at a time, never spins and prints nothing."""
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    _limit_memory()
    options.add_session_config_entry("session.use_env_allocators", "1")
    return options


@cache
def _limit_memory() -> None:
    """Register one memory arena for the process that every session allocates from and whose size is capped."""
    onnxruntime = _onnxruntime()
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(place, onnxruntime.OrtArenaCfg({"max_mem": _MAX_BYTES}))


def _onnxruntime() -> Any:
    """Import ONNX Runtime, or say what to type."""
    try:
        with nullcontext() if "onnxruntime" in sys.modules else muted_stderr():
            import onnxruntime
    except ImportError as error:
        raise BackendError(
            f"expected ONNX Runtime, which runs the networks, got: {error}; type: pip install onnxruntime"
        ) from None
    return onnxruntime


def _specs(values: Iterable[Any], graph: str) -> dict[str, TensorSpec]:
    """Convert ONNX Runtime's descriptions of inputs or outputs to ours."""
    specs = {}
    for value in values:
        if value.type not in _DTYPES:
            raise BackendError(f"{graph}: expected tensors of numbers, got {one_line(value.name)}: {value.type}")
        specs[value.name] = TensorSpec(value.name, _DTYPES[value.type], tuple(value.shape))
    return specs


def _reason(error: Exception) -> str:
    """ONNX Runtime's error message on one line, without its error code and the location in its source code.

    "[ONNXRuntimeError] : 1 : FAIL : /…/model.cc:256 onnxruntime::Model::Model(…) Unsupported model IR version: 99, …"
    """
    text = _PREFIX.sub("", str(error)).strip()
    place = _SOURCE.search(text)
    if place is not None:
        text = text[: place.start()] + _QUALIFIER.sub("", text[_after_parentheses(text, place.end()) :])
    text = " ".join((text.rpartition(", Error ")[2].splitlines() or [""])[0].split())
    text = one_line(text or type(error).__name__)
    return text if len(text) <= 200 else text[:199] + "…"


def _after_parentheses(text: str, start: int) -> int:
    """Position after the first parenthesised part at or after `start`; the end of the text if it is never closed."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == "(") - (text[index] == ")")
        if text[index] == ")" and depth == 0:
            return index + 1
    return len(text)
