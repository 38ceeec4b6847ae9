"""`ascstream file` where nothing is wrong: outputs, inputs, settings, and what stderr says."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support.bad_files import every, float_wav, tone, write_clip
from support.bundles import tone_hz
from support.commands import COMMAND, ascstream, environment
from support.typed_bundles import float32_alone

Bundle = Callable[[str], Path]
RATE = 24_000


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 s of a bus, then 3 s of a park."""
    parts = [tone(3, tone_hz(label), RATE) for label in ("bus", "park")]
    return float_wav(tmp_path_factory.mktemp("clip") / "ride.wav", np.concatenate(parts), RATE)


def test_lines_on_a_pipe_and_what_runs_and_the_summary_on_stderr(clip: Path, bundle: Bundle) -> None:
    done = ascstream("file", clip, "--bundle", bundle("mono_logmel"), "--smoothing", "0")
    assert done.returncode == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [(line[0], line[2]) for line in lines] == [
        (f"{end}.0", "bus" if end <= 3 else "park") for end in range(1, 7)
    ]
    first, *summary = done.stderr.splitlines()
    assert re.fullmatch(
        r"bundle mono_logmel 1\.0\.0, onnxruntime [\d.]+ CPU, float32, 1 thread, window 1 s, step 1 s", first
    )
    assert summary[0] == f"{clip} · 6.0 s · 6 windows"
    assert re.search(r"0:00 – 0:03 +B bus", done.stderr)
    assert re.search(r"0:03 – 0:06 +P park", done.stderr)


def test_all_outputs_of_one_run_agree(clip: Path, bundle: Bundle, tmp_path: Path) -> None:
    names = ("r.jsonl", "r.csv", "r.srt", "r.vtt", "r.txt")
    outs = [word for name in names for word in ("--out", tmp_path / name)]
    words = ("--bundle", bundle("mono_logmel"), "--smoothing", 0, "--quiet", "--step", "0.5")
    done = ascstream("file", clip, *words, *outs, "--format", "jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    found = [(row["end"], row["label"]) for row in rows if row["type"] == "prediction"]
    assert [end for end, _ in found] == [1 + 0.5 * number for number in range(11)]
    again = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [(row["end"], row["label"]) for row in again if row["type"] == "prediction"] == found
    with (tmp_path / "r.csv").open(newline="") as file:
        assert [(float(row["end"]), row["label"]) for row in csv.DictReader(file)] == found
    for name in ("r.srt", "r.vtt", "r.txt"):
        text = (tmp_path / name).read_text()
        assert text.index("bus") < text.index("park"), name


def test_start_and_duration_are_times_of_the_medium(clip: Path, bundle: Bundle) -> None:
    words = ("--bundle", bundle("mono_logmel"), "--smoothing", 0, "--quiet", "--format", "jsonl")
    done = ascstream("file", clip, *words, "--start", "0:02", "--duration", "2s")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    found = [(row["start"], row["end"], row["label"]) for row in rows if row["type"] == "prediction"]
    assert found == [(2, 3, "bus"), (3, 4, "park")]


def test_each_input_gets_its_own_captions_where_the_path_has_a_stem(clip: Path, bundle: Bundle, tmp_path: Path) -> None:
    other = float_wav(tmp_path / "walk.wav", tone(2, tone_hz("park"), RATE), RATE)
    done = ascstream("file", clip, other, "--bundle", bundle("mono_logmel"), "--out", tmp_path / "{stem}.srt")
    assert done.returncode == 0
    assert "bus" in (tmp_path / "ride.srt").read_text()
    assert "bus" not in (tmp_path / "walk.srt").read_text()
    assert [line for line in done.stdout.splitlines() if line.startswith("==>")] == [
        f"==> {clip} <==",
        f"==> {other} <==",
    ]


def test_standard_input_is_an_input(clip: Path, bundle: Bundle) -> None:
    words = ("--bundle", bundle("mono_logmel"), "--quiet")
    piped = ascstream("file", "-", *words, stdin=clip.read_bytes())
    assert (piped.returncode, piped.stderr) == (0, "")
    assert piped.stdout == ascstream("file", clip, *words).stdout


@pytest.mark.slow
def test_thresholds_decide_what_is_named(clip: Path, bundle: Bundle) -> None:
    words = ("--bundle", bundle("mono_logmel"), "--smoothing", 0, "--quiet", "--format", "jsonl", "--duration", 2)

    def labels(*more: object) -> set[tuple[str, str]]:
        rows = [json.loads(line) for line in ascstream("file", clip, *words, *more).stdout.splitlines()]
        return {(row["label"], row["level"]) for row in rows if row["type"] == "prediction"}

    assert labels() == {("bus", "scene")}
    assert labels("--scene-threshold", "1", "--group-threshold", "0.5") == {("transportation", "group")}
    assert labels("--scene-threshold", "1", "--group-threshold", "1") == {("unknown", "unknown")}


def test_strict_ends_with_5_and_keeps_the_results(bundle: Bundle, tmp_path: Path) -> None:
    short = float_wav(tmp_path / "short.wav", tone(0.7, tone_hz("bus"), RATE), RATE)
    words = ("--bundle", bundle("mono_logmel"), "--quiet", "--out", tmp_path / "r.jsonl")
    assert ascstream("file", short, *words).returncode == 0
    done = ascstream("file", short, *words, "--strict")
    assert done.returncode == 5
    assert done.stderr == (
        "ascstream: expected every window whole, since --strict was given; "
        "got 1 of 1 with something missing, lost or padded; the results are kept\n"
    )
    assert "prediction" in (tmp_path / "r.jsonl").read_text()


def test_strict_is_content_with_a_whole_file(clip: Path, bundle: Bundle) -> None:
    assert ascstream("file", clip, "--bundle", bundle("mono_logmel"), "--strict").returncode == 0


def test_settings_reach_the_run(clip: Path, bundle: Bundle, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f'bundle = "{bundle("mono_logmel")}"\n[file]\nstep = 0.5\nquiet = true\n')
    done = ascstream("file", clip, env={"ASCSTREAM_CONFIG": str(config), "ASCSTREAM_FORMAT": "csv"})
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(csv.DictReader(done.stdout.splitlines()))) == 11


