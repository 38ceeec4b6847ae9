"""The documents tell the truth: links lead somewhere, Python in them runs, commands in them exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"`?(ascstream|trainer) ([a-z][a-z-]*)")
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)|<img src=\"([^\"]+)\"")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    for first, second in LINK.findall(page.read_text(encoding="utf-8")):
        target = first or second
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_python_in_the_readme_runs() -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ +\d+\.\d s  [a-z_]+", done.stdout, re.MULTILINE)
    assert len(code.splitlines()) <= 12


@pytest.mark.slow
@pytest.mark.parametrize("program", ["ascstream", "trainer"])
def test_every_command_that_a_page_shows_exists(program: str) -> None:
    shown = {
        command
        for page in PAGES
        for block in blocks(page, "(?:sh|console|bash)")
        for name, command in COMMAND.findall(block)
        if name == program
    }
    for command in shown:
        done = subprocess.run(
            [str(Path(sys.executable).with_name(program)), command, "--help"], capture_output=True, check=False
        )
        assert done.returncode == 0, f"{program} {command}"


def test_the_two_commands_stand_in_the_readme() -> None:
    lines = [
        line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if "python3 -m venv" in line
    ]
    assert len(lines) == 2
    assert "ascstream file examples/clip.mp4" in lines[0]
    assert "pytest" in lines[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_nothing_is_left_to_be_filled_in(page: Path) -> None:
    words = r"\b(?:TODO|TBD|FIXME|XXX|(?!ASCSTREAM_|CUDA_|PULSE_)[A-Z]{4,}_[A-Z]{4,})\b"  # but for variables
    assert not re.findall(words, page.read_text(encoding="utf-8"))
