"""What NVIDIA's driver says about this machine, and what TensorRT lacks here; `advice.py` says how to get it.

The driver is asked through ctypes before anything else is loaded: without a device, pycuda fails to import, and
TensorRT's Runtime ends the process. Asking creates no context, but afterwards CUDA does not survive a fork: child
processes must be started with exec.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from engines.errors import BackendError, one_line
from engines.muted import muted_stderr

if TYPE_CHECKING:
    from engines.trt.records import Device, Machine

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
"""The driver's library, which comes only with the driver itself."""
Need: TypeAlias = Literal["driver", "device", "tensorrt", "cuda"]
"""What TensorRT needs, in the order in which it is looked for; cuda: pycuda or cuda-bindings."""

_MULTIPROCESSORS, _INTEGRATED, _MAJOR, _MINOR = 16, 18, 75, 76
"""Values of CUdevice_attribute."""
_L4T = re.compile(r"# R([0-9]+) \(release\), REVISION: ([0-9.]+)")
_VERSION = re.compile(r"^NVRM version:.*?\s(\d+\.\d[\d.]*)\s", re.MULTILINE)
_PACKAGES = ("tensorrt_cu13_bindings", "tensorrt_cu12_bindings", "tensorrt_bindings")
"""Distributions that provide the module `tensorrt`; the version of `tensorrt` itself may lag behind theirs."""
_CODES = {
    34: "the library is the CUDA toolkit's stub, not the driver's",
    100: "the driver has found no GPU",
    101: "the driver has found no GPU of that number",
    803: "the driver was updated and the old one still runs: restart the machine",
    804: "its library is not for this GPU's driver",
    999: "its kernel modules do not answer",
}
"""CUresult values of cuInit, in plain words."""


@dataclass(frozen=True, slots=True)
class DriverAnswer:
    """The driver's answer."""

    device: Device | None
    """The first device, which is the one used (CUDA_VISIBLE_DEVICES selects it); None if there is none."""
    n_devices: int = 0
    """Number of devices."""
    installed: bool = True
    """Whether the driver's library is installed at all."""
    cuda: tuple[int, int] | None = None
    """CUDA version that the driver supports."""
    problem: str = ""
    """Why there is no device."""


@dataclass(frozen=True, slots=True)
class Modules:
    """Which of the Python packages are installed; they are only looked for, never imported."""

    tensorrt: bool
    """NVIDIA's bindings for TensorRT."""
    pycuda: bool
    """pycuda."""
    cuda_bindings: bool
    """NVIDIA's own bindings for CUDA."""


def ask_driver(*, root: Path = Path("/"), library: str = LIBRARY) -> DriverAnswer:
    """Ask the driver for its first device; takes well under a millisecond if there is no driver.

    Args:
        root: The folder that contains /etc and /proc.
        library: The driver's library, by a name that the loader finds.
    """
    l4t = read_l4t(root)
    with nullcontext() if l4t is None else muted_stderr():
        try:
            driver = ctypes.CDLL(library)
        except OSError as error:
            return DriverAnswer(None, installed=False, problem=_why_not_loaded(library, error))
        try:
            return _ask(driver, root, l4t)
        except AttributeError as error:  # a library of that name that is not a driver
            return DriverAnswer(None, problem=f"{library} is no CUDA driver: {one_line(str(error))}")


def find_device(*, root: Path = Path("/"), library: str = LIBRARY) -> Device | None:
    """The device that would be used; None if there is no device or no driver."""
    return ask_driver(root=root, library=library).device


def find_modules() -> Modules:
    """Find out which of the Python packages are installed."""
    spec = _spec("cuda")
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    bindings = any((Path(place) / "bindings").is_dir() for place in places)
    return Modules(_spec("tensorrt") is not None, _spec("pycuda") is not None, bindings)


def missing(answer: DriverAnswer, modules: Modules) -> tuple[Need, ...]:
    """What TensorRT needs, to build plans or to run them, but was not found."""
    found: tuple[tuple[Need, bool], ...] = (
        ("driver", answer.installed),
        ("device", answer.device is not None or not answer.installed),  # unknown without a driver
        ("tensorrt", modules.tensorrt),
        ("cuda", modules.pycuda or modules.cuda_bindings),
    )
    return tuple(need for need, there in found if not there)


def require_tensorrt(*, root: Path = Path("/"), library: str = LIBRARY) -> Device:
    """Return the device, if everything that TensorRT needs is present.

    Raises:
        BackendError: Something is missing; the message names everything that is, and how to get it on this machine.
    """
    answer, modules = ask_driver(root=root, library=library), find_modules()
    lacking = missing(answer, modules)
    if answer.device is not None and not lacking and jetpack_of(answer.device.l4t) >= _FIRST_JETPACK:
        return answer.device
    from engines.trt.advice import explain_missing

    raise BackendError(explain_missing(answer, modules, root))


def require_machine() -> Machine:
    """The machine that plans must have been built for to run here.

    Raises:
        BackendError: Something is missing, and the message names all of it; or TensorRT cannot be imported.
    """
    from engines.trt.records import Machine

    return Machine(require_tensorrt(), tensorrt_version())


