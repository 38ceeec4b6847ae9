"""One file over HTTP: resumed where it stopped, tried again with growing pauses, there only once its MD5 is right."""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ascstream import __version__
from trainer.errors import DataError, TrainerError

_BLOCK = 1 << 18
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
"""Answers of a server that may be better later."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server."""

    attempts: int = 6
    """Failures in a row, none of which brought a byte, before giving up."""
    first_pause_seconds: float = 1.0
    """After the first failure; twice as long after each further one."""
    longest_pause_seconds: float = 60.0
    """Most it grows to, and most of a server's own Retry-After."""
    silence_seconds: float = 30.0
    """Longest wait for a connection or for the next bytes."""
    crawl_seconds: float = 60.0
    """Within this time at least 64 KiB have to come, or the connection is made anew."""


class _InterruptedError(Exception):
    """The connection failed; another attempt may help."""

    def __init__(self, reason: str, pause_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_seconds = pause_seconds


def download(
    url: str,
    path: Path,
    *,
    md5: str,
    n_bytes: int | None = None,
    patience: Patience | None = None,
    on_bytes: Callable[[int, int | None], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Download a file; `path` is there only when it is whole. What has come is kept in `path`.partial.

    Args:
        url: Where it is.
        path: Where it shall be; its folder is made.
        md5: What its bytes have to hash to.
        n_bytes: Its size, where it is known.
        patience: When to give up.
        on_bytes: Called with the bytes that are here and those there are, as they come.
        sleep: Waits between two attempts.

    Raises:
        DataError: The server has no such file, or another one.
        TrainerError: The server cannot be reached; the same call goes on where this one stopped.
    """
    patience = patience or Patience()
    partial = path.with_name(path.name + ".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    failures, spoiled = 0, False
    while True:
        before = _size(partial)
        if n_bytes is not None and before > n_bytes:
            partial.unlink()
            before = 0
        try:
            if before != n_bytes:
                _append(url, partial, n_bytes, patience, on_bytes)
        except _InterruptedError as error:
            failures = 1 if _size(partial) > before else failures + 1
            if failures >= patience.attempts:
                often = f", {failures} times in a row" if failures > 1 else ""
                raise TrainerError(
                    f"{url}: expected the file, got: {error}{often}; type the same command again to go on"
                ) from None
            pause = patience.first_pause_seconds * 2 ** (failures - 1)
            sleep(min(max(pause, error.pause_seconds), patience.longest_pause_seconds))
            continue
        found = md5_of(partial)
        if found == md5:
            partial.replace(path)
            return path
        partial.unlink()
        if spoiled:
            raise DataError(f"{url}: expected a file with MD5 {md5}, got {found}, twice; nothing of it is kept")
        spoiled = True


def md5_of(path: Path) -> str:
    """MD5 of a file, as archives publish it."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _append(
    url: str,
    partial: Path,
    n_bytes: int | None,
    patience: Patience,
    on_bytes: Callable[[int, int | None], None] | None,
) -> None:
    """Ask for what is missing and write it; returns when the file has the size the server says."""
    have = _size(partial)
    response = _open(url, have, patience)
    if response is None:
        return
    with response:
        if response.status == http.client.PARTIAL_CONTENT:
            total = _check_range(response, have, partial)
        else:  # the server begins anew
            have, total = 0, int(response.headers.get("Content-Length") or -1)
        total = total if total >= 0 else n_bytes or -1
        if n_bytes is not None and total != n_bytes:
            raise DataError(f"{url}: expected {n_bytes:,} bytes, got a file of {total:,}; the record has changed")
        with partial.open("ab" if have else "wb") as file:
            for block in _blocks(response, patience):
                file.write(block)
                have += len(block)
                if on_bytes is not None:
                    on_bytes(have, total if total >= 0 else None)
    if have < total:
        raise _InterruptedError(f"the connection ended at {have:,} of {total:,} bytes")


def _open(url: str, have: int, patience: Patience) -> http.client.HTTPResponse | None:
    """The server's answer; None where it has nothing beyond what is here."""
    headers = {"User-Agent": f"ascstream/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  (addresses are ours, not the user's)
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(  # noqa: S310
            request, timeout=patience.silence_seconds
        )
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                return None
            if error.code in _TRY_AGAIN:
                raise _InterruptedError(f"{error.code} {error.reason}", _retry_after(error)) from None
            raise DataError(f"{url}: expected the file, got: {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(_reason(error)) from None
    return response


def _check_range(response: http.client.HTTPResponse, have: int, partial: Path) -> int:
    """Bytes of the whole file, if the answer goes on where the file stops; else the file is given up."""
    parts = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if parts is None or int(parts[1]) != have:
        partial.unlink()
        raise _InterruptedError("an answer that does not go on where the last one stopped")
    return int(parts[2])


def _blocks(response: http.client.HTTPResponse, patience: Patience) -> Iterator[bytes]:
    """What comes, until it ends, stops or crawls."""
    began, gained = time.monotonic(), 0
    while True:
        try:
            block = response.read1(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise _InterruptedError(_reason(error)) from None
        if not block:
            return
        yield block
        gained += len(block)
        if time.monotonic() - began > patience.crawl_seconds:
            if gained < 1 << 16:
                raise _InterruptedError(f"{gained:,} bytes in {patience.crawl_seconds:g} s")
            began, gained = time.monotonic(), 0


def _retry_after(error: urllib.error.HTTPError) -> float:
    """Seconds the server asks to wait; 0 where it does not say, or says a date."""
    value = error.headers.get("Retry-After", "") if error.headers else ""
    return float(value) if value.isdigit() else 0.0


def _reason(error: Exception) -> str:
    """What went wrong with a connection, in words."""
    inner = getattr(error, "reason", error)
    return str(getattr(inner, "strerror", None) or inner) or type(error).__name__


def _size(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0
