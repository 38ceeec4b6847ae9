"""Fetch TAU Urban Audio-Visual Scenes 2021 from its Zenodo record: only on request, after consent, archive by archive.

An archive is downloaded (resumed if interrupted), verified by size and MD5, unpacked and then deleted; a note in
`.archives` records that it is done. Archives downloaded by hand are used if they are in the corpus folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trainer.data.download import Patience, download, md5_of
from trainer.data.tau_av_2021 import FOLDER
from trainer.data.unpack import check_room, has_size, unpack
from trainer.errors import ConfigError, DataError
from trainer.files import write_whole

RECORD = "https://zenodo.org/records/4477542"
"""Web page on which the corpus is published."""
LICENCE_SUMMARY = f"""\
{FOLDER}
Tampere University, Audio Research Group; {RECORD}

Its licence allows use and copying for experimental and non-commercial purposes only. The copyright notice stays with
every copy, and publications name the source. Any commercial use is prohibited: selling or distributing results achieved
with it and providing services with it are named among others. It comes without any warranty. This is a summary: the
licence itself is on the record's page and in the archives, and what is trained on the corpus falls under it as well.
"""
_UNPACKED = 1.2
"""Bytes unpacked per byte of an archive: 12,291 audio clips are 35.4 GB, their archives 30.4 GB."""
_MARK = ".archives"


@dataclass(frozen=True, slots=True)
class Archive:
    """One file of the record."""

    name: str
    """Its content: "meta", "audio.1", "video.1" …"""
    md5: str
    """MD5 as published."""
    n_bytes: int | None = None
    """Size in bytes, if known."""

    @property
    def file_name(self) -> str:
        """File name in the record."""
        return f"{FOLDER}.{self.name}.zip"


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of fetching."""

    archive: Archive
    """The archive being processed."""
    number: int
    """Its position among those to fetch, from 1."""
    n_archives: int
    """Number of archives to fetch."""
    step: str
    """"downloading", "checking" or "unpacking"."""
    done: int
    """Bytes of this step that are done."""
    total: int | None
    """Total bytes of this step, if known."""


ARCHIVES = (
    Archive("meta", "76e3d7ed5291b118372e06379cb2b490"),
    Archive("audio.1", "186f6273f8f69ed9dbdc18ad65ac234f", 4_349_202_707),
    Archive("audio.2", "7fd6bb63127f5785874a55aba4e77aa5", 4_490_960_726),
    Archive("audio.3", "61396bede29d7c8c89729a01a6f6b2e2", 4_223_486_056),
    Archive("audio.4", "6ddac89717fcf9c92c451868eed77fe1", 4_172_854_493),
    Archive("audio.5", "af4820756cdf1a7d4bd6037dc034d384", 4_185_568_337),
    Archive("audio.6", "ebd11ec24411f2a17a64723bd4aa7fff", 4_215_402_064),
    Archive("audio.7", "2be39a76aeed704d5929d020a2909efd", 4_407_222_915),
    Archive("audio.8", "972d8afe0874720fc2f28086e7cb22a9", 345_864_456),
    Archive("video.1", "f89b88f6ff44b109e842bff063612bf1", 4_996_891_312),
    Archive("video.2", "433053f76ae028f6c4a86094b91af69c", 4_997_056_221),
    Archive("video.3", "974c8e4f3741e065e5c2775f4b9e3ffc", 4_995_965_420),
    Archive("video.4", "b558fe62fb8fd9b1864d256ead8a24d1", 4_991_033_216),
    Archive("video.5", "fb3036c31e66be1caddb48834e0ea304", 4_997_081_324),
    Archive("video.6", "140f331750406eaa16756b5cfdf0a336", 4_991_170_406),
    Archive("video.7", "bac47d3da9bffb89318e662c6af68539", 4_996_594_150),
    Archive("video.8", "95c231ee549c6e74ab8b57a27047ff71", 4_992_534_816),
    Archive("video.9", "294daf6f7de15adcae3a97a8d176eb3a", 4_998_329_385),
    Archive("video.10", "c6778f4ddbab163394f7cd26011f1452", 4_993_017_199),
    Archive("video.11", "856ecd8fb1df96adcd2cc6928441bbe6", 4_993_425_875),
    Archive("video.12", "57b898b19d991fde6df595fda85eb28d", 4_994_719_640),
    Archive("video.13", "920562ed29a63abeabfb11b6c0a17a2c", 4_996_976_020),
    Archive("video.14", "1febab0738a622dea95926e70d2fc7c4", 4_999_888_160),
    Archive("video.15", "d6d57cc85f65b1a589a1d628ca936fc9", 4_995_886_583),
    Archive("video.16", "4e1ab47f0d180b818491ef3c3f45ebc6", 2_286_205_594),
)


