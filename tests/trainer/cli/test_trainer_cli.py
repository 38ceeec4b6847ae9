"""The `trainer` command as a user types it: exit codes, messages, no traceback, no torch for help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.corpus import write_config, write_corpus

from ascstream import __version__
from trainer.models.ours import OURS
from trainer.models.reference import REFERENCES


def trainer(*words: str, cwd: Path, without_torch: bool = False) -> subprocess.CompletedProcess[str]:
    blocked = "for name in ('torch', 'torchaudio'): sys.modules[name] = None\n" if without_torch else ""
    code = f"import sys\n{blocked}from trainer.cli import main\nsys.exit(main())"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASCSTREAM_")}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=cwd,
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_version_and_models_need_no_torch(tmp_path: Path) -> None:
    helped = trainer("--help", cwd=tmp_path, without_torch=True)
    assert helped.returncode == 0
    for word in ("evaluate", "export", "fetch", "fit", "models", "synth"):
        assert f"\n  {word}" in helped.stdout
        assert trainer(word, "--help", cwd=tmp_path, without_torch=True).returncode == 0
    assert trainer("--version", cwd=tmp_path, without_torch=True).stdout == f"trainer {__version__}\n"
    listed = trainer("models", cwd=tmp_path, without_torch=True)
    assert listed.returncode == 0
    lines = listed.stdout.splitlines()
    assert lines[0].split() == [
        "name",
        "modality",
        "input",
        "parameters",
        "MACs",
        "accuracy",
        "log",
        "loss",
        "protocol",
        "fit",
        "with",
    ]
    assert lines[1].split() == [
        "slim_audio",
        "audio",
        "1×64×48",
        "85,292",
        "4.09",
        "M",
        "–",
        "–",
        "–",
        "configs/slim_audio.toml",
    ]
    wave_spec = next(line for line in lines if line.startswith("wave_spec"))
    assert wave_spec.split() == [
        "wave_spec",
        "audio",
        "1×48000",
        "+",
        "1×128×188",
        "1,351,562",
        "874",
        "M",
        "70.8",
        "%",
        "0.915",
        "a",
        "configs/wave_spec.toml",
    ]
    assert "  a  TAU Urban Audio-Visual Scenes 2021, official fold; 1-s segment; epoch: best epoch on the fold" in (
        listed.stdout
    )


def test_models_as_json_keep_each_figure_with_its_protocol(tmp_path: Path) -> None:
    listed = json.loads(trainer("models", "--json", cwd=tmp_path, without_torch=True).stdout)
    by_name = {entry["name"]: entry for entry in listed}
    assert list(by_name) == [*OURS, *REFERENCES]
    assert by_name["slim_audio"]["config"] == "configs/slim_audio.toml"
    assert by_name["slim_audio"]["protocol"] is None
    cp_mobile = by_name["cp_mobile"]
    assert cp_mobile["inputs"] == {"features": [1, 256, 65]}
    assert (cp_mobile["parameters"], cp_mobile["accuracy"]) == (126_952, 0.658)
    assert cp_mobile["protocol"]["corpus"] == "TAU Urban Acoustic Scenes 2022 Mobile, official fold"


def test_a_missing_torch_says_what_to_type(tmp_path: Path) -> None:
    write_config(tmp_path / "toy.toml")
    for words in (("fit", "toy.toml"), ("export",)):
        done = trainer(*words, cwd=tmp_path, without_torch=True)
        assert done.returncode == 4
        assert done.stderr.startswith("trainer: expected torch, which training needs")
        assert done.stderr.endswith("pip install 'ascstream[train]', or in a checkout: pip install -e '.[train]'\n")
        assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["fit", "none.toml"], 2, "trainer: none.toml: expected a TOML file, got: No such file or directory\n"),
        (
            ["fit", "toy.toml", "--set", "train.epoch=1"],
            2,
            "trainer: toy.toml: train.epoch: unknown key; did you mean 'epochs'?\n",
        ),
        (["fit", "toy.toml", "--data", "nowhere"], 3, "name the data folder with --data FOLDER\n"),
        (["evaluate", "nowhere"], 3, "nowhere: expected a run, got: No such file or directory; make one with"),
        (["export"], 3, "runs: expected a folder of runs, got none here; make one with: trainer fit CONFIG\n"),
        (["fit"], 2, "trainer: Missing argument 'CONFIG'.\nTry 'trainer fit --help'.\n"),
        (["train"], 2, "trainer: No such command 'train'"),
    ],
)
def test_a_mistake_ends_with_one_message(tmp_path: Path, words: list[str], code: int, message: str) -> None:
    write_config(tmp_path / "toy.toml")
    done = trainer(*words, cwd=tmp_path)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == code
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_two_commands_make_a_bundle(tmp_path: Path) -> None:
    write_corpus(tmp_path / "data", n_recordings=2, seconds=2.0)
    write_config(tmp_path / "toy.toml")
    quick = (
        "--set",
        "train.epochs=1",
        "--set",
        "train.windows_per_epoch=48",
        "--set",
        "evaluate.hold_out_sources=false",
    )
    fitted = trainer("fit", "toy.toml", "--data", "data", *quick, cwd=tmp_path)
    assert fitted.returncode == 0, fitted.stderr
    assert "held-out recordings" in fitted.stdout
    assert "chance                         0.333     1.099" in fitted.stdout
    again = trainer("fit", "toy.toml", "--data", "data", *quick, cwd=tmp_path)
    assert again.returncode == 2
    assert "runs/toy: expected a new folder, got one with a run; go on with --resume, or choose --out" in again.stderr
    assert trainer("evaluate", cwd=tmp_path).stdout == fitted.stdout
    for _ in range(2):
        exported = trainer("export", "--data", "data", cwd=tmp_path)
        assert exported.returncode == 0, exported.stderr
        assert exported.stdout == "bundles/toy\n"
    assert sorted(path.name for path in (tmp_path / "bundles/toy").iterdir()) == [
        "CARD.md",
        "golden.npz",
        "manifest.json",
        "scene.fp16.onnx",
        "scene.int8.onnx",
        "scene.onnx",
    ]
