"""A process of ours loads nothing that lies in the folder it was started in, and ends with what its module says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from engines.child_process import command_of


@pytest.mark.parametrize("name", ["numpy", "tensorrt", "json", "engines"])
def test_nothing_in_the_current_folder_is_loaded(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("raise SystemExit('loaded from here')\n")
    words = [*command_of("engines.trt.worker"), str(tmp_path / "exchange")]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "loaded from here" not in done.stderr
    assert "request.json" in done.stderr.splitlines()[-1] or "No such file" in done.stderr.splitlines()[-1]
