"""How a run ends that is stopped: signals, closed pipes, full outputs. What was classified is kept."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.bad_files import float_wav, tone
from support.commands import COMMAND, ascstream, environment, start

Bundle = Callable[[str], Path]
RATE = 24_000


def endless_header() -> bytes:
    """The header of a WAV whose length is not known, as a pipe has it."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, RATE, RATE * 4, 4, 32)
    return b"RIFF\xff\xff\xff\xffWAVE" + form + b"data\xff\xff\xff\xff"


@contextmanager
def running(*words: object) -> Iterator[subprocess.Popen[bytes]]:
    """`ascstream file -` that has printed its first line and waits for more sound."""
    with start("file", "-", *words, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(endless_header() + tone(10, sample_rate=RATE).tobytes())
            process.stdin.flush()
            process.stdout.readline()
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("name", "said", "code"),
    [
        ("SIGINT", "Ctrl-C; results so far are kept", 130),
        ("SIGTERM", "SIGTERM", 143),
        ("SIGHUP", "SIGHUP", 129),
    ],
)
def test_a_signal_ends_the_run_at_once_and_keeps_the_results(
    name: str, said: str, code: int, tmp_path: Path, bundle: Bundle
) -> None:
    out = tmp_path / "r.jsonl"
    srt = tmp_path / "r.srt"
    with running("--bundle", bundle("mono_logmel"), "--step", "0.5", "--out", out, "--out", srt) as process:
        began = time.monotonic()
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=20)
        seconds = time.monotonic() - began
    assert process.returncode == code
    assert seconds < 2
    assert errors.decode().splitlines()[-1] == f"ascstream: stopped by {said}"
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    ends = [line["end"] for line in lines if line["type"] == "prediction"]
    assert ends == [1 + 0.5 * number for number in range(len(ends))]
    assert len(ends) >= 1
    assert "bus" in srt.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.jsonl", "r.srt"]


def test_a_run_under_nohup_outlives_its_terminal(bundle: Bundle) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited by the process, as nohup does it
    try:
        with running("--bundle", bundle("mono_logmel")) as process:
            process.send_signal(signal.SIGHUP)
            output, _ = process.communicate(tone(4, sample_rate=RATE).tobytes(), timeout=20)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert process.returncode == 0
    assert output.count(b"bus") >= 6


def test_a_closed_pipe_ends_quietly_with_0(tmp_path: Path, bundle: Bundle) -> None:
    clip = float_wav(tmp_path / "long.wav", tone(60))
    script = f'{COMMAND} file {clip} --bundle {bundle("mono_logmel")} --step 0.1; echo "code $?" >&2'
    done = subprocess.run(
        ["bash", "-c", f"({script}) | head -n 2"], capture_output=True, text=True, env=environment(), check=False
    )
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr.splitlines()[1:] == ["code 0"]


def test_a_closed_pipe_does_not_cost_the_files(tmp_path: Path, bundle: Bundle) -> None:
    clip = float_wav(tmp_path / "long.wav", tone(30))
    out = tmp_path / "r.csv"
    script = f'{COMMAND} file {clip} --bundle {bundle("mono_logmel")} --quiet --out {out}; echo "code $?" >&2'
    done = subprocess.run(
        ["bash", "-c", f"({script}) | head -n 1"], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.stderr.splitlines() == ["code 0"]
    assert len(out.read_text().splitlines()) == 31


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["config", "show"], ["completion", "bash"], ["doctor"]])
def test_every_command_is_quiet_on_a_pipe_nobody_reads(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [str(COMMAND), *words], stdout=writer, stderr=subprocess.PIPE, env=environment(), check=False, timeout=60
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("kind", ["lines", "jsonl", "csv"])
def test_a_full_disk_behind_stdout_ends_with_1(kind: str, tmp_path: Path, bundle: Bundle) -> None:
    clip = float_wav(tmp_path / "clip.wav", tone(2))
    words = ["file", str(clip), "--bundle", str(bundle("mono_logmel")), "--format", kind, "--quiet"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(COMMAND), *words], stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False
        )
    assert (done.returncode, done.stderr) == (1, "ascstream: standard output: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_help_into_a_full_disk_ends_with_1() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(COMMAND), "--help"], stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False
        )
    assert (done.returncode, done.stderr) == (1, "ascstream: No space left on device\n")


@pytest.mark.slow
def test_debug_shows_the_traceback_and_without_it_there_is_none(tmp_path: Path) -> None:
    plain = ascstream("file", tmp_path / "absent.wav")
    assert plain.stderr.count("\n") == 1
    for done in (
        ascstream("file", tmp_path / "absent.wav", "--debug"),
        ascstream("--debug", "file", tmp_path / "absent.wav"),
        ascstream("file", tmp_path / "absent.wav", env={"ASCSTREAM_DEBUG": "1"}),
    ):
        assert done.returncode == 3
        assert done.stderr.startswith("Traceback (most recent call last):")
        assert done.stderr.endswith(plain.stderr)
