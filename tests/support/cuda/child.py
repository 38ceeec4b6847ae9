"""A process over the software driver that plays scenes: libcuda is loaded once a process. See scenes.py."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from support.nvidia import driver_folder
from support.tensorrt_tools import cuda_python

ROOT = Path(__file__).parents[3]


class Child:
    """Entered by `with`, and then asked; it must end well, and without a word on standard error."""

    def __init__(self, library: str, **driver: str) -> None:
        self.busy = "SOFTWARE_CUDA_BUSY" in driver
        """Whether the device takes its time."""
        self.integrated = driver.get("SOFTWARE_CUDA_INTEGRATED") == "1"
        """Whether device and processor share their memory."""
        self._process = subprocess.Popen(
            [cuda_python(), "-m", "support.cuda.scenes"],
            env=os.environ
            | {"LD_LIBRARY_PATH": str(driver_folder()), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
            | {"SCENES_CUDA": library, "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"}
            | driver,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def ask(self, scene: str, *arguments: object) -> Any:
        """What a scene answers."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([scene, arguments]) + "\n")
        stdin.flush()
        line = stdout.readline()
        assert line, f"{scene}: the child ended: {self._process.communicate(timeout=60)[1]}"
        return json.loads(line)

    def end(self) -> tuple[int, str]:
        """Let it end: its code, and what it wrote to standard error."""
        _, said = self._process.communicate(timeout=60)
        return self._process.returncode, said

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is not None:
            self._process.kill()
        ended = self.end()
        assert kind is not None or ended == (0, "")
