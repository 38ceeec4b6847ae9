"""What `ascstream doctor` checks for TensorRT: driver, GPU, packages, plans. If there is a GPU, packages are tried out.

They are tried out in a separate process, because TensorRT ends its process if a package does not fit the driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ascstream.cli.findings import Check, absent
from ascstream.wording import size_text
from engines.trt.trial import try_out

if TYPE_CHECKING:
    from engines.trt.driver import DriverAnswer, Modules

_TRY_TENSORRT = (
    "import tensorrt as trt; log = trt.Logger(trt.Logger.ERROR); "
    "assert trt.Runtime(log) and trt.Builder(log); print(trt.__version__)"
)
_TRY_CUDA = "from engines.trt.open_cuda import open_cuda; cuda = open_cuda({!r}); print(cuda.name); cuda.close()"
_ON_CPU = "files are classified on the CPU"


def look_at_gpu(root: Path = Path("/")) -> Iterator[Check]:
    """Check driver, GPU and packages; files need none of them."""
    from engines.trt.driver import ask_driver, find_modules

    answer, modules = ask_driver(root=root), find_modules()
    yield from _driver(answer, root)
    there = answer.device is not None
    yield _tensorrt(modules, answer, root) if there else _installed("tensorrt", there=modules.tensorrt)
    yield from (
        _cuda(modules, answer, root)
        if there
        else (
            _installed("pycuda", there=modules.pycuda),
            _installed("cuda-bindings", there=modules.cuda_bindings),
        )
    )


def look_at_plans(bundle: Path, folder: Path | None) -> Check | None:
    """Check for plans of a bundle for this machine; None if none could run."""
    from engines.bundle import open_bundle
    from engines.errors import EngineError
    from engines.trt.driver import find_machine
    from engines.trt.plans import PlanStore

    try:
        machine = find_machine()
        if machine is None:
            return None
        found = PlanStore(folder).find(open_bundle(bundle), machine)
    except (EngineError, OSError) as error:
        return Check("plans", "failed", str(error), needed=False)
    if found.plans is None:
        return absent("plans", found.why, None)
    about = [f"{graph} {info.key.precision}, {size_text(info.size)}" for graph, info in found.plans.items()]
    return Check("plans", "ok", f"{'; '.join(about)}, built for {machine.device.name}", needed=False)


def _driver(answer: DriverAnswer, root: Path) -> Iterator[Check]:
    """The driver and its GPU."""
    from engines.trt.advice import advise

    if not answer.installed:
        yield absent("cuda driver", f"{answer.problem}; {_ON_CPU}", f"to use a GPU: {advise('driver', answer, root)}")
        return
    speaks = "version unknown" if answer.cuda is None else "CUDA {}.{}".format(*answer.cuda)
    device = answer.device
    if device is None:
        yield Check(
            "cuda driver", "failed", f"{speaks}; {answer.problem}", advise("device", answer, root), needed=False
        )
        return
    both = speaks if device.driver == speaks else f"{device.driver}, {speaks}"
    yield Check("cuda driver", "ok", both, needed=False)
    memory = f"{device.memory_bytes / (1 << 30):.1f} GiB{' shared with the processor' if device.integrated else ''}"
    more = f"; the first of {answer.n_devices}" if answer.n_devices > 1 else ""
    parts = f"compute capability {device.compute_capability}, {device.multiprocessors} multiprocessors"
    yield Check("gpu", "ok", f"{device.name}, {parts}, {memory}{more}", needed=False)


def _tensorrt(modules: Modules, answer: DriverAnswer, root: Path) -> Check:
    """Check TensorRT by importing and initialising it: that the package is installed says little."""
    from engines.trt.advice import advise

    if not modules.tensorrt:
        return absent("tensorrt", f"not installed; {_ON_CPU}", advise("tensorrt", answer, root))
    works, said = try_out(_TRY_TENSORRT)
    if works:
        return Check("tensorrt", "ok", said, needed=False)
    return Check("tensorrt", "failed", f"installed, but: {said}", advise("tensorrt", answer, root), needed=False)


def _cuda(modules: Modules, answer: DriverAnswer, root: Path) -> Iterator[Check]:
    """Check the packages that access the driver: one of the two is enough."""
    from engines.trt.advice import advise

    either = modules.pycuda or modules.cuda_bindings
    for name, there in (("pycuda", modules.pycuda), ("cuda-bindings", modules.cuda_bindings)):
        if not there:
            advice = None if either else advise("cuda", answer, root)
            yield absent(name, f"not installed{'; the other one is' if either else ''}", advice)
            continue
        works, said = try_out(_TRY_CUDA.format(name))
        if works:
            yield Check(name, "ok", said, needed=False)
        else:
            yield Check(name, "failed", f"installed, but: {said}", advise("cuda", answer, root), needed=False)


def _installed(name: str, *, there: bool) -> Check:
    """A package that is of no use without a GPU, and therefore not tried out."""
    if not there:
        return absent(name, "not installed; of use on a GPU only", None)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = "version unknown"
    return Check(name, "ok", f"{version}; not tried, since there is no GPU", needed=False)
