"""`ascstream doctor`: what works, what does not, and what to type."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import ascstream

Bundle = Callable[[str], Path]


def checks(*words: object, env: dict[str, str]) -> tuple[int, bool, dict[str, dict[str, str]]]:
    done = ascstream("doctor", "--json", *words, env=env)
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["schema"] == 1
    return done.returncode, report["ok"], {check["name"]: check for check in report["checks"]}


@pytest.mark.slow
def test_a_bundle_that_reproduces_its_golden_cases_is_fine(bundle: Bundle) -> None:
    folder = bundle("audio_visual")
    code, ok, found = checks(env={"ASCSTREAM_FILE_BUNDLE": str(folder)})
    assert (code, ok) == (0, True)
    entry = found[f"bundle {folder}"]
    assert entry["status"] == "ok"
    assert entry["value"].startswith("1.0.0, audio+video, 10 scenes; verified, golden within ")
    for name in ("python", "ascstream", "numpy", "onnxruntime", "av", "click", "rich", "platformdirs"):
        assert found[name]["status"] == "ok", found[name]
    assert found["files"]["status"] == "ok"
    assert found["files"]["value"] == ".wav opened, decoded and classified, 1 window"
    assert "FFmpeg" in found["av"]["value"]
    assert "CPUExecutionProvider" in found["onnxruntime"]["value"]
    assert {"portaudio", "cuda driver", "tensorrt", "pycuda", "torch", "settings file"} <= set(found)


@pytest.mark.slow
def test_an_altered_bundle_ends_with_4_and_says_what_to_type(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "altered"
    shutil.copytree(bundle("mono_logmel"), folder)
    (folder / "scene.onnx").write_bytes(b"not a graph")
    code, ok, found = checks(env={"ASCSTREAM_BUNDLE": str(folder)})
    assert (code, ok) == (4, False)
    entry = found[f"bundle {folder}"]
    assert entry["status"] == "failed"
    assert str(folder / "scene.onnx") in entry["value"]
    assert entry["advice"] == "type: ascstream file --bundle FOLDER INPUT"


def test_wrong_settings_are_a_finding_and_the_rest_is_checked(bundle: Bundle, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("stepp = 1\n")
    code, ok, found = checks("--config", config, env={})
    assert (code, ok) == (4, False)
    assert found["settings"]["status"] == "failed"
    assert found["settings"]["value"] == f"{config}: stepp: unknown setting; did you mean 'step'?"
    assert "torch" in found


def test_a_recording_is_classified_with_the_settings_in_force(bundle: Bundle) -> None:
    env = {"ASCSTREAM_BUNDLE": str(bundle("mono_logmel")), "ASCSTREAM_FILE_STEP": "2"}
    code, ok, found = checks(env=env)
    assert (code, ok) == (4, False)
    assert found["files"]["status"] == "failed"
    assert found["files"]["value"].startswith("step: expected ")
    assert found["files"]["advice"] == "type: ascstream config show file"


def test_a_bundle_that_only_sees_gets_a_picture(bundle: Bundle) -> None:
    code, _, found = checks(env={"ASCSTREAM_BUNDLE": str(bundle("image_only"))})
    assert (code, found["files"]["status"]) == (0, "ok"), found["files"]
    assert found["files"]["value"].startswith(".mkv opened")


def test_only_what_files_need_is_called_needed(bundle: Bundle) -> None:
    _, _, found = checks(env={"ASCSTREAM_BUNDLE": str(bundle("mono_logmel"))})
    not_needed = {name for name, check in found.items() if not check["needed"]}
    assert {"portaudio", "disk space", "cuda driver", "tensorrt", "pycuda", "torch"} <= not_needed
    assert not not_needed & {"numpy", "onnxruntime", "av", "click", "rich", "platformdirs", "files"}


def test_the_table_says_in_the_end_what_to_do(bundle: Bundle) -> None:
    done = ascstream("doctor", env={"ASCSTREAM_BUNDLE": str(bundle("mono_logmel"))})
    assert done.returncode == 0
    assert done.stdout.rstrip().splitlines()[-1] == "ascstream file works here; try: ascstream file CLIP"


@pytest.mark.parametrize("module", ["torch", "tensorrt", "pycuda"])
def test_what_is_only_looked_for_is_never_imported(module: str) -> None:
    probe = f"import sys\nfrom ascstream.cli import main\nmain(['doctor'])\nsys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False).returncode == 0
