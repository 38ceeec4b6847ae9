"""Words that nobody means, and surroundings that nobody wants: one sentence and the right exit code each."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.bad_files import float_wav, tone
from support.commands import COMMAND, ascstream, environment, start

Bundle = Callable[[str], Path]
NINES = "9" * 5000
SHOWN = f"'{NINES[:59]}…'\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--step", "1e-9"], 2, "step: expected 0.001 s to the window's 1 s, got 1e-09; try --step 0.5\n"),
        (["--step", "1e-320"], 2, "step: expected 0.001 s to the window's 1 s, got 9.99989e-321; try --step 0.5\n"),
        (["--threads", NINES[:400]], 2, "Invalid value for '--threads': expected a whole number of threads, 1 to 256, "
         f"got {SHOWN}"),
        (["--start", f"{NINES}:00"], 2, f"Invalid value for '--start': expected seconds or hh:mm:ss, got {SHOWN}"),
        (["--start", NINES[:400]], 2, f"Invalid value for '--start': expected seconds or hh:mm:ss, got {SHOWN}"),
        (["--start", "9" * 20], 3, "nothing can be decoded from 1e+20 s on in clip.wav, and it lasts 2.0 s;"),
        (["--bundle", "~nobody-of-this-name/x"], 4, "~nobody-of-this-name/x: expected a folder with a manifest.json"),
        (["--bundle", NINES], 4, f"{NINES}: expected a folder with a manifest.json"),
        (["--bundle", ""], 4, ": expected a folder with a manifest.json, or a shipped bundle"),
        (["", "--quiet"], 3, "expected the name of an input, got an empty one; write . for this folder\n"),
        ([NINES, "--quiet"], 3, f"cannot read {NINES}: File name too long\n"),
        (["http://[::1", "--out", "{stem}.csv", "--quiet"], 3, "cannot read http://[::1: Invalid argument\n"),
    ],
    ids=range(12),
)  # fmt: skip
def test_a_word_nobody_means_is_refused(words: list[str], code: int, message: str, tmp_path: Path) -> None:
    float_wav(tmp_path / "clip.wav", tone(2))
    names = [] if "--quiet" in words else ["clip.wav", "--quiet"]
    done = ascstream("file", *names, *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"ascstream: {message}")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.wav"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "said"), [("SIGINT", "Ctrl-C; results so far are kept"), ("SIGTERM", "SIGTERM")])
def test_a_named_pipe_that_nobody_writes_to_can_be_left(name: str, said: str, tmp_path: Path, bundle: Bundle) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with start("file", pipe, "--quiet", "--bundle", bundle("mono_logmel")) as process:
        time.sleep(1.0)  # it waits in open() by then, or is about to
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=5)
    assert process.returncode == 128 + getattr(signal, name)
    assert errors.decode() == f"ascstream: stopped by {said}\n"


def test_a_named_pipe_whose_writer_falls_silent_can_be_left(tmp_path: Path, bundle: Bundle) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = float_wav(tmp_path / "clip.wav", tone(3)).read_bytes()
    with start("file", pipe, "--quiet", "--bundle", bundle("mono_logmel")) as process, pipe.open("wb") as writer:
        writer.write(data[:-100])
        writer.flush()
        assert process.stdout is not None
        assert b"bus" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=5)
    assert process.returncode == 130
    assert errors.decode() == "ascstream: stopped by Ctrl-C; results so far are kept\n"


CLOSED = {
    ">&-": (1, "ascstream: standard output: Bad file descriptor\n"),
    "2>&-": (0, ""),
    "<&-": (0, ""),
    "<&- >&- 2>&-": (1, ""),
}


@pytest.mark.parametrize("closed", CLOSED)
def test_closed_standard_streams_harm_no_result(closed: str, tmp_path: Path, bundle: Bundle) -> None:
    """A file that is opened next would take the place of standard error, and get what libraries print there."""
    clip = float_wav(tmp_path / "clip.wav", tone(2))
    script = f"{COMMAND} file {clip} --quiet --bundle {bundle('mono_logmel')} --out {tmp_path}/r.csv {closed}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment(), check=False)
    code, message = CLOSED[closed]
    assert (done.returncode, done.stderr) == (code, message)
    rows = (tmp_path / "r.csv").read_text().splitlines()
    assert len(rows) >= 2
    assert all("," in row for row in rows)


def test_closed_standard_input_is_empty(bundle: Bundle) -> None:
    script = f"{COMMAND} file - --quiet --bundle {bundle('mono_logmel')} <&-"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 3
    assert done.stderr == "ascstream: standard input is empty (0 bytes); check the command that feeds it\n"


@pytest.mark.parametrize(
    "words",
    [
        ["URL"],
        ["live", "URL"],
        ["live", "--step", "URL"],
        ["live", "--mic", "0", "--bundle", "URL"],
        ["file", "--format", "URL"],
        ["config", "show", "live", "--source", "URL"],
    ],
    ids=range(6),
)
def test_a_password_in_the_wrong_place_is_not_shown(words: list[str]) -> None:
    done = ascstream(*(word.replace("URL", "rtsp://me:hunter2@host/x") for word in words))
    assert "rtsp://***@host/x" in done.stdout + done.stderr
    assert "hunter2" not in done.stdout + done.stderr
