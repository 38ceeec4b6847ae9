"""What the TensorRT tests need on a machine without a GPU, from the package index alone: `make trt-tools`.

    python tests/tools/tensorrt_tools.py [--folder build/trt] [PART …]

    rtx        an environment with TensorRT-RTX, which compiles graphs ahead of time, and NumPy
    cuda       an environment with pycuda, built here against no_device.c, cuda-bindings and NumPy
    no-device  libcuda.so.1 of a machine without a device, for that pycuda: name its folder in LD_LIBRARY_PATH
    floor      Python 3.10 and NumPy 1.26: the least that builds and runs plans; left out where there is no Python 3.10
    stubs      types of TensorRT's oldest and newest bindings, read over no_tensorrt.c: `make trt-types`

What is there already is kept; a part that was made otherwise, or by another Python, is made anew. Needs a C and a C++
compiler. Nothing that is downloaded is ever committed: the folder is one that git ignores.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "build" / "trt"
RTX = ("tensorrt-rtx==1.7.1.116", "numpy>=1.26")
CUDA = ("cuda-bindings>=12.6", "numpy>=1.26", "pytools", "platformdirs", "mako")
PYCUDA = "pycuda==2026.1"
HEADERS = ("nvidia-cuda-runtime-cu12==12.9.79", "nvidia-cuda-profiler-api-cu12==12.9.79")
"""cuda.h and cudaProfiler.h; they matter to the build only."""
FLOOR = ("3.10", "numpy==1.26.4")
STUBGEN = ("pybind11-stubgen==3.0.0", "numpy>=1.26")
BINDINGS = {"10.3": "tensorrt-cu12-bindings==10.3.0", "11.4": "tensorrt-cu13-bindings==11.4.0.106"}
MAY_BE_NONE = ("build_serialized_network", "deserialize_cuda_engine", "create_execution_context")
"""A C++ null pointer is None, which the bindings' signatures do not say."""

RUN_TIME = {
    "Dims": "__iter__(self) -> typing.Iterator[int]",
    "IHostMemory": "__buffer__(self, flags: int, /) -> memoryview",
}
"""What these classes can do besides, in the way of C."""


class ToolError(Exception):
    """A part that cannot be made; the message says which, and why."""


class AbsentError(Exception):
    """A part that this machine cannot have, and that tests do without."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args()
    if unknown := [part for part in args.parts if part not in PARTS]:
        parser.error(f"expected {', '.join(PARTS)}, got {', '.join(unknown)}")
    folder = args.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        return max(pool.map(lambda part: told(folder, part), args.parts or PARTS))


def told(folder: Path, part: str) -> int:
    """Make a part and say so; 1 where that cannot be."""
    begun = time.monotonic()
    try:
        made = once(folder / part, PARTS[part])
    except AbsentError as error:
        print(f"{part}: {error}", flush=True)
        return 0
    except ToolError as error:
        print(f"{part}: {error}", file=sys.stderr)
        return 1
    print(f"{part}: {f'made in {time.monotonic() - begun:.0f} s' if made else 'was there'}", flush=True)
    return 0


def once(place: Path, make: Callable[[Path], None]) -> bool:
    """Make a part, unless the same recipe made it already; a half-made one is taken away."""
    sources = b"".join(path.read_bytes() for path in (Path(__file__), *sorted(HERE.glob("*.c"))))
    recipe = f"{hashlib.sha256(sources).hexdigest()} {sys.version} {place}"
    stamp = place / "MADE"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == recipe:
        return False
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        make(place)
        stamp.write_text(recipe, encoding="utf-8")
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return True


def make_rtx(place: Path) -> None:
    python = environment(place, *RTX)
    run(python, "-c", "import tensorrt_rtx")


def make_cuda(place: Path) -> None:
    python = environment(place, *CUDA, "setuptools", "wheel")
    work = place / "build"
    make_no_device(work / "driver")
    (work / "driver" / "libcuda.so").symlink_to("libcuda.so.1")
    download(python, work, *HEADERS, PYCUDA, options=("--no-build-isolation", "--no-binary", "pycuda"))
    for wheel in work.glob("*.whl"):
        unpack(wheel, work / "include", lambda name: name.endswith(".h") and "/include/" in name, flat=True)
    (archive,) = work.glob("pycuda-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(work, filter="data")
    source = work / archive.name.removesuffix(".tar.gz")
    run(
        *(python, "configure.py", f"--cuda-inc-dir={work / 'include'}", f"--cudadrv-lib-dir={work / 'driver'}"),
        *("--no-cuda-enable-curand", "--cxxflags=-O0,-g0", "--ldflags="),
        folder=source,
    )
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", source)
    run(
        *(python, "-c", "import pycuda.driver, cuda.bindings.driver"),
        environ={"LD_LIBRARY_PATH": str(work / "driver")},
        folder=place,
    )
    shutil.rmtree(work)


def make_floor(place: Path) -> None:
    python = find_python(FLOOR[0])
    if python is None:
        raise AbsentError(f"left out, there is no Python {FLOOR[0]} here")
    environment(place, *FLOOR[1:], base=python)


def make_no_device(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    compile_library(HERE / "no_device.c", place / "libcuda.so.1")


def make_stubs(place: Path) -> None:
    work = place / "work"
    python = environment(work / "python", *STUBGEN)
    for version, wheel in BINDINGS.items():
        here = work / version
        download(python, here, wheel)
        unpack(next(here.glob("*.whl")), here, lambda name: name.startswith("tensorrt_bindings/"))
        (here / "tensorrt_bindings").rename(here / "tensorrt")
        for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
            compile_library(HERE / "no_tensorrt.c", here / f"lib{library}.so.{version.partition('.')[0]}")
        run(
            *(python, "-m", "pybind11_stubgen", "tensorrt", "--output-dir", place / version),
            environ={"LD_LIBRARY_PATH": str(here), "PYTHONPATH": str(here)},
        )
        stub = place / version / "tensorrt" / "tensorrt.pyi"
        stub.write_text(mended(stub.read_text(encoding="utf-8")), encoding="utf-8")
    shutil.rmtree(work)


def mended(stub: str) -> str:
    """What the bindings' own signatures, which nobody compiles, say in a way that Python does not understand."""
    stub = re.sub(r"\bin: ", "in_: ", stub)
    stub = re.sub(r"(channel_axis: [\w.]+)\)", r"\1 = ...)", stub)  # after parameters with a default
    stub = re.sub(r"\bcapsule\b", "object", stub)
    stub = re.sub(r"(: |-> |\[|\| )bool\b", r"\1builtins.bool", stub)  # `tensorrt.bool` is a type of tensors
    for name, method in RUN_TIME.items():
        stub = re.sub(rf"(\nclass {name}\b.*:\n)", rf"\1    def {method}: ...\n", stub, count=1)
    for name in MAY_BE_NONE:
        stub, n_found = re.subn(rf"(def {name}\(.*\) -> \w+):", r"\1 | None:", stub)
        if not n_found:
            raise ToolError(f"expected {name} among TensorRT's functions, got none")
    return stub.replace("import typing\n", "import builtins\nimport typing\nimport typing_extensions\n", 1)


