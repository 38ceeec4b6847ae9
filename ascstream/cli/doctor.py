"""`ascstream doctor`: what is installed, whether `ascstream file` would work, and what to type if it would not.

`machine.py` checks what a live stream needs from the machine, `gpu.py` what TensorRT needs.
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import tempfile
import wave
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ascstream.cli.exits import BUNDLE, OK
from ascstream.cli.findings import Check
from ascstream.cli.options import Subcommand
from ascstream.wording import counted

if TYPE_CHECKING:
    from engines.manifest import Manifest

_STREAM_SETTINGS = ("step", "smoothing", "scene_threshold", "group_threshold")


@click.command("doctor", cls=Subcommand, short_help="Check this installation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> int:
    """Check what is installed and whether `ascstream file` works here, and say what to type next.

    Bundles are read completely, their golden cases are run, and a short recording is classified. Exit code 0 if
    `ascstream file` would work, else 4.
    """
    checks: list[Check] = []
    for check in run_checks(context):
        checks.append(check)
        if not as_json:
            click.echo(f"{check.status:7}  {check.name:18}  {check.value}")
            if check.advice is not None:
                click.echo(f"{'':7}  {'':18}  {check.advice}")
    works = not any(check.status == "failed" and check.needed for check in checks)
    if as_json:
        report = {"schema": 1, "ok": works, "checks": [dataclasses.asdict(check) for check in checks]}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    elif works:
        click.echo("\nascstream file works here; try: ascstream file CLIP")
    else:
        click.echo("\nascstream file does not work here: see above what failed, and what to type")
    return OK if works else BUNDLE


def run_checks(context: click.Context) -> Iterator[Check]:
    """Run all checks, one after the other."""
    from ascstream._version import __version__

    yield Check("ascstream", "ok", __version__)
    yield Check("python", "ok", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    for name, look in (("numpy", _numpy), ("onnxruntime", _onnxruntime), ("av", _av)):
        yield _required(name, look)
    for name in ("click", "rich", "platformdirs"):
        yield _required(name, partial(metadata.version, name))
    yield _portaudio()
    yield from _machine()
    yield from _gpu()
    yield _optional("torch", "not installed; only training needs it")
    yield from _settings_and_bundles(context)


def _required(name: str, look: Callable[[], str]) -> Check:
    """Check a package that `file` needs, by loading it; reports whatever prevents that."""
    try:
        return Check(name, "ok", look())
    except Exception as error:  # noqa: BLE001  a broken binary can raise anything
        return Check(name, "failed", f"{type(error).__name__}: {error}", f"type: pip install --force-reinstall {name}")


def _optional(name: str, without: str) -> Check:
    """Check whether an optional package is installed, without importing it."""
    if find_spec(name) is None:
        return Check(name, "missing", without, needed=False)
    try:
        return Check(name, "ok", metadata.version(name), needed=False)
    except metadata.PackageNotFoundError:
        return Check(name, "ok", "installed, version unknown", needed=False)


def _numpy() -> str:
    import numpy as np

    return np.__version__


def _onnxruntime() -> str:
    import onnxruntime

    return f"{onnxruntime.__version__}, {', '.join(onnxruntime.get_available_providers())}"


def _av() -> str:
    import av

    libraries = ", ".join(
        f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in ("libavformat", "libavcodec")
    )
    return f"{av.__version__}, FFmpeg {av.ffmpeg_version_info} ({libraries})"


def _portaudio() -> Check:
    """Check PortAudio and count the devices; files need none of it."""
    from ascstream.devices import list_devices

    found = list_devices()
    if found.portaudio is None:
        return Check("portaudio", "missing", "does not work; files need none", found.advice[0], needed=False)
    n_mics, n_cameras = len(found.microphones), len(found.cameras)
    counts = f"{counted(n_mics, 'microphone')}, {counted(n_cameras, 'camera')}"
    advice = "see: ascstream devices" if found.advice else None
    return Check("portaudio", "ok", f"{found.portaudio}; {counts}", advice, needed=False)


def _machine() -> Iterator[Check]:
    """What a live stream needs from the machine."""
    from ascstream.cli.machine import look_around

    yield from look_around()


def _gpu() -> Iterator[Check]:
    """What TensorRT needs."""
    from ascstream.cli.gpu import look_at_gpu

    yield from look_at_gpu()


def _settings_and_bundles(context: click.Context) -> Iterator[Check]:
    """Check the settings file, the bundles that ship, and the one `file` would use."""
    from ascstream.cli.config import settings_in_force
    from ascstream.errors import UsageError

    values: dict[str, Any] = {}
    try:
        file, settings = settings_in_force(context, "file")
        values = {entry.name: entry.value for entry in settings}
        yield Check("settings file", "ok", f"{file.path}{'' if file.exists else ' (not there: defaults)'}")
    except (UsageError, click.UsageError) as error:
        message = error.format_message() if isinstance(error, click.UsageError) else str(error)
        yield Check("settings", "failed", message, "type: ascstream config path")
    try:
        from ascstream.bundles import find_bundle, shipped

        folders = shipped()
    except Exception as error:  # noqa: BLE001  what it imports may be what is broken
        yield Check("bundles", "failed", f"{type(error).__name__}: {error}")
        return
    try:
        used = find_bundle(values.get("bundle"))
    except Exception as error:  # noqa: BLE001
        used = None
        yield Check("bundle", "failed", str(error), "type: ascstream file --bundle FOLDER INPUT")
    if used is not None and used not in folders.values():
        folders[str(used)] = used
    files: Check | None = None
    for name, folder in folders.items():
        check = _bundle(name, folder, used=folder == used)
        yield check
        if folder == used and check.status == "ok":
            files = _files(folder, values)
    plans = None if used is None else _plans(used, values)
    yield from (check for check in (plans, files) if check is not None)


def _bundle(name: str, folder: Path, *, used: bool) -> Check:
    """Verify a bundle's files and run its golden cases."""
    label = f"bundle {name}"
    try:
        from engines.backends import REFERENCE_BACKEND, load_engines
        from engines.bundle import open_bundle, verify
        from engines.check import check_parity, require_parity

        bundle = open_bundle(folder)
        verify(bundle)
        manifest = bundle.manifest
        about = f"{manifest.version}, {'+'.join(manifest.modalities)}, {len(manifest.labels)} scenes"
        with load_engines(bundle, backend=REFERENCE_BACKEND) as engines:
            if manifest.golden is None:
                return Check(label, "ok", f"{about}; verified, has no golden cases")
            report = require_parity(check_parity(bundle, engines))
            largest = max(entry.max_difference or 0.0 for entry in report.outputs)
        return Check(label, "ok", f"{about}; verified, golden within {largest:.1e} on {report.backend}")
    except Exception as error:  # noqa: BLE001  one broken bundle must not hide the others
        return Check(label, "failed", str(error), "type: ascstream file --bundle FOLDER INPUT", needed=used)


