"""A file server for tests: HTTP with Range, and the faults of real servers, one after the other."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves bytes by path. `faults` are taken one a request: a status, or a tuple as ("cut", n)."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], faults: list[object]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.faults = files, faults
        self.requests: list[tuple[str, str | None]] = []
        """Path and Range of each request."""

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        path, wanted = self.path.partition("?")[0], self.headers.get("Range")
        self.server.requests.append((path, wanted))
        fault = self.server.faults.pop(0) if self.server.faults else None
        body = self.server.files.get(path)
        if isinstance(fault, int) or body is None:
            self.send_response(fault if isinstance(fault, int) else 404)
            self.send_header("Retry-After", "7")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        kind, n = (*fault, 0)[:2] if isinstance(fault, tuple) else ("", 0)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and kind != "whole" else 0
        if start >= len(body) > 0:
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            shown = 0 if kind == "wrong range" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(body) - 1}/{len(body)}")
        if kind != "no length":
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        part = body[start:]
        if kind == "drip":
            for number in range(n):
                self.wfile.write(part[number : number + 1])
                time.sleep(0.05)
            return
        self.wfile.write(part[:n] if kind in ("cut", "hang") else b"?" * len(part) if kind == "spoil" else part)
        if kind == "hang":
            time.sleep(0.5)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on stderr."""


@contextmanager
def serving(files: dict[str, bytes], *faults: object) -> Iterator[FileServer]:
    """A server in a thread of its own."""
    server = FileServer(files, list(faults))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
