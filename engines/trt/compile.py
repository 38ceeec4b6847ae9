"""Compile a graph to a serialised plan: strongly typed network, profiles, timing cache, workspace, progress.

Runs only in the worker's process; `import tensorrt` gives whatever module the worker registered under that name. The
precision is written in the graph: TensorRT from 9 on types the network accordingly. 8.x has no such networks; there,
and only there, the builder flags of the graph's precision are set, and cuBLAS and cuDNN switched off, which it would
load for plugins that we do not have: they take over half a gigabyte, and may not be installed. TF32 is always off:
float32 in a graph means float32.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsInt

from engines.errors import BackendError, one_line
from engines.graph import check_graph
from engines.manifest import Precision
from engines.trt.exchange import Request
from engines.trt.log import begin, process_log
from engines.trt.phases import Phases, Tell, Throttled

if TYPE_CHECKING:
    import tensorrt as trt

NO_DEVICE_WORKSPACE_BYTES = 1 << 30
"""Default workspace limit if there is no device to ask how much memory is free."""

_UNKNOWN = re.compile(r"No importer registered|No checker registered|Plugin not found|UNSUPPORTED_NODE")
_MEMORY = re.compile(r"memory|alloc|workspace", re.IGNORECASE)
_CODE = re.compile(r"^.*?Error Code \d+: ")
_PLACE = re.compile(r"\s*\(?\bIn \S+ at \S+?:\d+\)?")
_FLAGS: dict[Precision, tuple[str, ...]] = {"float32": (), "float16": ("FP16",), "int8": ("INT8",)}
"""Builder flags that 8.x needs to use the graph's precision."""
_OTHERS_LIBRARIES = ("CUBLAS", "CUBLAS_LT", "CUDNN")
"""Tactic sources that 8.x enables by default, and that 8.6 itself uses only for plugins."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """The result of compiling a graph."""

    plan: bytes
    """The serialised plan."""
    timing: bytes | None
    """The timing cache, including this build's measurements; None if TensorRT provides none."""
    workspace_bytes: int
    """Memory limit for a kernel while it runs."""
    seconds: float
    """Duration of the build."""


def compile_graph(
    graph: bytes, request: Request, *, timing: bytes | None = None, free_bytes: int | None = None, tell: Tell
) -> Compiled:
    """Build a plan.

    Args:
        graph: An ONNX file with its weights inside.
        request: Name, precision, profiles, effort, workspace.
        timing: A timing cache from an earlier build with this TensorRT on this kind of device.
        free_bytes: Free device memory; None if there is no device.
        tell: Called with the progress, at most ten times a second.

    Raises:
        BackendError: TensorRT does not accept the graph, an axis other than the first is free, or the build failed.
    """
    import tensorrt as trt

    check_graph(graph, request.graph)
    begun = time.monotonic()
    log = begin()
    log.tells = True
    try:
        builder = trt.Builder(log)
    except TypeError:  # "factory function returned nullptr"
        raise BackendError(
            f"TensorRT {trt.__version__}: expected a CUDA device to build for, got: {_reason('none that answers')}; "
            "type: ascstream doctor"
        ) from None
    network = builder.create_network(_network_flags())
    _parse(network, graph, request.graph)
    config = builder.create_builder_config()
    _add_profiles(builder, config, network, request)
    _set_options(config, request, free_bytes)
    _set_timing(config, timing)
    if hasattr(trt, "IProgressMonitor"):
        config.progress_monitor = _make_monitor(Throttled(tell))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        got = _reason("no plan")
        hint = "type --effort 1, or --workspace 256" if _MEMORY.search(got) else "export the graph anew"
        raise BackendError(f"{request.graph}: expected TensorRT {trt.__version__} to build a plan, got: {got}; {hint}")
    cache = config.get_timing_cache()
    return Compiled(
        plan=bytes(plan),
        timing=None if cache is None else bytes(cache.serialize()) or None,
        workspace_bytes=int(config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE)),
        seconds=time.monotonic() - begun,
    )


def _network_flags() -> int:
    """Flags for a strongly typed network where there are such; with 8.x, for an explicit batch axis."""
    import tensorrt as trt

    flags = trt.NetworkDefinitionCreationFlag
    name = "STRONGLY_TYPED" if hasattr(flags, "STRONGLY_TYPED") else "EXPLICIT_BATCH"
    return 1 << int(getattr(flags, name))


