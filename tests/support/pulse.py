"""A PulseAudio server of a test's own, whose virtual microphone hears what is played and fails in every way."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

import av
import numpy as np
import pytest
from numpy.typing import NDArray

_INSTALL = "apt-get install pulseaudio pulseaudio-utils libasound2-plugins libportaudio2"


def _installed() -> bool:
    """Whether there is a server, and ALSA's and PortAudio's way to it."""
    name = "alsa-lib/libasound_module_pcm_pulse.so"
    plugins = [*Path("/usr").glob(f"lib*/*/{name}"), *Path("/usr").glob(f"lib*/{name}")]
    return (
        bool(plugins)
        and find_library("portaudio") is not None
        and all(map(shutil.which, ("pulseaudio", "pactl", "pacat")))
    )


needs_pulse = pytest.mark.skipif(not _installed(), reason=f"needs a PulseAudio server; type: {_INSTALL}")
"""Marks a test that records from a PulseServer."""

_BEGIN = "load-module module-native-protocol-unix auth-anonymous=1 socket={socket}\n"
_SPEAKER = ("module-null-sink", "sink_name=speaker", "format=float32le", "norewinds=1")
"""Without rewinds it takes what is played in small pieces; with them, once it was idle, two seconds at a time."""
_MICROPHONE = ("module-remap-source", "source_name=microphone", "master=speaker.monitor", "remix=no")


class PulseServer:
    """A server; entered by `with`, and gone after it whatever happened to it.

    `environment()` is what a child process needs to find it; `applied()` is for what runs in the test's own process.
    """

    def __init__(self, sample_rate: int = 48_000, n_channels: int = 2) -> None:
        """Say what it will be; `with` starts it.

        Args:
            sample_rate: Of the loudspeaker, and so of the microphone; recorders that ask for another get it resampled.
            n_channels: Likewise.
        """
        if not _installed():
            pytest.skip(f"needs a PulseAudio server; type: {_INSTALL}")
        self.sample_rate, self.n_channels = sample_rate, n_channels
        self._folder = Path(tempfile.mkdtemp(prefix="pa-"))  # 0700, and short: a socket's path has 107 characters
        self._process: subprocess.Popen[bytes] | None = None
        self._playbacks: list[Playback] = []

    def __enter__(self) -> PulseServer:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def environment(self) -> dict[str, str]:
        """The environment of a process that shall hear this server and no other."""
        return {**os.environ, **self._variables()}

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let this process, and those it starts meanwhile, hear this server and no other."""
        before = {name: os.environ.get(name) for name in self._variables()}
        os.environ.update(self._variables())
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def play(self, sound: NDArray[np.float32] | Path, sample_rate: int = 48_000, *, loop: bool = False) -> Playback:
        """Play into the virtual microphone, from now on, in real time.

        Args:
            sound: [n_samples] or [n_channels, n_samples], −1…1; or any file that FFmpeg reads.
            sample_rate: Of the samples, in Hz; a file has its own.
            loop: Over and over, without a pause; also after `restart`.
        """
        if isinstance(sound, Path):
            samples = _decode(sound, sample_rate)
        else:
            samples = np.atleast_2d(np.asarray(sound, np.float32))
        playback = Playback(self.environment(), samples, sample_rate, loop=loop)
        self._playbacks.append(playback)
        return playback

    def unplug(self) -> None:
        """Take the microphone away: whoever records from it hears nothing more, and may or may not be told.

        The loudspeaker goes with it, since the server would move the recording to its monitor.
        """
        for line in self.control("list", "short", "modules").splitlines():
            number, name = line.split("\t")[:2]
            if name == _SPEAKER[0]:
                self.control("unload-module", number)

    def plug(self) -> None:
        """Put the microphone there, as the default; loops are played again."""
        self.control("load-module", *_SPEAKER, f"rate={self.sample_rate}", f"channels={self.n_channels}")
        self.control("load-module", *_MICROPHONE)
        self.control("set-default-source", "microphone")
        self._playbacks = [playback.again() for playback in self._playbacks if playback.loops]

    def freeze(self) -> None:
        """Stop the server as a suspended machine would: streams stay active, callbacks stop."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the server at once, as a crash would; streams end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def restart(self) -> None:
        """Start it anew, killing it first where it still runs; loops are played again."""
        self.kill()
        self._start()

    def close(self) -> None:
        """Leave nothing behind; may be called twice."""
        for playback in self._playbacks:
            playback.stop()
        self._playbacks = []
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def control(self, *words: str) -> str:
        """What `pactl` answers."""
        done = subprocess.run(
            ["pactl", *words], env=self.environment(), capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout

    def _variables(self) -> dict[str, str]:
        folder = str(self._folder)
        return {
            "XDG_RUNTIME_DIR": folder,
            "PULSE_RUNTIME_PATH": folder,
            "PULSE_STATE_PATH": folder,
            "PULSE_SERVER": f"unix:{folder}/native",
            "PULSE_COOKIE": f"{folder}/cookie",
            "PULSE_SOURCE": "microphone",  # no other one stands in for it
        }

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _start(self) -> None:
        script, log = self._folder / "begin.pa", self._folder / "log"
        script.write_text(_BEGIN.format(socket=self._folder / "native"))
        words = ["pulseaudio", "-n", "-F", str(script), "--daemonize=no", "--exit-idle-time=-1", "--log-level=error"]
        words += ["--use-pid-file=no", "--high-priority=no", "--realtime=no"]
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                words,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(subprocess.SubprocessError):
                self.control("info")
                break
            time.sleep(0.05)
        else:
            raise RuntimeError(f"PulseAudio did not start: {log.read_text(errors='replace')[-1000:]}")
        self.plug()


class Playback:
    """Something that is being played."""

    def __init__(
        self, environment: dict[str, str], samples: NDArray[np.float32], sample_rate: int, *, loop: bool
    ) -> None:
        self.loops = loop
        self._given = (environment, samples, sample_rate)
        self._stopped = Event()
        words = ["pacat", "--playback", "--raw", "--format=float32le", "--latency-msec=60", f"--rate={sample_rate}"]
        words += [f"--channels={len(samples)}", "--device=speaker"]
        self._process = subprocess.Popen(
            words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._data = np.ascontiguousarray(samples.T).tobytes()
        self._thread = Thread(target=self._feed, name="playback", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it is still being played."""
        return self._process.poll() is None

    def wait(self, timeout_seconds: float = 60.0) -> None:
        """Wait until all of it was played."""
        self._process.wait(timeout_seconds)

    def stop(self) -> None:
        """End it now; may be called twice."""
        self._stopped.set()
        self._process.kill()
        self._process.wait(10)
        self._thread.join(10)

    def again(self) -> Playback:
        """The same from its beginning, in place of this one."""
        self.stop()
        return Playback(*self._given, loop=self.loops)

    def _feed(self) -> None:
        pipe = self._process.stdin
        if pipe is None:
            return
        with contextlib.suppress(OSError), pipe:
            pipe.write(self._data)
            while self.loops and not self._stopped.is_set():
                pipe.write(self._data)


def _decode(path: Path, sample_rate: int) -> NDArray[np.float32]:
    """[2, n_samples] of a file."""
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=sample_rate)
    parts: list[NDArray[np.float32]] = []
    with av.open(str(path)) as container:
        for frame in [*container.decode(audio=0), None]:
            parts += [part.to_ndarray().astype(np.float32) for part in resampler.resample(frame)]
    return np.concatenate(parts, axis=1)
