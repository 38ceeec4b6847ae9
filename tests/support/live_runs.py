"""A running `ascstream live`: what it prints, with the moment it came, while a test breaks and mends its devices."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from support.commands import environment, start

Record = dict[str, Any]


class LiveRun:
    """A process that prints JSON Lines. Entered by `with`; killed on the way out if it still runs."""

    def __init__(self, *words: object, env: Mapping[str, str]) -> None:
        """Start it; `words` are what stands after `ascstream live`."""
        self.process = start("live", *words, "--format", "jsonl", env=environment(**env))
        self.records: list[tuple[float, Record]] = []
        self._errors: list[bytes] = []
        self._readers = [threading.Thread(target=read) for read in (self._read, self._drain)]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> LiveRun:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        for reader in self._readers:
            reader.join()
        self.process.wait()

    @property
    def errors(self) -> str:
        """What stands on standard error so far."""
        return b"".join(self._errors).decode("utf-8", "replace")

    def wait_for(
        self, kind: str, holds: Callable[[Record], object] = lambda _record: True, *, since: float, seconds: float = 40
    ) -> tuple[float, Record]:
        """The first record of a type for which something holds, that came after a moment; its own moment too."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for moment, record in list(self.records):
                if moment >= since and record["type"] == kind and holds(record):
                    return moment, record
            assert self.process.poll() is None, self.errors
            time.sleep(0.02)
        seen = [record for moment, record in self.records if moment >= since and record["type"] != "prediction"]
        raise AssertionError(f"no such {kind} within {seconds} s; there were {seen} and {self.errors}")

    def predictions(self, since: float, until: float | None = None) -> list[Record]:
        """Those that came between two moments."""
        until = time.monotonic() if until is None else until
        return [record for moment, record in list(self.records) if since <= moment < until and is_prediction(record)]

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.terminate()
        code = self.process.wait(20)
        for reader in self._readers:
            reader.join(20)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.records.append((time.monotonic(), json.loads(line)))

    def _drain(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self._errors.extend(lines)


def is_prediction(record: Record) -> bool:
    """Whether it is an answer rather than news."""
    return bool(record["type"] == "prediction")