def _parse(network: trt.INetworkDefinition, graph: bytes, name: str) -> None:
    """Parse the graph into the network."""
    import tensorrt as trt

    parser = trt.OnnxParser(network, process_log())
    parsed = parser.parse(graph)
    if parsed and network.num_inputs and network.num_outputs:
        return
    got = "no inputs and outputs" if parsed else _reason("nothing of use")
    hint = "get a fresh copy of the bundle, or export it anew"
    if parser.num_errors:
        error = parser.get_error(0)
        text, operator = error.desc(), _ask(error, "node_operator")
        got = _sentence(text) or got
        if operator:
            node = _ask(error, "node_name")
            where = f"{operator} in the node {node!r}" if node else operator
            got = f"{where}: {got}"
            if _UNKNOWN.search(text):
                got, hint = f"{where}, an operator it does not know", "export the graph without it"
    raise BackendError(f"{name}: expected a graph that TensorRT {trt.__version__} can parse, got {got}; {hint}")


def _ask(error: trt.ParserError, method: str) -> str:
    """Ask a parser's error for a detail; 8.x does not provide all of them."""
    return one_line(str(getattr(error, method)())) if hasattr(error, method) else ""


def _add_profiles(
    builder: trt.Builder, config: trt.IBuilderConfig, network: trt.INetworkDefinition, request: Request
) -> None:
    """Add a profile for each range of batch sizes, if there is an input whose first axis is free."""
    import tensorrt as trt

    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    shapes = {tensor.name: tensor.shape[:] for tensor in inputs}
    for name, shape in shapes.items():
        if -1 in shape[1:]:
            raise BackendError(
                f"{request.graph}: expected inputs whose first axis alone, the batch, is free, got {one_line(name)} "
                f"{list(shape)}; export the graph with fixed sizes"
            )
    free = {name: shape for name, shape in shapes.items() if shape[:1] == (-1,)}
    for profile in request.profiles if free else ():
        made = builder.create_optimization_profile()
        for name, shape in free.items():
            smallest, usual, largest = (
                trt.Dims([size, *shape[1:]]) for size in (profile.smallest, profile.usual, profile.largest)
            )
            made.set_shape(name, smallest, usual, largest)
        config.add_optimization_profile(made)


def _set_options(config: trt.IBuilderConfig, request: Request, free_bytes: int | None) -> None:
    """Set the workspace limit, the effort, and what the precision needs."""
    import tensorrt as trt

    config.clear_flag(trt.BuilderFlag.TF32)
    if not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        for name in _FLAGS[request.precision]:
            config.set_flag(getattr(trt.BuilderFlag, name))
        others = sum(1 << int(getattr(trt.TacticSource, name)) for name in _OTHERS_LIBRARIES)
        config.set_tactic_sources(config.get_tactic_sources() & ~others)
    workspace = request.workspace_bytes
    if workspace is None:
        workspace = NO_DEVICE_WORKSPACE_BYTES if free_bytes is None else free_bytes // 2
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    if hasattr(config, "builder_optimization_level"):
        config.builder_optimization_level = request.effort


def _set_timing(config: trt.IBuilderConfig, timing: bytes | None) -> None:
    """Reuse an earlier build's timing cache, or start with an empty one if TensorRT rejects that."""
    for data in (timing, b"") if timing else (b"",):
        try:
            cache = config.create_timing_cache(data)
        except (RuntimeError, TypeError, ValueError):
            continue
        if cache is not None and config.set_timing_cache(cache, False):
            return


def _reason(otherwise: str) -> str:
    """The first of the last errors with any text, for a message."""
    return next(filter(None, map(_sentence, process_log().errors)), otherwise)


def _sentence(text: str) -> str:
    """TensorRT's message on one line, without the location in its source code."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("Invalid Node", "---", "[checkMacros"))]
    said = _PLACE.sub("", _CODE.sub("", lines[0])) if lines else ""
    return one_line(said.removeprefix("Assertion failed: ").removeprefix("API Usage Error (").strip(" ."))


def _make_monitor(progress: Throttled) -> Any:
    """Convert TensorRT's reports on its phases to one overall fraction."""
    import tensorrt as trt

    phases = Phases()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: SupportsInt) -> None:
            progress.tell(phase_name, phases.start(phase_name, parent_phase, int(num_steps)))

        def step_complete(self, phase_name: str, step: SupportsInt) -> bool:
            progress.tell(phase_name, phases.step(phase_name, int(step)))
            return True

        def phase_finish(self, phase_name: str) -> None:
            progress.tell(phase_name, phases.finish(phase_name))

    return Monitor()
