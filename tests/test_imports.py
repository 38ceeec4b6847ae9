"""What a bare interpreter loads: importing the packages brings nothing heavy, asking for help brings no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("av", "onnxruntime", "rich", "scipy", "sounddevice", "torch", "torchaudio")


def loaded_after(code: str) -> set[str]:
    """Which of the heavy modules a fresh interpreter holds after running `code`."""
    probe = f"import sys\n{code}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "package", ["ascstream", "engines", "engines.manifest", "ascstream.cli", "trainer", "trainer.cli"]
)
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    assert loaded_after(f"import {package}") == set()


def test_a_file_is_classified_without_torch_or_sound_card() -> None:
    assert loaded_after("from ascstream import Classifier, open_media, stream") == {"av"} | (
        loaded_after("import ascstream.classifier") & {"onnxruntime"}
    )


@pytest.mark.parametrize("program", ["ascstream", "trainer"])
def test_help_works_where_torch_is_not_installed(program: str) -> None:
    code = (
        "import sys\n"
        f"for name in ('torch', 'torchaudio'): sys.modules[name] = None\n"
        f"sys.argv = [{program!r}, '--help']\n"
        f"from {program}.cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