def find_machine(*, root: Path = Path("/"), library: str = LIBRARY) -> Machine | None:
    """The machine that plans must have been built for to run here; None if something is missing.

    Raises:
        BackendError: TensorRT is installed, but its package does not state a version, and it cannot be imported.
    """
    try:
        device = require_tensorrt(root=root, library=library)
    except BackendError:
        return None
    from engines.trt.records import Machine

    return Machine(device, tensorrt_version())


def tensorrt_version() -> str:
    """The installed TensorRT's version, from its package metadata or else from a process that imports it.

    Raises:
        BackendError: The metadata do not state it, and TensorRT cannot be imported.
    """
    found = {version for name in _PACKAGES if (version := _version(name)) is not None}
    if not found and (version := _version("tensorrt")) is not None:
        found = {version}
    if len(found) == 1:
        return found.pop()
    from engines.trt.trial import try_out

    works, said = try_out("import tensorrt; print(tensorrt.__version__)")
    if not works:
        raise BackendError(
            f"TensorRT: expected a package that can be imported, got: {one_line(said)}; type: ascstream doctor"
        )
    return said


def read_l4t(root: Path = Path("/")) -> str | None:
    """The release of Jetson Linux: "36.4.3"; None on other systems."""
    match = _L4T.search(read_text(root / "etc/nv_tegra_release"))
    return None if match is None else f"{match[1]}.{match[2]}"


_JETPACKS = ((38, 7), (36, 6), (34, 5))
_FIRST_JETPACK = 6
"""Older ones have a TensorRT for Python 3.8 only; we need 3.10."""


def jetpack_of(l4t: str | None) -> int:
    """JetPack version of a Jetson Linux release, 4 for all older ones; the newest known if it is not a Jetson."""
    number = int(l4t.partition(".")[0]) if l4t is not None else _JETPACKS[0][0]
    return next((jetpack for first, jetpack in _JETPACKS if number >= first), 4)


def _ask(driver: Any, root: Path, l4t: str | None) -> DriverAnswer:
    """Ask all questions, in the order that the driver requires."""
    version = ctypes.c_int(0)
    cuda = None
    if driver.cuDriverGetVersion(ctypes.byref(version)) == 0 and version.value > 0:
        cuda = version.value // 1000, version.value % 1000 // 10
    code = driver.cuInit(0)
    count = ctypes.c_int(0)
    if code == 0:
        code = driver.cuDeviceGetCount(ctypes.byref(count))
    handle = ctypes.c_int(0)
    if code == 0 and count.value:
        code = driver.cuDeviceGet(ctypes.byref(handle), 0)
    if code != 0 or not count.value:
        return DriverAnswer(None, cuda=cuda, problem=_why_no_device(code))
    from engines.trt.records import Device  # here, since every command asks at its start, mostly without a device

    name = ctypes.create_string_buffer(256)
    memory = ctypes.c_size_t(0)
    driver.cuDeviceGetName(name, len(name), handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    multiprocessors, integrated, major, minor = _attributes(driver, handle)
    said = _VERSION.search(read_text(root / "proc/driver/nvidia/version"))
    version_text = "CUDA {}.{}".format(*(cuda or (0, 0))) if said is None else said[1]
    device = Device(
        name=one_line(name.value.decode("utf-8", "replace")),
        compute_capability=f"{major}.{minor}",
        integrated=bool(integrated),
        memory_bytes=memory.value,
        driver=version_text if l4t is None else f"{version_text} of Jetson Linux {l4t}",
        l4t=l4t if l4t is None else ".".join(l4t.split(".")[:2]),
        multiprocessors=multiprocessors,
    )
    return DriverAnswer(device, count.value, cuda=cuda)


def _attributes(driver: Any, handle: ctypes.c_int) -> Iterator[int]:
    """Number of multiprocessors, whether it is integrated, and both parts of its compute capability."""
    for attribute in (_MULTIPROCESSORS, _INTEGRATED, _MAJOR, _MINOR):
        value = ctypes.c_int(0)
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle)
        yield value.value


def _why_not_loaded(library: str, error: OSError) -> str:
    """Why the driver's library cannot be loaded."""
    text = str(error)
    absent = "No such file" in text or "not found" in text or "Could not find" in text
    return f"there is no {library}" if absent else f"{library} does not load: {one_line(text)}"


def _why_no_device(code: int) -> str:
    """The meaning of an error code of the driver."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if code in (0, 100) and hidden is not None:
        return f"CUDA_VISIBLE_DEVICES={one_line(hidden)!r} leaves no GPU"
    return f"{_CODES.get(code or 100, 'the driver does not start')} (CUDA error {code or 100})"


def _spec(name: str) -> Any:
    try:
        return find_spec(name)
    except (ImportError, ValueError):  # a stub module without a spec, or a parent package that fails to import
        return None


def _version(distribution: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def read_text(path: Path) -> str:
    """Read a small text file; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
