"""What is tried in a process of its own says how it went, whatever became of the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.trt.trial import try_out


def test_what_was_printed_last_is_the_answer() -> None:
    assert try_out("print(1); print('10.3.0')") == (True, "10.3.0")


def test_a_failure_is_its_last_line() -> None:
    assert try_out("1/0") == (False, "ZeroDivisionError: division by zero")
    assert try_out("raise SystemExit(3)") == (False, "it ended with code 3")


def test_a_crash_is_named() -> None:
    assert try_out("import os; os.kill(os.getpid(), 11)") == (False, "it crashed (SIGSEGV)")


def test_nothing_is_imported_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("print('planted')\n")
    monkeypatch.chdir(tmp_path)
    works, said = try_out("import tensorrt")
    assert "planted" not in said
    assert works or said.startswith("ModuleNotFoundError")
