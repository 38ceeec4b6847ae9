"""Real cameras and servers for tests, on loopback: MJPEG over HTTP, RTSP, MPEG-TS by UDP. What they show: films.py."""

from __future__ import annotations

import contextlib
import functools
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from support.films import Draw, encode_jpeg, need_ffmpeg, show_moment


class MjpegCamera:
    """An MJPEG camera at `http://127.0.0.1:port/`, with the faults of real ones. Attributes may be set at any time."""

    def __init__(
        self, draw: Draw = show_moment, *, width: int = 640, height: int = 480, frame_rate: float = 25.0, port: int = 0
    ) -> None:
        """Start to serve.

        Args:
            draw: Makes the pictures.
            width: Of the pictures, even.
            height: Of the pictures, even.
            frame_rate: Pictures a second.
            port: 0: a free one.
        """
        self.draw, self.width, self.height, self.frame_rate = draw, width, height, frame_rate
        self.n_connections = 0
        """So far."""
        self._flowing = threading.Event()
        self._flowing.set()
        self._garbage = False
        self._server: _Server | None = None
        self.port = port
        """Stays the same after `restart`."""
        self.restart()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/"

    def freeze(self) -> None:
        """Send nothing more, with connections open."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Go on."""
        self._flowing.set()

    def garbage(self, on: bool = True) -> None:
        """Send parts that are announced as JPEG and are none, or stop doing so."""
        self._garbage = on

    def resize(self, width: int, height: int) -> None:
        """Send pictures of another size from now on."""
        self.width, self.height = width, height

    def kill(self) -> None:
        """End all connections and refuse new ones; may be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def restart(self) -> None:
        """Serve again, on the same port."""
        self.kill()
        self._server = _Server(self, self.port)
        self.port = self._server.server_address[1]

    def __enter__(self) -> MjpegCamera:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def part(self) -> bytes:
        """The next part of the stream."""
        if self._garbage:
            body = np.random.default_rng().integers(0, 256, 20000, dtype=np.uint8).tobytes()
        else:
            width, height = self.width, self.height
            body = encode_jpeg(self.draw(time.monotonic(), width, height))
        return b"--camera\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(body), body)

    def wait(self, seconds: float) -> None:
        """Wait, and as long as it is frozen."""
        time.sleep(max(0.0, seconds))
        while not self._flowing.wait(0.05):
            if self._server is None:
                return


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, camera: MjpegCamera, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.camera = camera
        self.stopping = False
        self.connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.stopping = True
        self.shutdown()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that break off are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        camera = self.server.camera
        camera.n_connections += 1
        self.server.connections.add(self.connection)
        try:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=camera")
            self.end_headers()
            due = time.monotonic()
            while not self.server.stopping:
                self.wfile.write(camera.part())
                due = max(due + 1 / camera.frame_rate, time.monotonic())
                camera.wait(due - time.monotonic())
        finally:
            self.server.connections.discard(self.connection)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


_RTSP = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(sys.argv[2])
factory.set_shared(True)
server.get_mount_points().add_factory("/live", factory)
if not server.attach(None):
    sys.exit("the port is taken")
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""
_RTSP_NEEDS = "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
_RTSP_NEEDS += " gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav"
_SYSTEM_PYTHON = "/usr/bin/python3"


class _OwnProcess:
    """A server in a process of its own, that can be killed and started again."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of its process: for signals."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it with SIGKILL, its connections too; may be called twice."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


class RtspServer(_OwnProcess):
    """GStreamer's RTSP server in a process of its own; made by `rtsp_server`."""

    def __init__(self, launch: str) -> None:
        self._launch = launch
        super().__init__()
        self.port = 0
        """Stays the same after `restart`."""
        self.restart()

    @property
    def url(self) -> str:
        """Its address."""
        return f"rtsp://127.0.0.1:{self.port}/live"

    def restart(self) -> None:
        """Serve again, on the same port."""
        self.kill()
        command = [_SYSTEM_PYTHON, "-c", _RTSP, str(self.port), self._launch]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], 20.0)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            self.kill()
            raise OSError("GStreamer's RTSP server does not start")
        self.port = int(line)


@functools.lru_cache(maxsize=1)
def _has_rtsp() -> bool:
    check = (
        "import sys, gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0')\n"
        "from gi.repository import Gst, GstRtspServer; Gst.init(None)\n"
        "sys.exit(not all(map(Gst.ElementFactory.find, "
        "['x264enc', 'avenc_aac', 'h264parse', 'aacparse', 'rtph264pay', 'qtdemux'])))"
    )
    if not Path(_SYSTEM_PYTHON).exists():
        return False
    return subprocess.run([_SYSTEM_PYTHON, "-c", check], capture_output=True, timeout=60).returncode == 0


def rtsp_test_picture(width: int = 640, height: int = 480, frame_rate: int = 25, *, sound: bool = True) -> str:
    """What `rtsp_server` shows by default: a live test picture in H.264, and a tone in AAC."""
    picture = (
        f"videotestsrc is-live=true ! video/x-raw,width={width},height={height},framerate={frame_rate}/1 ! x264enc "
        f"tune=zerolatency speed-preset=ultrafast key-int-max={frame_rate} bitrate=1500 ! rtph264pay name=pay0 pt=96 "
        "config-interval=1"
    )
    tone = (
        "audiotestsrc is-live=true samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! "
        "rtpmp4gpay name=pay1 pt=97"
    )
    return f"( {picture} {tone if sound else ''} )"


def rtsp_film(film: Path) -> str:
    """A film in MP4 (H.264, AAC) for `rtsp_server`, in real time, once."""
    return (
        f'( filesrc location="{film}" ! qtdemux name=film '
        "film.video_0 ! queue ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 "
        "film.audio_0 ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97 )"
    )


@contextmanager
def rtsp_server(launch: str | None = None) -> Iterator[RtspServer]:
    """Serve RTSP.

    Args:
        launch: GStreamer's description of the pipeline; None: `rtsp_test_picture`.
    """
    if not _has_rtsp():
        pytest.skip(f"GStreamer's RTSP server is missing; install it: sudo apt-get install {_RTSP_NEEDS}")
    server = RtspServer(launch or rtsp_test_picture())
    try:
        yield server
    finally:
        server.kill()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class UdpStream(_OwnProcess):
    """A film sent to a UDP port over and over in real time; made by `udp_stream`."""

    def __init__(self, film: Path, port: int) -> None:
        self._film = film
        super().__init__()
        self.port = port or free_port(socket.SOCK_DGRAM)
        """Where it goes."""
        self.restart()

    @property
    def url(self) -> str:
        """What to open."""
        return f"udp://127.0.0.1:{self.port}"

    def restart(self) -> None:
        """Send, from the film's beginning."""
        self.kill()
        source = ["-re", "-stream_loop", "-1", "-i", str(self._film)]
        target = ["-c", "copy", "-f", "mpegts", "-pes_payload_size", "0", f"{self.url}?pkt_size=1316"]
        command = ["ffmpeg", "-nostdin", "-loglevel", "error", *source, *target]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def udp_stream(film: Path, port: int = 0) -> Iterator[UdpStream]:
    """Send MPEG-TS, sound and picture, to a port of 127.0.0.1; 0: a free one."""
    need_ffmpeg()
    stream = UdpStream(film, port)
    try:
        yield stream
    finally:
        stream.kill()
