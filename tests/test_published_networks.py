"""The README's ten-scene model in one minute, as it is typed there, with the published files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.recordings import data_folder

ROOT = Path(__file__).parents[1]
WEIGHTS = (
    "cpmobile_tau22_cpjku_dcase23/epoch=149-step=81900.ckpt",
    "squeezenet_places365/squeezenet_places365.npz",
)


def readme_commands() -> str:
    """The lines below that heading."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## A real ten-scene model in one minute")[2]
    return section.partition("```sh\n")[2].partition("```")[0]


@pytest.mark.data
@pytest.mark.slow
def test_a_real_ten_scene_model_in_one_minute(tmp_path: Path) -> None:
    for name in WEIGHTS:
        (tmp_path / Path(name).name).symlink_to(data_folder() / "weights" / name)
    (tmp_path / "clip.mp4").symlink_to(ROOT / "examples/clip.mp4")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", readme_commands()],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if " s  " in line]
    assert len(lines) == 39
    heard = [line[2] for line in lines]
    assert heard[12] == "street_traffic"  # ten drawn seconds beside a road, ten in a park
    assert heard[-1] == "park"