def _files(folder: Path, values: Mapping[str, Any]) -> Check:
    """Classify a generated recording as `ascstream file` would with the settings in force."""
    try:
        from ascstream.classifier import Classifier
        from ascstream.pipeline import StreamSettings, stream
        from ascstream.sources.media import open_media

        settings = StreamSettings(*(values.get(name) for name in _STREAM_SETTINGS))
        engines = {name: values[name] for name in ("backend", "precision", "threads") if values.get(name) is not None}
        plans = _folder_of_plans(values)
        with (
            tempfile.TemporaryDirectory(prefix="ascstream-") as place,
            Classifier.load(folder, **engines, plans=plans) as classifier,
        ):
            clip = _make_clip(Path(place), classifier.manifest)
            with open_media(str(clip)) as source:
                n_windows = sum(1 for _ in stream(classifier, source, settings))
            by = "" if classifier.backend.startswith("onnxruntime") else f", by {classifier.backend}"
            note = classifier.note
        text = f"{clip.suffix} opened, decoded and classified, {counted(n_windows, 'window')}{by}"
        return Check("files", "ok", text, note)
    except Exception as error:  # noqa: BLE001  a broken binary can raise anything
        return Check("files", "failed", str(error) or type(error).__name__, "type: ascstream config show file")


def _plans(bundle: Path, values: Mapping[str, Any]) -> Check | None:
    """The plans of a bundle that `ascstream file` would find."""
    from ascstream.cli.gpu import look_at_plans

    try:
        return look_at_plans(bundle, _folder_of_plans(values))
    except Exception as error:  # noqa: BLE001  a broken package can raise anything
        return Check("plans", "failed", f"{type(error).__name__}: {error}", needed=False)


def _folder_of_plans(values: Mapping[str, Any]) -> Path | None:
    """The folder given by --plans, if any."""
    return Path(values["plans"]) if values.get("plans") else None


def _make_clip(folder: Path, manifest: Manifest) -> Path:
    """Write noise for one second, or for one window if that is longer; as video if the bundle takes no sound."""
    seconds = max(1, math.ceil(manifest.window.seconds))
    if manifest.sample_rate is None:
        from ascstream.cli.bench_clip import write_clip

        write_clip(str(folder / "clip.mkv"), seconds)
        return folder / "clip.mkv"
    import numpy as np

    noise = np.random.default_rng(0).integers(-3_000, 3_000, (seconds * manifest.sample_rate, 2), np.int16)
    with wave.open(str(folder / "clip.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(manifest.sample_rate)
        file.writeframes(noise.astype("<i2").tobytes())
    return folder / "clip.wav"
