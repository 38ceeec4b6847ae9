"""Where the tests find what `make trt-tools` made; a test that needs a part skips by its name where it is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "build" / "trt"


def rtx_python() -> Path:
    """Python with TensorRT-RTX and NumPy; `ASCSTREAM_RTX_PYTHON` names another one."""
    return _there(os.environ.get("ASCSTREAM_RTX_PYTHON"), FOLDER / "rtx" / "bin" / "python", "rtx")


def cuda_python() -> Path:
    """Python with pycuda, cuda-bindings and NumPy; `ASCSTREAM_CUDA_PYTHON` names another one."""
    return _there(os.environ.get("ASCSTREAM_CUDA_PYTHON"), FOLDER / "cuda" / "bin" / "python", "cuda")


def no_device() -> Path:
    """A folder whose `libcuda.so.1` finds no device: for LD_LIBRARY_PATH."""
    return _there(os.environ.get("ASCSTREAM_NO_DEVICE"), FOLDER / "no-device" / "libcuda.so.1", "no-device").parent


def stubs(version: str) -> Path:
    """Types of TensorRT's bindings of that version, "10.3" or "11.4": for MYPYPATH."""
    folder = os.environ.get("ASCSTREAM_TRT_STUBS")
    file = Path(version, "tensorrt", "tensorrt.pyi")
    return _there(str(Path(folder) / file) if folder else None, FOLDER / "stubs" / file, "stubs").parents[1]


def floor_python() -> Path:
    """Python 3.10 with NumPy 1.26 and nothing else: the least that builds and runs plans."""
    return _there(None, FOLDER / "floor" / "bin" / "python", "floor")


def _there(named: str | None, usual: Path, part: str) -> Path:
    """A file that was named, which must be there, or the usual one, without which a test skips."""
    if named is not None:
        assert Path(named).is_file(), f"expected the file that the environment names for {part}, got none: {named}"
        return Path(named)
    if not usual.is_file():
        pytest.skip(f"needs the TensorRT tool {part!r}; type: make trt-tools")
    return usual
