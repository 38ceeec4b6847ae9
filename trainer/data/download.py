"""Download one file over HTTP: resumed, retried with growing pauses, and in place only once its MD5 is verified."""

from __future__ import annotations

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
from trainer.files import digest_of

_BLOCK = 1 << 18
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
"""HTTP status codes that are worth retrying."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Retry and timeout settings."""

    attempts: int = 6
    """Consecutive failures without a single new byte before giving up."""
    first_pause_seconds: float = 1.0
    """Pause after the first failure; doubled after each further one."""
    longest_pause_seconds: float = 60.0
    """Upper limit of the pause, and of a server's own Retry-After."""
    silence_seconds: float = 30.0
    """Longest wait for a connection or for the next bytes."""
    crawl_seconds: float = 60.0
    """If fewer than 64 KiB arrive within this time, the connection is opened anew."""


class _InterruptedError(Exception):
    """The connection failed; another attempt may succeed."""

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
    """Download a file; `path` exists only once it is complete. Partial content is kept in `path`.partial.

    Args:
        url: Address of the file.
        path: Destination; its folder is created.
        md5: Expected MD5 of the file.
        n_bytes: Its size, if known.
        patience: When to give up.
        on_bytes: Called as data arrives, with the bytes so far and the total.
        sleep: Waits between two attempts.

    Raises:
        DataError: The server does not have the file, or has a different one.
        TrainerError: The server cannot be reached; calling again resumes the download.
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
    """MD5 of a file, the checksum that archives publish."""
    with path.open("rb") as file:
        return digest_of(file, "md5")


def _append(
    url: str,
    partial: Path,
    n_bytes: int | None,
    patience: Patience,
    on_bytes: Callable[[int, int | None], None] | None,
) -> None:
    """Request the missing part and append it; returns once the file has the size announced by the server."""
    have = _size(partial)
    response = _open(url, have, patience)
    if response is None:
        return
    with response:
        if response.status == http.client.PARTIAL_CONTENT:
            total = _check_range(response, have, partial)
        else:  # the server starts from the beginning
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
    """The server's response; None if the server has nothing beyond what is already here."""
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
    """Total size of the file, if the response continues where the file ends; otherwise the partial file is deleted."""
    parts = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if parts is None or int(parts[1]) != have:
        partial.unlink()
        raise _InterruptedError("an answer that does not go on where the last one stopped")
    return int(parts[2])


def _blocks(response: http.client.HTTPResponse, patience: Patience) -> Iterator[bytes]:
    """Yield the received data until the response ends; a stalled or too slow connection raises an error."""
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
    """Seconds the server asks to wait; 0 if it does not say, or gives a date."""
    value = error.headers.get("Retry-After", "") if error.headers else ""
    return float(value) if value.isdigit() else 0.0


def _reason(error: Exception) -> str:
    """The cause of a connection failure, in words."""
    inner = getattr(error, "reason", error)
    return str(getattr(inner, "strerror", None) or inner) or type(error).__name__


def _size(path: Path) -> int:
    """Size of a file in bytes; 0 if it does not exist."""
    return path.stat().st_size if path.exists() else 0
