"""The cost of one inference: ONNX Runtime's plain `run`, bound and preallocated buffers, and `infer` with its checks.

    python benchmarks/inference.py [--calls 2000] [--rounds 5] [--threads 1] [--json]

The network has the size of the slim audio one (about 120,000 parameters, [1, 1, 64, 48] in, 10 logits out) and random
weights. The ways are timed in alternating rounds, so that a busy machine slows all of them down alike.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from engines.ort import OrtEngine, session_options

SHAPE = (1, 1, 64, 48)
CHANNELS = (24, 48, 72, 96)
N_LABELS = 10


def slim_graph() -> tuple[bytes, int]:
    """A plain convolutional network of the slim network's size, and its number of parameters."""
    rng = np.random.default_rng(0)
    nodes, constants, value, n_in = [], [], "logmel", 1
    for index, n_out in enumerate(CHANNELS):
        weights = rng.standard_normal((n_out, n_in, 3, 3), dtype=np.float32) / np.float32(np.sqrt(9 * n_in))
        constants += [numpy_helper.from_array(weights, f"w{index}")]
        constants += [numpy_helper.from_array(np.zeros(n_out, np.float32), f"b{index}")]
        stride = [2, 2] if index < 3 else [1, 1]
        conv = [value, f"w{index}", f"b{index}"]
        nodes.append(helper.make_node("Conv", conv, [f"c{index}"], kernel_shape=[3, 3], pads=[1] * 4, strides=stride))
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"]))
        value, n_in = f"r{index}", n_out
    constants.append(numpy_helper.from_array(rng.standard_normal((n_in, N_LABELS), dtype=np.float32), "head"))
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "head"], ["fused"]))
    inputs = [helper.make_tensor_value_info("logmel", TensorProto.FLOAT, ["n", *SHAPE[1:]])]
    outputs = [helper.make_tensor_value_info("fused", TensorProto.FLOAT, ["n", N_LABELS])]
    graph = helper.make_graph(nodes, "slim", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString(), sum(int(np.prod(constant.dims)) for constant in constants)


def ways(model: bytes, threads: int) -> dict[str, Callable[[], object]]:
    """The same inference, called in different ways."""
    feed = np.random.default_rng(1).standard_normal(SHAPE, dtype=np.float32)
    session = onnxruntime.InferenceSession(model, session_options(threads), providers=["CPUExecutionProvider"])

    def bound_outputs() -> object:
        """Inputs bound anew, outputs allocated by the session, then copied so that the caller can keep them."""
        binding = session.io_binding()
        binding.bind_cpu_input("logmel", feed)
        binding.bind_output("fused")
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()

    fixed_in = onnxruntime.OrtValue.ortvalue_from_numpy(feed)
    out = np.empty((1, N_LABELS), np.float32)
    fixed = session.io_binding()
    fixed.bind_ortvalue_input("logmel", fixed_in)
    fixed.bind_output("fused", "cpu", 0, np.float32, out.shape, out.ctypes.data)

    def preallocated() -> object:
        """Both sides bound once: one memcpy in, one memcpy out."""
        fixed_in.update_inplace(feed)
        session.run_with_iobinding(fixed)
        return out.copy()

    engine = OrtEngine(model, threads=threads)
    return {
        "session.run": lambda: session.run(["fused"], {"logmel": feed}),
        "io binding, outputs copied": bound_outputs,
        "io binding, preallocated": preallocated,
        "OrtEngine.infer": lambda: engine.infer({"logmel": feed}),
    }


def time_calls(call: Callable[[], object], n: int) -> list[float]:
    """Durations of `n` calls in seconds."""
    seconds = []
    for _ in range(n):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return seconds


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000, help="calls of each way, over all rounds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args()
    model, n_parameters = slim_graph()
    calls = ways(model, arguments.threads)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        time_calls(call, 50)
    for _ in range(arguments.rounds):
        for name, call in calls.items():
            seconds[name] += time_calls(call, arguments.calls // arguments.rounds)
    results = {
        name: dict(zip(("p50_ms", "p95_ms", "p99_ms"), np.percentile(values, (50, 95, 99)) * 1e3, strict=True))
        for name, values in seconds.items()
    }
    plain = results["session.run"]["p50_ms"]
    for result in results.values():
        result["ratio"] = result["p50_ms"] / plain
    if arguments.json:
        print(json.dumps({"n_parameters": n_parameters, "threads": arguments.threads, "ways": results}, indent=2))
        return
    print(f"{n_parameters:,} parameters, {arguments.threads} thread(s), onnxruntime {onnxruntime.__version__}")
    for name, result in results.items():
        times = "  ".join(f"{key[:3]} {result[key]:.3f} ms" for key in ("p50_ms", "p95_ms", "p99_ms"))
        print(f"{name:28s} {times}  {result['ratio']:.2f} × session.run")


if __name__ == "__main__":
    main()
