"""`trainer fetch` and `trainer synth` as they are typed: consent, progress, what is left, how they end."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from support.web import serving

from trainer.cli.fetch import FetchProgress
from trainer.data.fetch import ARCHIVES, Archive, fetch_tau_av_2021
from trainer.data.tau_av_2021 import FOLDER, read_tau_av_2021

_CODE = "import sys\nsys.modules['torch'] = None\nfrom trainer.cli import main\nsys.exit(main())"


def trainer(*words: str, cwd: Path, answer: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _CODE, *words],
        cwd=cwd,
        input=answer,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("", "expected an answer about the licence, got none; type the same command with --accept-licence"),
        ("n\n", "expected consent to the licence, got none; nothing was downloaded\n"),
    ],
)
def test_nothing_is_downloaded_without_consent(tmp_path: Path, answer: str, message: str) -> None:
    done = trainer("fetch", "tau-av-2021", "corpus", cwd=tmp_path, answer=answer)
    assert done.returncode == 2
    assert "non-commercial purposes only" in done.stderr
    assert "25 of 25 archives are not in corpus yet: 107.6 GB to download" in done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "corpus").exists()


def test_the_pictures_can_be_left_out(tmp_path: Path) -> None:
    done = trainer("fetch", "tau-av-2021", "corpus", "--no-video", cwd=tmp_path, answer="n\n")
    assert "9 of 9 archives are not in corpus yet: 30.4 GB to download" in done.stderr


def test_a_corpus_that_is_here_asks_nothing(tmp_path: Path) -> None:
    marks = tmp_path / "corpus/.archives"
    marks.mkdir(parents=True)
    for archive in ARCHIVES:
        (marks / f"{archive.name}.done").write_text(json.dumps({"md5": archive.md5, "files": {}}))
    done = trainer("fetch", "tau-av-2021", "corpus", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "corpus\n", "")


def test_an_unknown_corpus_is_named(tmp_path: Path) -> None:
    done = trainer("fetch", "audioset", "corpus", cwd=tmp_path)
    assert done.returncode == 2
    assert "'audioset' is not 'tau-av-2021'" in done.stderr


def test_fetching_tells_each_step_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(f"{FOLDER}/meta.csv", "x" * 1_000_000)
    body = buffer.getvalue()
    archive = Archive("meta", hashlib.md5(body, usedforsecurity=False).hexdigest(), len(body))
    with serving({f"/files/{archive.file_name}": body}) as server, FetchProgress() as progress:
        fetch_tau_av_2021(
            tmp_path, consent=lambda _: True, on_progress=progress, record=server.url, archives=[archive]
        )  # fmt: skip
    assert capsys.readouterr().err == "downloading meta (1 of 1), 1.0 MB\nunpacking meta (1 of 1), 1.0 MB\n"


@pytest.mark.slow
def test_synth_writes_a_corpus_that_is_read(tmp_path: Path) -> None:
    words = ("synth", "corpus", "--clips-per-cell", "2", "--seconds", "0.2", "--city", "lisbon", "--seed", "4")
    done = trainer(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "corpus\n", "30 of 30 clips\n")
    assert len(read_tau_av_2021(tmp_path / "corpus").clips) == 30
    again = trainer(*words, cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr == "trainer: corpus: expected a new folder, got something that is there already\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--city", "atlantis"), "trainer: expected some of the cities barcelona, helsinki,"),
        (("--clips-per-cell", "0"), "trainer: expected 1 to 2,000 clips a scene and city, got 0\n"),
        (("--seconds", "0"), "trainer: expected clips of 0.1 to 600 seconds, got 0\n"),
    ],
)
def test_a_corpus_that_cannot_be_is_refused(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    done = trainer("synth", "corpus", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing_of_a_corpus(tmp_path: Path) -> None:
    words = ("synth", "corpus", "--clips-per-cell", "2", "--seconds", "1")
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / ".corpus.partial/audio").is_dir() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, message = process.communicate(timeout=60)
    assert (process.returncode, printed, message) == (130, "", "trainer: stopped; nothing was written\n")
    assert list(tmp_path.iterdir()) == []
