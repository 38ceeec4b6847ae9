"""`ascstream live` as its user meets it: real processes, whose microphone is a file that is played in real time."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bad_files import float_wav, tone
from support.cameras import MjpegCamera
from support.commands import COMMAND, ascstream, environment, start
from support.pulse import PulseServer, needs_pulse
from support.waiting import until

from ascstream.devices import list_devices

Bundle = Callable[[str], Path]
RATE = 24_000


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is heard as "bus", whatever second of it."""
    return float_wav(tmp_path_factory.mktemp("sound") / "hum.wav", tone(4, sample_rate=RATE), sample_rate=RATE)


@contextmanager
def running(*words: object, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """`ascstream live` that has printed its first line."""
    with start("live", *words, **options) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def predictions(text: str) -> list[dict[str, Any]]:
    return [record for record in records(text) if record["type"] == "prediction"]


@pytest.mark.slow
def test_without_devices_one_message_says_what_to_do(bundle: Bundle) -> None:
    found = list_devices()
    if found.microphones:
        pytest.skip("this machine has a microphone")
    either = (["live"], ["live", "--strict", "--format", "jsonl"])
    named = ["live", "--mic", "0", "--camera", "0"]
    for words in ([*words, "--bundle", "slim-audio"] for words in (*either, named)):
        done = ascstream(*words)
        assert (done.returncode, done.stdout) == (3, "")
        message = done.stderr.splitlines()[-1]
        assert message.startswith('ascstream: expected a microphone for "0", found none; ')
        assert message.endswith("type: ascstream doctor")
    if not found.cameras:
        for words in (*either, named, ["live", "--bundle", bundle("audio_visual")]):
            done = ascstream(*words)
            assert (done.returncode, done.stdout) == (3, "")
            first, second = done.stderr.splitlines()
            assert first.startswith('ascstream: expected a microphone for "0", found none; ')
            assert second.startswith('expected a camera for "0", found none; ')
            assert second.endswith("type: ascstream doctor")


def test_what_is_there_of_two_that_were_named_is_what_to_go_on_with(microphone: Path, bundle: Bundle) -> None:
    done = ascstream("live", "--mic", microphone, "--camera", "/dev/video77", "--bundle", bundle("audio_visual"))
    assert (done.returncode, done.stdout) == (3, "")
    message = done.stderr.splitlines()[-1]
    assert message.startswith("ascstream: expected a camera")
    assert message.endswith(f"; to go on without, type: ascstream live --mic {microphone}")


@pytest.mark.slow
def test_answers_come_in_real_time_with_the_time_of_day(microphone: Path, bundle: Bundle) -> None:
    before = datetime.now(timezone.utc)
    words = ["--mic", microphone, "--bundle", bundle("mono_logmel"), "--step", "0.5", "--duration", "3"]
    done = ascstream("live", *words, "--format", "jsonl")
    after = datetime.now(timezone.utc)
    assert done.returncode == 0
    told = predictions(done.stdout)
    ends = [record["end"] for record in told]
    assert ends[-1] == 3.0
    assert set(ends) <= {1.0, 1.5, 2.0, 2.5, 3.0}
    assert {record["label"] for record in told} == {"bus"}
    times = [datetime.fromisoformat(record["time"].replace("Z", "+00:00")) for record in told]
    slack = timedelta(seconds=1)
    assert before - slack < times[0] < times[-1] < after + slack
    assert all(0 <= record["latency_seconds"] < 20 for record in told)
    assert records(done.stdout)[-1]["type"] == "summary"
    lines = done.stderr.splitlines()
    assert lines[0].startswith("bundle mono_logmel 1.0.0, onnxruntime ")
    assert f"; microphone {microphone}, 24000 Hz, 1 channel, pcm_f32le; window 1 s, step 0.5 s" in lines[0]
    assert "3.0 s · " in lines[1]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_the_run_at_once_and_keeps_the_results(
    name: str, code: int, tmp_path: Path, microphone: Path, bundle: Bundle
) -> None:
    outs = [tmp_path / "r.jsonl", tmp_path / "r.csv", tmp_path / "r.srt"]
    words = [word for out in outs for word in ("--out", out)]
    with running("--mic", microphone, "--bundle", bundle("mono_logmel"), "--step", "0.2", *words) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        recorder = children.read_text().split() if children.exists() else []
        time.sleep(0.5)
        began = time.monotonic()
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=20)
        seconds = time.monotonic() - began
    assert process.returncode == code
    assert seconds < 3  # a tenth of a second where nothing else runs
    assert errors.decode().splitlines()[-1].startswith("ascstream: stopped by ")
    assert len(predictions(outs[0].read_text())) >= 2
    assert len(outs[1].read_text().splitlines()) >= 3
    assert "bus" in outs[2].read_text()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in recorder))


