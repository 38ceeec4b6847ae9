"""A machine with NVIDIA's driver, or without: the software driver as `libcuda.so.1`, and the files a system has."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from support.commands import environment

_SOURCE = Path(__file__).with_name("cuda") / "software_cuda.c"
SYSTEMS = {
    "jetpack 5": {"etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 1, BOARD: t186ref, EABI: aarch64"},
    "jetpack 6": {"etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64"},
    "jetpack 7": {"etc/nv_tegra_release": "# R38 (release), REVISION: 2.1, GCID: 1, BOARD: generic, EABI: aarch64"},
    "container": {".dockerenv": ""},
    "wsl": {"proc/sys/kernel/osrelease": "6.6.87.2-microsoft-standard-WSL2"},
    "x86": {"etc/os-release": "ID=debian"},
}
"""What tells them apart."""


def make_system(root: Path, name: str) -> Path:
    """The files of a system below `root`, which is given back."""
    for path, text in SYSTEMS[name].items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{text}\n")
    return root


@cache
def driver_folder() -> Path:
    """A folder with the software driver, for LD_LIBRARY_PATH of other processes: once loaded, it stays loaded."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler on Linux; type: apt install gcc")
    folder = Path(mkdtemp(prefix="ascstream-cuda-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = str(folder / "libcuda.so.1")
    subprocess.run([compiler, "-shared", "-fPIC", "-w", "-o", library, str(_SOURCE), "-lpthread", "-ldl"], check=True)
    return folder


def with_driver(**variables: str) -> dict[str, str]:
    """The environment of a process that finds the software driver; its settings as `software_cuda.c` has them."""
    return {"LD_LIBRARY_PATH": str(driver_folder()), **variables}


def python(code: str, **variables: str) -> str:
    """What some Python prints, in a process of its own."""
    words = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(words, env=environment(**variables), capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()