def fetch_tau_av_2021(
    folder: Path,
    *,
    consent: Callable[[str], bool],
    video: bool = True,
    keep_archives: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    record: str = RECORD,
    archives: Sequence[Archive] = ARCHIVES,
    patience: Patience | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Download and unpack the archives that are not here yet.

    Args:
        folder: Destination folder of the corpus.
        consent: Called with a summary of the licence and the sizes; only `True` starts the download.
        video: Whether to fetch the pictures, three quarters of the bytes.
        keep_archives: Whether to keep archives after they are unpacked.
        on_progress: Called as work progresses.
        record: Address of the record.
        archives: Files of the record.
        patience: When to give up on a connection.
        sleep: Waits between two attempts.

    Returns:
        The folder, which `read_tau_av_2021` accepts.

    Raises:
        ConfigError: Consent was not given; nothing was downloaded.
        DataError: An archive differs from the published one.
        TrainerError: The disk is too small, or the server cannot be reached; calling again resumes where it stopped.
    """
    wanted = [archive for archive in archives if video or not archive.name.startswith("video")]
    left = [archive for archive in wanted if not _is_done(folder, archive)]
    if not left:
        return folder
    loads = [0 if _given(folder, archive) else _bytes_left(folder, archive) for archive in left]
    unpacked = round(sum(archive.n_bytes or 0 for archive in left) * _UNPACKED)
    question = (
        f"{LICENCE_SUMMARY}\n{len(left)} of {len(wanted)} archives are not in {folder} yet: "
        f"{sum(loads) / 1e9:.1f} GB to download, about {unpacked / 1e9:.1f} GB unpacked."
    )
    if consent(question) is not True:
        raise ConfigError("expected consent to the licence, got none; nothing was downloaded")
    check_room(folder, unpacked + (sum(loads) if keep_archives else max(loads)))
    for number, archive in enumerate(left, start=1):
        report = partial(_report, on_progress, archive, number, len(left))
        path = _given(folder, archive)
        if path is None:
            path = folder / _MARK / archive.file_name
            url = f"{record}/files/{archive.file_name}?download=1"
            get = partial(download, url, path, md5=archive.md5, n_bytes=archive.n_bytes)
            get(patience=patience, on_bytes=partial(report, "downloading"), sleep=sleep)
        else:
            _check(path, archive, partial(report, "checking"))
        _note(folder, archive, unpack(path, folder, partial(report, "unpacking")))
        if path.parent.name == _MARK and not keep_archives:
            path.unlink()
    return folder


def _given(folder: Path, archive: Archive) -> Path | None:
    """Path of an archive that is already here: in the corpus folder, or kept in `.archives`."""
    places = (folder / archive.file_name, folder / _MARK / archive.file_name)
    return next((path for path in places if path.is_file()), None)


def _check(path: Path, archive: Archive, report: Callable[[int, int | None], None]) -> None:
    """Check that an archive which was already here is the published one."""
    size = path.stat().st_size
    report(0, size)
    found = md5_of(path) if archive.n_bytes in (None, size) else f"{size:,} bytes instead of {archive.n_bytes:,}"
    if found != archive.md5:
        raise DataError(f"{path}: expected the archive with MD5 {archive.md5}, got {found}; delete it")
    report(size, size)


def _bytes_left(folder: Path, archive: Archive) -> int:
    """Bytes of an archive that remain to be downloaded."""
    started = folder / _MARK / f"{archive.file_name}.partial"
    here = started.stat().st_size if started.exists() else 0
    return max(0, (archive.n_bytes or 0) - here)


def _is_done(folder: Path, archive: Archive) -> bool:
    """Whether exactly this archive has been unpacked and its files are still here."""
    try:
        note = json.loads((folder / _MARK / f"{archive.name}.done").read_text(encoding="utf-8"))
        return note["md5"] == archive.md5 and all(has_size(folder / name, size) for name, size in note["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _note(folder: Path, archive: Archive, files: Mapping[str, int]) -> None:
    """Record that an archive is unpacked, and the files it contained."""
    note = json.dumps({"md5": archive.md5, "files": files}).encode()
    write_whole(folder / _MARK / f"{archive.name}.done", lambda file: file.write(note))


def _report(
    on_progress: Callable[[Progress], None] | None,
    archive: Archive,
    number: int,
    n_archives: int,
    step: str,
    done: int,
    total: int | None,
) -> None:
    """Call `on_progress`, if given, with the current progress."""
    if on_progress is not None:
        on_progress(Progress(archive, number, n_archives, step, done, total))