@pytest.mark.slow
def test_a_hangup_without_a_terminal_opens_files_and_devices_anew(
    tmp_path: Path, microphone: Path, bundle: Bundle
) -> None:
    out, moved = tmp_path / "r.jsonl", tmp_path / "r.jsonl.1"
    words = ["--mic", microphone, "--bundle", bundle("mono_logmel"), "--step", "0.2", "--out", out]
    with running(*words, start_new_session=True) as process:
        until(lambda: predictions(out.read_text()))
        out.rename(moved)
        process.send_signal(signal.SIGHUP)
        until(out.exists)
        until(lambda: any("no_" not in (record["reason"] or "") for record in predictions(out.read_text())))
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 143
    assert "info     SIGHUP: files and devices are opened anew" in errors.decode()
    told = predictions(moved.read_text() + out.read_text())
    ends = [record["end"] for record in told]
    assert ends == sorted(ends)
    assert {record["label"] for record in told} <= {"bus", "transportation", "unknown"}


@pytest.mark.slow
def test_a_terminal_that_is_closed_ends_the_run_with_129(tmp_path: Path, microphone: Path, bundle: Bundle) -> None:
    out = tmp_path / "r.jsonl"
    words = ["live", "--mic", microphone, "--bundle", bundle("mono_logmel"), "--step", "0.2", "--out", out]
    terminal, side = pty.openpty()
    # a session of its own whose terminal this is: what a terminal's program starts
    script = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(COMMAND), *map(str, words)],
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
        env=environment(TERM="xterm", COLUMNS="80", LINES="24"),
    )
    os.close(side)
    try:
        drawn = b""
        while b"bus" not in drawn:
            drawn += os.read(terminal, 65536)
        os.close(terminal)
        assert process.wait(20) == 129
    finally:
        process.kill()
        process.wait()
    assert len(predictions(out.read_text())) >= 1


@pytest.mark.slow
def test_ctrl_z_gives_the_terminal_back_and_fg_draws_anew(tmp_path: Path, microphone: Path, bundle: Bundle) -> None:
    words = ["live", "--mic", microphone, "--bundle", bundle("mono_logmel"), "--step", "0.2", "--quiet"]
    terminal, side = pty.openpty()
    noted = tmp_path / "pid"
    # what a shell is to its job: of the same session, and of another process group
    script = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); pid = os.fork()\n"
        "if not pid: os.setpgid(0, 0); os.execv(sys.argv[2], sys.argv[2:])\n"
        "open(sys.argv[1], 'w').write(str(pid)); sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    shell = subprocess.Popen(
        [sys.executable, "-c", script, str(noted), str(COMMAND), *map(str, words)],
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
        env=environment(TERM="xterm", COLUMNS="80", LINES="24"),
    )
    os.close(side)
    pid = 0
    try:
        drawn = b""
        while b"bus" not in drawn:
            drawn += os.read(terminal, 65536)
        pid = int(noted.read_text())
        os.kill(pid, signal.SIGTSTP)
        until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        while not drawn.endswith(b"\x1b[?7h\x1b[?25h\x1b[?1049l"):
            drawn += os.read(terminal, 65536)
        os.kill(pid, signal.SIGCONT)
        drawn = b""
        while b"bus" not in drawn:
            drawn += os.read(terminal, 65536)
        assert drawn.startswith(b"\x1b[?1049h")
        os.kill(pid, signal.SIGINT)
        assert shell.wait(20) == 130
    finally:
        for number in (shell.pid, pid) if pid else (shell.pid,):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        shell.wait()
        os.close(terminal)


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_the_run_quietly(microphone: Path, bundle: Bundle) -> None:
    script = f'{COMMAND} live --mic {microphone} --bundle {bundle("mono_logmel")} --step 0.1; echo "code $?" >&2'
    done = subprocess.run(
        ["bash", "-c", f"({script}) | head -n 2"], capture_output=True, text=True, env=environment(), check=False
    )
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr.splitlines()[1:] == ["code 0"]


@pytest.mark.slow
def test_a_reader_that_goes_away_does_not_cost_the_files(tmp_path: Path, microphone: Path, bundle: Bundle) -> None:
    out = tmp_path / "r.jsonl"
    words = ["--mic", microphone, "--bundle", bundle("mono_logmel"), "--step", "0.1", "--out", out]
    with running(*words) as process:
        assert process.stdout is not None
        process.stdout.close()
        n_before = len(predictions(out.read_text()))
        until(lambda: len(predictions(out.read_text())) > n_before + 10)
        process.terminate()
        assert process.wait(20) == 143


