"""Make the bundle that ships from the open recordings and images: one command, about two hours on two cores.

    pip install ai-edge-litert        # runs the teacher of ear.py
    python benchmarks/slim_av.py DATA WORK

DATA holds `scenes_audio/`, `esc10/`, `mic_irs/`, `weights/yamnet/` and `scenes_images/`. All results are written below
WORK, step by step; finished steps are not repeated. For the figures of the model card: `python
benchmarks/slim_av_figures.py WORK`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from open_scenes import lay_out
from slim_av_world import MISMATCHED, SURE

CONFIGS = Path(__file__).parents[1] / "configs"
EAR = ["stem", "blocks", "head"]
"""The parts of slim_audio that compute its embedding."""
CREDIT = (
    "all three learnt the embedding of YAMNet, of Google, Apache-2.0, trained on AudioSet, of these recordings alone, "
    "mixed, and mixed with the sounds of ESC-10, K. J. Piczak 2015, CC BY 3.0, by the contributors to freesound.org "
    "that its list names (github.com/karolpiczak/ESC-10); none of YAMNet's weights is in it"
)
DESCRIPTION = (
    "Urban scenes by ear and by eye, a second at a time, with either missing; from open recordings and pictures."
)


def main() -> int:
    """Parse the command line and do the steps that are not done yet."""
    parser = argparse.ArgumentParser(description="Make slim-av.")
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # sums in one order, whatever the machine
    data, work = options.data.resolve(), options.work.resolve()
    here = Path(__file__).parent
    corpora, prepared, runs, bundles = (work / name for name in ("corpora", "data", "runs", "bundles"))
    visual, audio = CONFIGS / "slim_visual.toml", CONFIGS / "slim_audio.toml"
    if not (corpora / "pictures/labels.csv").exists():
        lay_out(data, corpora)
    for name in ("places", "pictures"):
        trainer("prepare", corpora / name / "labels.csv", prepared / name, "--config", visual)
    # first pretrain on every class of Places, for general image features; then train on those that are scenes
    places = ("name=slim-places", "data.prepared=places", "train.epochs=28", "augment.none_share=0")
    fit(visual, prepared, runs / "slim-places", *places)
    if not (prepared / "places.pt").exists():
        shutil.copy(runs / "slim-places/network/checkpoint.pt", prepared / "places.pt")
    begun = ("model.weights.encoder.file=places.pt", "train.epochs=20", "train.learning_rate=1.5e-3")
    fit(visual, prepared, runs / "slim-visual", *begun)
    # first YAMNet's embedding, without what a fold holds out; then the scenes, training only the last layer
    for name in ("scenes_audio", "mic_irs"):
        if not (prepared / name).exists():
            (prepared / name).symlink_to(data / name, target_is_directory=True)
    run(here / "ear.py", data, prepared / "ear")
    heard = [f"model.weights.{part}.file=ear/{{split}}.pt" for part in EAR]
    heard.append(f"model.weights.head.credit={CREDIT}")
    heard += [f"model.freeze={json.dumps(EAR)}", "train.epochs=7", "train.learning_rate=3e-3"]
    fit(audio, prepared, runs / "slim-audio", *heard)
    bundles.mkdir(exist_ok=True)
    for name in ("slim-visual", "slim-audio"):
        if not (bundles / name).exists():
            trainer("export", runs / name, "--data", prepared, "--out", bundles / name)
    named = ("--name", "slim-av", "--version", "1.1.0", "--description", DESCRIPTION)
    parts = (bundles / "slim-audio", bundles / "slim-visual")
    held_out = (
        "--runs",
        runs / "slim-audio",
        runs / "slim-visual",
        "--mismatched",
        MISMATCHED,
        "--sure",
        SURE[0],
        "--sure-group",
        SURE[1],
    )
    fuse = ("fuse", *parts, "--out", bundles / "slim-av", *held_out, *named)
    if not (work / "notes.md").exists():  # the card ends with measurements of the fused bundle
        trainer(*fuse, "--overwrite")
        run(here / "slim_av_figures.py", work)
        run(here / "slim_av_robustness.py", work, data)
        (work / "notes.md").write_bytes(run(here / "slim_av_notes.py", work, data))
    trainer(*fuse, "--notes", work / "notes.md", "--overwrite")
    print(bundles / "slim-av")
    return 0


def fit(config: Path, root: Path, run: Path, *settings: str) -> None:
    """Train a network, resuming if training was interrupted."""
    if (run / "report.json").exists():
        return
    words = [word for setting in settings for word in ("--set", setting)]
    trainer("fit", config, "--data", root, "--out", run, *words, *(["--resume"] if run.exists() else []))


def run(script: Path, *words: object) -> bytes:
    """Run a script of this folder and return what it prints."""
    return subprocess.run([sys.executable, script, *map(str, words)], check=True, stdout=subprocess.PIPE).stdout


def trainer(*words: object) -> None:
    """Print one command of the trainer, and run it."""
    print("trainer", *words, flush=True)
    subprocess.run([sys.executable, "-m", "trainer", *map(str, words)], check=True)


if __name__ == "__main__":
    sys.exit(main())
