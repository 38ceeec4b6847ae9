"""Every example script runs as a user would run it, and prints what it promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.glob("0*.py"))
PROMISES = {
    "01_classify_file.py": r"^ +\d+\.\d s  [a-z_]+  \d+%$",
    "02_timeline.py": r"^ +0\.0 to +\d+\.\d s  [a-z_]+$",
    "03_own_samples.py": r"^   3\.0 s  [a-z_]+",
    "04_engine_alone.py": r"^onnxruntime .*: p50 \d+\.\d\d ms, p99 \d+\.\d\d ms a window$",
}


def test_there_are_four_and_each_has_a_promise() -> None:
    assert [script.name for script in SCRIPTS] == sorted(PROMISES)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_an_example_runs_and_prints_what_it_promises(script: Path, tmp_path: Path) -> None:
    assert len(script.read_text(encoding="utf-8").splitlines()) < 40
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(PROMISES[script.name], done.stdout, re.MULTILINE), done.stdout