@pytest.mark.slow
def test_a_reader_that_reads_nothing_does_not_keep_ctrl_c_from_ending_the_run(
    tmp_path: Path, microphone: Path, bundle: Bundle
) -> None:
    out, captions = tmp_path / "r.jsonl", tmp_path / "r.srt"
    words = ["--mic", microphone, "--bundle", bundle("mono_logmel"), "--step", "0.01", "--format", "jsonl"]
    with running(*words, "--out", out, "--out", captions) as process:
        assert process.stdout is not None
        full = select.poll()  # 64 KiB are in the pipe, nobody takes them: it waits in a write
        full.register(process.stdout, select.POLLIN)
        assert full.poll()
        size = -1
        while size != (size := out.stat().st_size):
            time.sleep(1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert time.monotonic() - began < 5  # half a second where nothing else runs
        assert process.stderr is not None
        assert process.stderr.read().decode().endswith("ascstream: stopped by Ctrl-C; results so far are kept\n")
    assert records(out.read_text())[-1]["type"] == "summary"
    assert "bus" in captions.read_text()


@pytest.mark.parametrize(("words", "ends"), [(["live"], False), (["--debug", "live"], False), (["file", "live"], True)])
def test_a_hangup_before_anything_is_open_is_no_end(words: list[str], *, ends: bool) -> None:
    script = (
        "import signal, sys\n"
        "from ascstream.cli.exits import Stopped, _early_hangups, _signals\n"
        "with _signals(), _early_hangups(sys.argv[1:]):\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "print('goes on')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, start_new_session=True, check=False
    )
    assert ("goes on" in done.stdout) is not ends


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_run_with_1(tmp_path: Path, microphone: Path, bundle: Bundle) -> None:
    out = tmp_path / "full.jsonl"
    out.symlink_to("/dev/full")
    done = ascstream("live", "--mic", microphone, "--bundle", bundle("mono_logmel"), "--quiet", "--out", out)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"ascstream: {out}: No space left on device; what was written before is kept"]


@pytest.mark.slow
def test_a_disk_that_fills_keeps_what_was_written(tmp_path: Path, microphone: Path, bundle: Bundle) -> None:
    out, whole = tmp_path / "r.jsonl", tmp_path / "r.csv"
    words = f"--mic {microphone} --bundle {bundle('mono_logmel')} --step 0.1 --quiet --out {out} --out {whole}"
    # 4 KiB a file: the write that does not fit fails, as on a full disk
    script = f"ulimit -f 4; trap '' XFSZ; exec {COMMAND} live {words}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"ascstream: {out}: File too large; what was written before is kept"]
    told = predictions(out.read_text())
    assert len(told) >= 2
    rows = whole.read_text().splitlines()[1:]
    assert len(rows) == len(done.stdout.splitlines()) >= len(told)


@pytest.mark.slow
def test_strict_ends_with_5_at_the_first_degraded_window(tmp_path: Path, bundle: Bundle) -> None:
    sound = np.concatenate([tone(3, sample_rate=RATE), np.zeros(3 * RATE, np.float32)])
    clip = float_wav(tmp_path / "then_silent.wav", sound, sample_rate=RATE)
    out = tmp_path / "r.jsonl"
    words = ["live", "--mic", clip, "--bundle", bundle("mono_logmel"), "--step", "0.5", "--out", out, "--strict"]
    done = ascstream(*words)
    assert done.returncode == 5
    assert "expected every window" in done.stderr.splitlines()[-1]
    told = predictions(out.read_text())
    if "silence" in done.stderr:  # rather than a window dropped on a busy machine
        assert [record["degraded"] for record in told] == [False] * (len(told) - 1) + [True]
        assert told[-1]["reason"] == "silence"


@pytest.mark.slow
def test_what_the_bundle_does_not_perceive_is_not_opened(microphone: Path, bundle: Bundle) -> None:
    words = ["live", "--bundle", bundle("mono_logmel"), "--duration", "1"]
    done = ascstream(*words, "--mic", microphone, "--camera", "rtsp://me:hunter2@host/x")
    assert done.returncode == 0
    first = done.stderr.splitlines()[0]
    assert first == "ascstream: the camera rtsp://***@host/x is not opened: bundle mono_logmel only hears"


