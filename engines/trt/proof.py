"""The parity gate: compare a plan's answers with the golden ones, on the machine that it is for.

The criterion is the largest difference. If that is within the tolerance, a golden label can change only between scenes
that were practically tied; the share of labels that agree is recorded as well.
"""

from __future__ import annotations

from engines.bundle import Bundle
from engines.check import BATCHES, N_CASES, GoldenGraph, OutputParity, compare, worst_of
from engines.errors import BackendError, ParityError
from engines.manifest import graph_shapes
from engines.trt.builder import Built
from engines.trt.exchange import BuildReport, Request
from engines.trt.fit import command_to_build
from engines.trt.records import Device, Machine, Parity


def golden_batches(largest: int) -> tuple[int, ...]:
    """Batch sizes in which all golden cases are run: those used for every backend, capped at what the plan takes."""
    sizes = [min(size, largest) for size in BATCHES]
    while sum(sizes) < N_CASES:
        sizes.append(min(largest, N_CASES - sum(sizes)))
    return tuple(sizes)


def prove(bundle: Bundle, cases: GoldenGraph, request: Request, built: Built, machine: Machine) -> tuple[Parity, ...]:
    """Check a built plan; return its parity if it passes.

    Raises:
        BackendError: It ran elsewhere, or its answers do not have the graph's outputs and shapes.
        ParityError: It does not pass; the message names the worst output.
    """
    graph, manifest = request.graph, bundle.manifest
    check_machine(built.report, machine, graph)
    for name, shape in graph_shapes(manifest, graph)[1].items():
        array = built.answers.get(name)
        if array is None or array.shape != (N_CASES, *shape):
            got = "nothing" if array is None else f"{list(array.shape)}"
            raise BackendError(f"{graph}: expected answers {[N_CASES, *shape]} in {name}, got {got}")
    outputs = compare(graph, cases, built.answers, manifest.tolerance, request.precision)
    worst = worst_of(outputs)
    if worst is not None:
        got = "NaN or infinity" if worst.max_difference is None else f"{worst.max_difference:.3g}"
        raise ParityError(
            f"{manifest.name} {manifest.version} on {built.report.backend or 'TensorRT'}: expected answers within "
            f"{worst.tolerance:.3g} of the golden ones, got {got} in {worst.output}: the plan is refused; "
            f"to see where it goes wrong, type: {command_to_build(request.precision, bundle, None)} --explain"
        )
    return tuple(_parity(entry) for entry in outputs)


def check_machine(report: BuildReport, machine: Machine, graph: str) -> None:
    """Check that a builder used the machine's kind of device and its TensorRT.

    Raises:
        BackendError: It did not.
    """
    ours, theirs = machine.device, report.device
    if _kind(ours) != _kind(theirs) or report.tensorrt != machine.tensorrt:
        raise BackendError(
            f"{graph}: expected a builder on {ours.name} ({ours.compute_capability}) with TensorRT {machine.tensorrt}, "
            f"got one on {theirs.name} ({theirs.compute_capability}) with TensorRT {report.tensorrt}; "
            "look what this machine has: ascstream doctor"
        )


def _kind(device: Device) -> tuple[object, ...]:
    """The parts of a device that go into a plan's key."""
    return device.name, device.compute_capability, device.multiprocessors, device.l4t


def _parity(entry: OutputParity) -> Parity:
    """The sidecar's entry for an output that passed."""
    return Parity(entry.output, entry.max_difference or 0.0, entry.tolerance, entry.agreement)
