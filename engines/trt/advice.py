"""How to get what TensorRT needs on this kind of machine: one message that names everything that is missing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from engines.trt.driver import DriverAnswer, Modules, Need, jetpack_of, missing, read_l4t, read_text

_PYTHONS = {6: (3, 10), 7: (3, 12)}
"""JetPack version to the Python version that its TensorRT supports."""
_FIRST_CUDA = 12


def explain_missing(answer: DriverAnswer, modules: Modules, root: Path = Path("/")) -> str:
    """One line that names what is missing, then a line for each item: how to get it.

    Args:
        answer: The driver's answer.
        modules: The Python packages that were found.
        root: The folder that contains /etc, /proc and the rest.
    """
    l4t = read_l4t(root)
    if l4t is not None and jetpack_of(l4t) not in _PYTHONS:
        return (
            f"TensorRT: expected JetPack 6 or later, got JetPack {jetpack_of(l4t)} (Jetson Linux {l4t}), whose "
            "TensorRT is for Python 3.8 or older, and ascstream needs 3.10; update the device to JetPack 6 "
            "(NVIDIA SDK Manager, or a new system image)"
        )
    lacking = missing(answer, modules)
    first = f"TensorRT: expected {_listed(list(_WANTED.values()))}; missing: {_listed(_said(lacking, answer))}"
    return "\n".join((first, *(f"  {_TITLES[need]}: {advise(need, answer, root)}" for need in lacking)))


_WANTED: dict[Need, str] = {
    "driver": "NVIDIA's driver",
    "device": "a GPU",
    "tensorrt": "the package tensorrt",
    "cuda": "pycuda or cuda-bindings",
}
_TITLES: dict[Need, str] = {"driver": "driver", "device": "GPU", "tensorrt": "tensorrt", "cuda": "pycuda"}


def _said(lacking: Sequence[Need], answer: DriverAnswer) -> list[str]:
    """What is missing, each with the reason if the driver gave one."""
    return [_WANTED[need] + (f" ({answer.problem})" if need in ("driver", "device") else "") for need in lacking]


def _listed(words: Sequence[str]) -> str:
    """Join words as in a sentence: with commas and "and"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def advise(need: Need, answer: DriverAnswer, root: Path = Path("/")) -> str:
    """What to do about one missing item."""
    l4t = read_l4t(root)
    if need in ("driver", "device"):
        return _advise_driver(need, l4t, root)
    if l4t is not None:
        return _advise_jetson(need, jetpack_of(l4t), root)
    cuda = answer.cuda
    if cuda is not None and cuda[0] < _FIRST_CUDA:
        return f"first update the driver, which speaks CUDA {cuda[0]}.{cuda[1]}, to one of CUDA 12 or 13"
    if need == "tensorrt":
        if cuda is None:
            return "type: pip install tensorrt-cu13 (driver 580 or newer), or: pip install tensorrt-cu12 (535 or newer)"
        return f"type: pip install tensorrt-cu{min(cuda[0], 13)} (the driver speaks CUDA {cuda[0]}.{cuda[1]})"
    return f"type: pip install pycuda (needs the CUDA toolkit and g++), or: {_bindings(cuda)}"


def _bindings(cuda: tuple[int, int] | None) -> str:
    """The command that installs cuda-bindings for a driver of that CUDA version."""
    return (
        'pip install "cuda-bindings<13"' if cuda is not None and cuda[0] == _FIRST_CUDA else "pip install cuda-bindings"
    )


def _advise_driver(need: Need, l4t: str | None, root: Path) -> str:
    """Where to get a driver, or how to make a device visible to it."""
    if l4t is not None:
        return (
            "may this user open it? type: sudo usermod -aG video,render $USER, then log in again; in a container: "
            "docker run --runtime nvidia …"
        )
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists():
        return "a container gets both from its host: docker run --gpus all … (on a Jetson: --runtime nvidia)"
    if "microsoft" in read_text(root / "proc/sys/kernel/osrelease").lower():
        return "install NVIDIA's driver in Windows, none in here, then type there: wsl --shutdown"
    if sys.platform == "darwin":
        return "there is none for macOS"
    if need == "driver":
        return (
            "where the machine has an NVIDIA GPU, install its driver: sudo ubuntu-drivers install (Ubuntu), "
            "sudo apt install nvidia-driver (Debian), or NVIDIA's own; then restart"
        )
    return (
        "is one built in (lspci | grep -i nvidia)? then see what the driver says: nvidia-smi; sudo modprobe nvidia_uvm"
    )


def _advise_jetson(need: Need, jetpack: int, root: Path) -> str:
    """What JetPack provides, and how to make it visible in a virtual environment."""
    python = "{}.{}".format(*_PYTHONS[jetpack])
    if need == "cuda":
        bindings = 'pip install "cuda-bindings<13"' if jetpack == 6 else "pip install cuda-bindings"
        return (
            "type: sudo apt install nvidia-jetpack build-essential python3-dev, then: "
            f"PATH=/usr/local/cuda/bin:$PATH pip install pycuda, or: {bindings}"
        )
    environment = f"python{python} -m venv --system-site-packages FOLDER"
    if any((root / f"usr/lib/{name}/dist-packages/tensorrt").is_dir() for name in ("python3", f"python{python}")):
        return f"it is here, for the system's Python {python}; make an environment that sees it: {environment}"
    return (
        f"it comes with JetPack {jetpack}, for Python {python}: sudo apt install nvidia-jetpack, "
        f"and an environment that sees it: {environment}"
    )
