"""What benchmarks/imports.py says where it has nothing to measure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks/imports.py"


@pytest.mark.parametrize(
    ("words", "folder", "message"),
    [
        (("a", "b"), None, "expected the folder of the test data in ASCSTREAM_TEST_DATA, got nothing\n"),
        (("a", "b"), "nowhere", "expected the folder of the test data in ASCSTREAM_TEST_DATA, got nowhere\n"),
        (("a",), "nowhere", "expected CP_MOBILE_BUNDLE and PLACES_BUNDLE, got 1 names\n"),
    ],
)
def test_a_mistake_ends_in_one_line(words: tuple[str, ...], folder: str | None, message: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ASCSTREAM_TEST_DATA"}
    if folder is not None:
        environment["ASCSTREAM_TEST_DATA"] = folder
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"imports.py: {message}")