def test_the_picture_is_not_decoded_for_a_bundle_that_only_listens(bundle: Bundle, tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "a.mp4",
        samples=tone(2, sample_rate=44_100),
        picture=(64, 48),
        frame_times=every(Fraction(1, 10), Fraction(2)),
    )
    data = bytearray(path.read_bytes())
    # MPEG-4 pictures start with this code: broken ones would be noticed by a decoder
    for at in [match.start() for match in re.finditer(b"\x00\x00\x01\xb6", bytes(data))]:
        data[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    done = ascstream("file", path, "--bundle", bundle("mono_logmel"), "--format", "jsonl")
    assert done.returncode == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["label"] for row in rows if row["type"] == "prediction"] == ["bus", "bus"]
    assert {row["type"] for row in rows} == {"prediction", "summary"}


class Terminal:
    """A process whose stdout is a terminal."""

    def __init__(self, *words: object, **options: object) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [str(COMMAND), *map(str, words)],
            stdout=slave,
            stderr=subprocess.PIPE,
            env=environment(TERM="xterm-256color", COLUMNS="100", LINES="30"),
            **options,  # type: ignore[call-overload]
        )
        os.close(slave)

    def read(self, until: bytes = b"") -> bytes:
        """What is drawn until `until` appears in it, or until the process ends."""
        drawn = b""
        while not until or until not in drawn:
            try:
                part = os.read(self._master, 65536)
            except OSError:  # Linux reports the end of a terminal as an error
                break
            drawn += part
            if not part:
                break
        return drawn

    def close(self) -> str:
        """Wait for the process; what it wrote to stderr."""
        os.close(self._master)
        return self.process.communicate(timeout=30)[1].decode()


def test_a_terminal_gets_the_view_and_the_summary_once(clip: Path, bundle: Bundle) -> None:
    terminal = Terminal("file", clip, "--bundle", bundle("mono_logmel"))
    drawn = terminal.read()
    errors = terminal.close()
    assert terminal.process.returncode == 0
    assert len(errors.splitlines()) == 1
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.decode())
    assert text.count(" · 6.0 s · 6 windows") == 1
    assert drawn.rfind(b"\x1b[?25h") > drawn.rfind(b"\x1b[?25l")  # the cursor is shown again


def test_ctrl_c_gives_the_terminal_back_with_the_summary_so_far(clip: Path, bundle: Bundle) -> None:
    sound = clip.read_bytes()
    terminal = Terminal("file", "-", "--bundle", bundle("mono_logmel"), stdin=subprocess.PIPE)
    stdin = terminal.process.stdin
    assert stdin is not None
    stdin.write(sound[:40] + b"\xff\xff\xff\xff" + sound[44:] * 3)  # a WAV of unknown length, and no end
    stdin.flush()
    terminal.read(until=b"park")
    terminal.process.send_signal(signal.SIGINT)
    drawn = terminal.read()
    errors = terminal.close()
    assert terminal.process.returncode == 130
    assert errors.splitlines()[-1] == "ascstream: stopped by Ctrl-C; results so far are kept"
    assert "· broke off" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.decode("utf-8", "replace"))
    assert drawn.rfind(b"\x1b[?25h") > drawn.rfind(b"\x1b[?25l")


def test_a_name_cannot_command_the_terminal(bundle: Bundle, tmp_path: Path) -> None:
    name = "evil\x1b[2J\x07.wav"
    (tmp_path / name).write_text("no sound")
    done = ascstream("file", tmp_path / name, "--bundle", bundle("mono_logmel"), "--quiet")
    assert done.returncode == 3
    assert "\x1b" not in done.stderr
    assert "\x07" not in done.stderr
    assert "evil\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}.wav" in done.stderr


def test_a_name_that_is_not_utf8_is_classified_all_the_same(clip: Path, bundle: Bundle, tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"\xff.wav")  # noqa: PTH118
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(clip.read_bytes())
    done = ascstream("file", tmp_path, "--bundle", bundle("mono_logmel"), "--format", "jsonl", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 7


def test_a_slip_in_the_name_of_a_bundle_gets_a_suggestion(clip: Path) -> None:
    done = ascstream("file", clip, "--bundle", "slim_audio")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.endswith("got neither; did you mean 'slim-audio'?\n")


def test_a_precision_that_a_bundle_lacks_is_said_without_its_folder(clip: Path, tmp_path: Path) -> None:
    for name in ("slim-audio", "slim-av"):
        folder = float32_alone(tmp_path / name, name).path
        done = ascstream("file", clip, "--bundle", folder, "--precision", "int8")
        assert (done.returncode, done.stdout) == (4, "")
        assert done.stderr == f"ascstream: bundle {name} holds float32 only; drop --precision int8\n"


def test_a_terminal_gets_only_the_error_of_an_input_without_a_window(tmp_path: Path, bundle: Bundle) -> None:
    terminal = Terminal("file", float_wav(tmp_path / "empty.wav", tone(0)), "--bundle", bundle("mono_logmel"))
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.read().decode())
    errors = terminal.close()
    assert terminal.process.returncode == 3
    assert "windows" not in drawn
    assert "p50" not in drawn
    assert errors.splitlines()[-1].startswith("ascstream: ")
