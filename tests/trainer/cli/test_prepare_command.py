"""`trainer prepare` as it is typed: what it prints, how it ends, how it goes on."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.clips import CONFIG, noise, small_corpus, write_media

_CODE = "import sys\nsys.modules['torch'] = None\nfrom trainer.cli import main\nsys.exit(main())"
COMMAND = (sys.executable, "-c", _CODE, "prepare")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def prepare(*words: object, cwd: Path, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    def bound() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=bound,
    )


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A list of eight clips and a configuration beside it."""
    made = small_corpus(tmp_path / "clips")
    rows = [
        f"audio/{clip.audio.name},{clip.scene_label},{clip.split},{clip.location},video/{clip.audio.stem}.mp4"
        for clip in made.clips
    ]
    text = "\n".join(["file,scene_label,split,location,video", *rows]) + "\n"
    (tmp_path / "clips/labels.csv").write_text(text, encoding="utf-8")
    (tmp_path / "small.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_it_tells_what_it_did_and_is_done_the_second_time(corpus: Path) -> None:
    words = ("clips", "out", "--config", "small.toml", "--workers", "1")
    done = prepare(*words, cwd=corpus)
    assert (done.returncode, done.stdout) == (0, "out\n")
    assert done.stderr == "8 of 8 clips\n8 clips, 0.0 h, in 1 shards of 0.00 GB in all\n"
    index = json.loads((corpus / "out/index.json").read_bytes())
    assert index["settings"]["picture"]["frame_rate"] == 5.0
    again = prepare(*words, cwd=corpus)
    assert (again.returncode, again.stderr) == (0, "8 clips, 0.0 h, in 1 shards of 0.00 GB in all\n")
    checked = prepare("--verify", "out", cwd=corpus)
    assert (checked.returncode, checked.stdout) == (0, "1 shards as they were written, 8 clips\n")


def test_clips_that_are_left_out_are_named_with_the_reason(corpus: Path) -> None:
    (corpus / "clips/video/clip-5.mp4").write_bytes(b"")
    words = ("clips", "out", "--config", "small.toml", "--workers", "1")
    strict = prepare(*words, "--strict", cwd=corpus)
    assert strict.returncode == 3
    assert "clip-5.mp4 is empty (0 bytes); record or copy it again; mend it and type the same" in strict.stderr
    assert strict.stdout == ""
    done = prepare(*words, cwd=corpus)
    assert (done.returncode, done.stdout) == (0, "out\n")
    lines = done.stderr.splitlines()
    assert lines[:3] == ["left out clip-5", "8 of 8 clips", "7 clips, 0.0 h, in 1 shards of 0.00 GB in all"]
    assert lines[3] == "1 left out:"
    assert lines[4].startswith(f"  clip-5: {corpus}/clips/video/clip-5.mp4: expected a recording, got: ")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "trainer: expected CORPUS, OUT and --config CONFIG, or --verify OUT alone"),
        (
            ("clips", "clips/out", "--config", "small.toml"),
            2,
            "trainer: clips/out: expected a folder outside of the corpus clips, got one inside; choose another",
        ),
        (("clips", "out"), 2, "trainer: expected CORPUS, OUT and --config CONFIG, or --verify OUT alone"),
        (("clips", "--verify", "out"), 2, "trainer: --verify: expected its folder alone, got clips as well"),
        (("clips", "out", "--config", "missing.toml"), 2, "missing.toml: expected a TOML file, got: No such file"),
        (("nothing", "out", "--config", "small.toml"), 3, "nothing: expected the folder of a corpus, or a CSV, got"),
        (("clips", "out", "--config", "small.toml", "--kind", "wav"), 2, "--kind: expected one of tau-av-2021, "),
        (("clips", "out", "--config", "small.toml", "--frame-rate", "1"), 2, "expected at least 2 frames a second"),
        (("clips", "out", "--config", "small.toml", "--set", "audio.sample_rat=1"), 2, "did you mean 'sample_rate'?"),
        (("clips", "clips", "--config", "small.toml"), 2, "clips: expected a new folder, or one that trainer prepare"),
        (("--verify", "clips"), 3, "clips: expected a prepared corpus, got no index.json in it"),
    ],
)
def test_what_cannot_be_is_one_message(corpus: Path, words: tuple[str, ...], code: int, message: str) -> None:
    done = prepare(*words, cwd=corpus)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (corpus / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_full_disk_is_one_error_and_no_end(corpus: Path, n_workers: int) -> None:
    words = ("clips", "out", "--config", "small.toml", "--workers", n_workers)
    full = prepare(*words, cwd=corpus, limit=300_000)
    assert full.returncode == 1
    assert full.stderr.splitlines()[-1] == (
        "trainer: out: expected room for the shards, got: File too large; free some and type the same command again "
        "to go on"
    )
    assert [path.name for path in (corpus / "out").iterdir()] == [".parts"]
    assert prepare(*words, cwd=corpus).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [1, 2])
def test_ctrl_c_stops_it_and_the_same_command_goes_on(tmp_path: Path, n_workers: int) -> None:
    sound = write_media(tmp_path / "noise.wav", samples=noise(10, rate=48_000), rate=48_000)
    for number in range(40):
        path = tmp_path / f"clips/{('park', 'tram')[number % 2]}/{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(sound)
    (tmp_path / "small.toml").write_text(CONFIG[: CONFIG.index("[video]")] + CONFIG[CONFIG.index("[window]") :])
    words = (*COMMAND, "clips", "out", "--config", "small.toml", "--workers", str(n_workers))
    process = subprocess.Popen(
        words,
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/.shard-*.partial")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all of them
    printed, message = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")
    assert message.splitlines()[-1] == "trainer: stopped; type the same command again to go on"
    assert "Traceback" not in message
    assert not list(tmp_path.glob("out/.*.partial"))
    assert not (tmp_path / "out/index.json").exists()
    done = prepare(*words[len(COMMAND) :], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "out\n")
    assert "40 clips, 0.1 h" in done.stderr
