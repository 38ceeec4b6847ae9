"""Loads what runs the graphs for `ascstream file` and `live`, after building TensorRT plans if requested."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from ascstream.bundles import find_bundle
from ascstream.classifier import Classifier
from ascstream.errors import UsageError
from ascstream.sinks.console import lost_for
from ascstream.stopping import raise_stopped
from engines.backends import REFERENCE_BACKEND
from engines.bundle import Bundle, open_bundle
from engines.manifest import Precision

if TYPE_CHECKING:
    from engines.trt.builder import BuildProgress
    from engines.trt.installed import TensorRt

_QUIET_SECONDS = 5.0
"""Time between two progress lines."""


@dataclass(frozen=True, slots=True)
class Running:
    """Which backend to run the graphs on, and how."""

    backend: str
    """A name from `engines.backends.backends()`."""
    precision: str | None
    """Precision of the graphs; None: whichever is available."""
    threads: int
    """Number of CPU threads for ONNX Runtime."""
    plans: Path | None
    """Folder of the plans; None: the user's cache."""
    build: bool
    """Whether to build missing plans first."""


def load_classifier(
    bundle: str | None,
    running: Running,
    *,
    quiet: bool,
    tensorrt: TensorRt | None = None,
    build_command: Sequence[str] | None = None,
) -> Classifier:
    """Load a classifier, building plans first if that was requested and there are none.

    Args:
        bundle: A shipped bundle's name, or a folder; None: the default bundle.
        running: What to run.
        quiet: Whether to keep silent about the build.
        tensorrt: The TensorRT to use; None: the installed one.
        build_command: The command that builds plans; None: see `engines.trt.build`.

    Raises:
        UsageError: Plans are requested for a backend that uses none.
        engines.errors.EngineError: There is no bundle, no GPU to build on, or the graphs cannot be run.
    """
    if running.build:
        if running.backend == REFERENCE_BACKEND:
            raise UsageError("--build: expected a backend that takes plans, got onnxruntime; drop one of the two")
        if tensorrt is None:
            from engines.trt.installed import Installed

            tensorrt = Installed()
        _build(open_bundle(find_bundle(bundle)), running, tensorrt, build_command, quiet=quiet)
    return Classifier.load(
        bundle,
        backend=running.backend,
        precision=running.precision,
        threads=running.threads,
        plans=running.plans,
        tensorrt=tensorrt,
    )


def _build(
    bundle: Bundle, running: Running, tensorrt: TensorRt, build_command: Sequence[str] | None, *, quiet: bool
) -> None:
    """Build the plans; does nothing if there are suitable ones."""
    machine = tensorrt.machine()  # fails, if it has to, before anything slow
    from engines.trt.build import build_plans
    from engines.trt.builder import BUILD_COMMAND
    from engines.trt.fit import command_to_build
    from engines.trt.plans import PlanStore

    folder = running.plans
    store = PlanStore(folder)
    if store.find(bundle, machine, precision=running.precision).plans is not None:
        return
    precision = _precision(bundle, running.precision)
    progress = _Progress(quiet=quiet)
    progress.say(f"TensorRT plans of {bundle.manifest.name} are built for {machine.device.name}, {precision}; once")
    if running.precision is None and precision != "float16":
        progress.say(f"the bundle holds no float16 graphs; to make some: {command_to_build('float16', bundle, folder)}")
    build_plans(
        bundle,
        precision,
        store=store,
        machine=machine,
        build_command=build_command or BUILD_COMMAND,
        on_progress=progress.build,
    )


def _precision(bundle: Bundle, asked: str | None) -> Precision:
    """The precision to build: the requested one, else float16 if the bundle has such graphs, else float32."""
    if asked is not None:
        return cast("Precision", asked)
    return "float16" if all("float16" in entry.files for entry in bundle.manifest.graphs) else "float32"


class _Progress:
    """Reports the progress of a build on stderr."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._said = 0.0
        self._graph = ""

    def say(self, sentence: str) -> None:
        """Write a line, unless quiet."""
        if not self._quiet:
            click.echo(f"ascstream: {sentence}", err=True)

    def build(self, progress: BuildProgress) -> None:
        """Report progress: one line whenever a new graph begins, and one every few seconds."""
        raise_stopped()
        now = time.monotonic()
        if progress.graph == self._graph and now - self._said < _QUIET_SECONDS:
            return
        self._graph, self._said = progress.graph, now
        left = "" if progress.seconds_left is None else f", about {lost_for(progress.seconds_left)} left"
        self.say(f"{progress.graph}, {progress.precision}: {100 * progress.fraction:.0f} % ({progress.phase}){left}")