@pytest.mark.slow
def test_a_microphone_that_a_bundle_without_sound_does_not_open_is_named(bundle: Bundle) -> None:
    clip = Path(__file__).parents[3] / "examples" / "clip.mp4"
    done = ascstream("live", "--bundle", bundle("image_only"), "--duration", "1", "--mic", "0", "--camera", clip)
    assert done.returncode == 0
    first = done.stderr.splitlines()[0]
    assert first == "ascstream: the microphone 0 is not opened: bundle image_only only sees"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--mic", "0", "--source", "x.mp4"],
            "expected --source, which gives sound and picture, or --mic and --camera",
        ),
        (
            ["--mic", "none"],
            "expected something that bundle slim-av perceives, got nothing; type: --mic 0 or --camera 0\n",
        ),
        (
            ["--mic", "none", "--bundle", "slim-audio"],
            "expected something that bundle slim-audio perceives, got nothing; type: --mic 0\n",
        ),
        (["--mic-channels", "0"], "expected channels counted from 1, such as 1 or 1,2; got '0'"),
        (
            ["--source", "examples/clip.mp4", "--mic-channels", "1"],
            "--mic-channels: a card's are chosen, those of --source are not; leave them out",
        ),
        (
            ["--mic", "examples/clip.mp4", "--mic-channels", "1"],
            'channels: a card\'s are chosen, those of "examples/clip.mp4" are not; leave them out',
        ),
        (["--rotate", "1y"], "expected seconds or hh:mm:ss"),
        (["--duration", "0"], "expected seconds or hh:mm:ss, above 0"),
        (["--duration", "0.9"], "--duration: expected a window's 1 s or more, got 0.9 s"),
        (["--top", "0"], "expected a whole number of scenes, 1 or more"),
        (["--camera-delay", "3"], "expected seconds, -2 to 0.4"),
        (["--step", "7"], "step: expected 0.001 s to the window's 1 s"),
        (["--out", "a.xyz", "--mic", "examples/clip.mp4"], "expected a name that ends in one of"),
    ],
)
def test_a_command_line_that_cannot_be_is_refused_before_anything_is_opened(words: list[str], message: str) -> None:
    done = ascstream("live", *words, cwd=Path(__file__).parents[3])
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.slow
def test_settings_come_from_the_environment_and_what_is_typed_wins(microphone: Path, bundle: Bundle) -> None:
    variables = {"ASCSTREAM_LIVE_MIC": "no such thing", "ASCSTREAM_BUNDLE": str(bundle("mono_logmel"))}
    done = ascstream("live", "--duration", "1", env=variables)
    assert done.returncode == 3
    assert '"no such thing"' in done.stderr
    for words in (["--mic", microphone], ["--source", microphone]):
        done = ascstream("live", "--duration", "1", *words, env={**variables, "ASCSTREAM_QUIET": "1"})
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_channels_that_were_set_for_a_microphone_are_not_those_of_a_source_that_is_typed(
    microphone: Path, bundle: Bundle
) -> None:
    variables = {
        "ASCSTREAM_MIC_CHANNELS": "1,2",
        "ASCSTREAM_BUNDLE": str(bundle("mono_logmel")),
        "ASCSTREAM_QUIET": "1",
    }
    done = ascstream("live", "--duration", "1", "--source", microphone, env=variables)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_service_manager_is_told(tmp_path: Path, microphone: Path, bundle: Bundle) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(20)
        manager.bind(str(address))
        words = ["live", "--mic", microphone, "--bundle", bundle("mono_logmel"), "--step", "0.2"]
        variables = environment(NOTIFY_SOCKET=str(address), WATCHDOG_USEC="1000000")
        with start(*words, env=variables) as process:
            heard = manager.recv(4096).decode().split("\n")
            assert heard[0] == "READY=1"
            while heard.count("WATCHDOG=1") < 3:
                heard += manager.recv(4096).decode().split("\n")
            process.terminate()
            while "STOPPING=1" not in heard:
                heard += manager.recv(4096).decode().split("\n")
            process.communicate(timeout=20)
    assert process.returncode == 143
    assert any(word.startswith("STATUS=bus ") for word in heard)


def test_a_hanging_engine_does_not_keep_the_process_from_ending() -> None:
    script = (
        "import sys, threading, time\n"
        "from ascstream.cli import main\n"
        "threading.Thread(target=time.sleep, args=(60,), name='ascstream-engine').start()\n"
        "sys.exit(main(['live', '--step', '7']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, env=environment(), check=False
    )
    assert done.returncode == 2
    assert "step: expected" in done.stderr


@needs_pulse
@pytest.mark.slow
def test_a_microphone_and_a_camera_are_heard_and_seen(bundle: Bundle) -> None:
    park = np.array([0, 255, 0], np.uint8)

    def draw(_moment: float, width: int, height: int) -> np.ndarray:
        return np.broadcast_to(park, (height, width, 3)).copy()

    with PulseServer() as server, MjpegCamera(draw) as camera:
        server.play(tone(10, 500.0, 48_000), loop=True)
        words = ["live", "--mic", "default", "--camera", camera.url, "--bundle", bundle("audio_visual")]
        words += ["--duration", "4", "--format", "jsonl"]
        done = subprocess.run(
            [str(COMMAND), *map(str, words)],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(**server.environment()),
            check=False,
        )
    assert done.returncode == 0, done.stderr
    told = predictions(done.stdout)
    assert ["audio", "video"] in [record["modalities"] for record in told]
    assert "microphone" in done.stderr.splitlines()[0]
    assert f"camera {camera.url}, 640×480" in done.stderr.splitlines()[0]