PARTS: dict[str, Callable[[Path], None]] = {
    "cuda": make_cuda,
    "floor": make_floor,
    "no-device": make_no_device,
    "rtx": make_rtx,
    "stubs": make_stubs,
}


def environment(place: Path, *packages: str, base: Path = Path(sys.executable)) -> Path:
    """A virtual environment with these packages; gives its Python."""
    run(base, "-m", "venv", place)
    python = place / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip")
    run(python, "-m", "pip", "install", "--quiet", *packages)
    return python


def find_python(version: str) -> Path | None:
    """A Python of that version, pyenv's or the system's."""
    folders = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin"))
    found = shutil.which(f"python{version}", path=os.pathsep.join(map(str, folders))) or shutil.which(
        f"python{version}"
    )
    if found is None:
        return None
    works = subprocess.run([found, "-c", "import venv, ensurepip"], capture_output=True, check=False).returncode == 0
    return Path(found) if works else None


def download(python: Path, folder: Path, *packages: str, options: tuple[str, ...] = ()) -> None:
    """Fetch packages as they are, without what they depend on."""
    run(python, "-m", "pip", "download", "--quiet", "--no-deps", *options, "--dest", folder, *packages)


def unpack(wheel: Path, folder: Path, wanted: Callable[[str], bool], *, flat: bool = False) -> None:
    """Take the wanted files out of a wheel; flat: all into one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in filter(wanted, archive.namelist()):
            if flat:
                (folder / Path(name).name).write_bytes(archive.read(name))
            else:
                archive.extract(name, folder)


def compile_library(source: Path, library: Path) -> None:
    """One C file to one shared library that goes by its file's name."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise ToolError("expected a C compiler, got none; type: apt-get install build-essential")
    run(compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", f"-Wl,-soname,{library.name}", "-o", library, source)


def run(*command: str | Path, folder: Path | None = None, environ: dict[str, str] | None = None) -> None:
    """Run a command quietly.

    Raises:
        ToolError: It failed; the message ends with what it said last.
    """
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        said = "\n".join(done.stdout.splitlines()[-30:])
        raise ToolError(f"expected this to work: {' '.join(str(word) for word in command)}\n{said}")


if __name__ == "__main__":
    sys.exit(main())
