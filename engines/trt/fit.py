"""Whether a plan fits a machine and a bundle, why it does not, and the command that builds one that does."""

from __future__ import annotations

import shlex
from pathlib import Path

from engines.bundle import Bundle
from engines.manifest import GraphSpec
from engines.trt.records import Machine, PlanInfo, PlanKey

_SHIPPED = ("ascstream", "bundles")
"""Last folders in the path of the bundles that ship, which commands refer to by name."""
_DEFAULT = "slim-av"
"""The bundle used if none is named."""
FLAGS = {"float32": "--fp32", "float16": "--fp16", "int8": "--int8"}
"""Options of `trainer build-engine` that select a precision."""


def machine_misfits(key: PlanKey, machine: Machine) -> tuple[str, ...]:
    """Why a plan cannot run on a machine, as phrases: "was built for Orin, this is NVIDIA H100"."""
    device = machine.device
    found = []
    if key.device != device.name:
        found.append(f"was built for {key.device}, this is {device.name}")
    elif key.compute_capability != device.compute_capability:
        found.append(f"was built for compute capability {key.compute_capability}, this is {device.compute_capability}")
    elif key.multiprocessors != device.multiprocessors:
        found.append(f"was built for {key.multiprocessors} multiprocessors, here are {device.multiprocessors}")
    if key.tensorrt != machine.tensorrt:
        found.append(f"was built by TensorRT {key.tensorrt}, this is {machine.tensorrt}")
    if key.l4t != device.l4t and key.device == device.name:
        built, here = (f"Jetson Linux {version}" if version else "no Jetson Linux" for version in (key.l4t, device.l4t))
        found.append(f"was built on {built}, this is {here}")
    return tuple(found)


def bundle_misfits(key: PlanKey, bundle: Bundle, graph: GraphSpec) -> tuple[str, ...]:
    """Why a plan is not a plan of that graph in its current version and precision.

    An int8 plan may come from another int8 graph than the bundle's: it may be calibrated on the user's own recordings.
    """
    files = bundle.manifest.files
    if key.reference != files[graph.files["float32"]].sha256:
        return (f"was built from another {graph.name} graph: the bundle was exported anew",)
    held = graph.files.get(key.precision)
    if held is not None and key.typed != files[held].sha256 and key.precision != "int8":
        return (f"was built from another {key.precision} graph than the bundle holds: it was typed anew",)
    return ()


def is_of(info: PlanInfo, bundle: Bundle) -> bool:
    """Whether a plan was built for a bundle of that name, in any version."""
    return info.bundle.rpartition(" ")[0] == bundle.manifest.name


def command_to_build(precision: str, bundle: Bundle | None, folder: Path | None) -> str:
    """The command that builds a plan.

    Args:
        precision: Precision of the plan.
        bundle: The bundle to build for; None: the placeholder "BUNDLE".
        folder: Where to put the plan; None: the cache.
    """
    words = ["trainer build-engine"]
    if bundle is None:
        words.append("BUNDLE")
    elif bundle.path.parts[-3:-1] != _SHIPPED:
        words.append(shlex.quote(str(bundle.path)))
    elif bundle.path.name != _DEFAULT:
        words.append(bundle.path.name)
    words.append(FLAGS.get(precision, "--fp16"))
    if folder is not None:
        words.append(f"--out {shlex.quote(str(folder))}")
    return " ".join(words)
