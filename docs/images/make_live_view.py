"""Render the view of `ascstream live` as an SVG from a run recorded as JSON Lines, or from one that is made up.

ascstream live --mic 0 --camera 0 --out run.jsonl
python docs/images/make_live_view.py run.jsonl --out docs/images/live.svg
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ascstream.bundles import find_bundle
from ascstream.live.health import DeviceHealth, Health
from ascstream.records import Image, Prediction, StreamEvent
from ascstream.sinks.view import ViewSink
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats
from engines.bundle import open_bundle

BUNDLE = open_bundle(find_bundle(None)).manifest
LABELS = BUNDLE.labels
BEGUN = datetime(2026, 11, 21, 14, 52, 30, tzinfo=timezone.utc)


def main() -> None:
    """Draw what a terminal would show at the end of the run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="JSON Lines of `ascstream live`; without it a run is made up")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("live.svg"))
    parser.add_argument("--picture", type=Path, help="the newest frame; otherwise it is grey, as a run stores none")
    parser.add_argument("--about", default=f"{BUNDLE.name} {BUNDLE.version} · onnxruntime, float32")
    parser.add_argument("--size", default="96x30", help="of the terminal: columns x rows")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    lines = made_up() if options.run is None else map(json.loads, options.run.read_text("utf-8").splitlines())
    grey = np.full((240, 320, 3), 72, np.uint8)
    image = read_picture(options.picture) if options.picture else street() if options.run is None else grey
    options.out.write_text(render(lines, image, about=options.about, width=width, height=height), encoding="utf-8")


def render(
    events: Iterable[dict[str, Any]],
    image: Image | None = None,
    *,
    about: str = "",
    width: int = 96,
    height: int = 30,
    title: str = "ascstream live",
) -> str:
    """The view at the end of a run.

    Args:
        events: The lines of a run, `ascstream.sinks.jsonl` describes them.
        image: The newest frame, [height, width, 3].
        about: What runs: bundle, engine, precision.
        width: Columns.
        height: Rows.
        title: What stands above the terminal.

    Returns:
        An SVG document.
    """
    now, wall, before = [0.0], [BEGUN], 0.0
    view = ViewSink(
        Console(file=io.StringIO(), width=width, height=height),
        clock=lambda: now[0],
        wall_clock=lambda: wall[0],
        about=about,
    )
    stats = StreamStats("", clock=lambda: now[0])
    begun = False
    for line in events:
        if not begun:
            name = line["source"]
            view.begin(SourceInfo(name, has_audio=True, has_video=True, duration_seconds=None, live=True), stats)
            begun = True
        if line.get("time"):
            wall[0] = datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
        if line["type"] == "prediction":
            now[0] = line["end"]
            prediction = as_prediction(line, now[0] - before)
            before = now[0]
            stats.add(prediction)
            view.emit(prediction)
        elif line["type"] == "event":
            view.event(StreamEvent(line["start"], line["kind"], line["message"], line["seconds"] or 0.0))
        elif line["type"] == "health":
            view.tick(as_health(line, now[0]), image)
    picture = view.svg(width=width, height=height, title=title)
    view.close()
    return picture


def as_prediction(line: dict[str, Any], step_seconds: float) -> Prediction:
    """A line as the record it was made of."""
    names = (
        "source", "start", "end", "label", "level", "reason", "score", "scores", "raw_scores", "modalities",
        "degraded", "lost_seconds", "padded_seconds", "latency_seconds", "time",
    )  # fmt: skip
    fields: dict[str, Any] = {name: line.get(name) for name in names}
    return Prediction(**fields, step_seconds=step_seconds, lost=line.get("lost", {}))


def as_health(line: dict[str, Any], now: float) -> Health:
    """A line as the record it was made of, its durations as moments."""
    devices = []
    for device in line["devices"]:
        fields = {name: value for name, value in device.items() if name not in ("seconds", "lost_seconds")}
        gone = device["lost_seconds"]
        devices.append(
            DeviceHealth(**fields, since=now - device["seconds"], lost_since=None if gone is None else now - gone)
        )
    names = ("n_dropped_windows", "n_waiting_windows", "engine_problem", "offset_seconds")
    return Health(tuple(devices), **{name: line[name] for name in names})


def read_picture(path: Path) -> Image:
    """A picture from a file."""
    import av

    with av.open(str(path)) as container:
        return np.asarray(next(container.decode(video=0)).to_ndarray(format="rgb24"), np.uint8)


def made_up() -> Iterator[dict[str, Any]]:
    """A walk from the metro to a park, the camera lost for a while."""
    rng = np.random.default_rng(5)
    for index in range(1500):
        end = 1.0 + index / 5
        label = "metro_station" if end < 90 else "street_traffic" if end < 210 else "park"
        gone = 120 < end < 150
        score = 0.62 + 0.3 * float(rng.random())
        rest = rng.random(len(LABELS)) ** 3
        rest *= (1 - score) / rest.sum()
        scores = {name: score if name == label else float(part) for name, part in zip(LABELS, rest, strict=True)}
        time = (BEGUN + timedelta(seconds=end)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        common = {"source": "microphone USB Audio · camera C270", "time": time}
        yield {
            **common,
            "type": "prediction",
            "start": end - 1,
            "end": end,
            "label": label,
            "level": "scene",
            "reason": None,
            "score": score,
            "scores": scores,
            "raw_scores": scores,
            "degraded": gone,
            "lost_seconds": 0.0,
            "modalities": ["audio"] if gone else ["audio", "video"],
            "padded_seconds": 0.0,
            "lost": {"camera": end - 120} if gone else {},
            "latency_seconds": 0.018 + 0.02 * float(rng.random()) ** 4,
        }
        if index in (604, 749):
            kind, words = ("device_lost", "camera lost: no picture for 2 s") if index == 604 else ("device_back", "")
            event = {"type": "event", "start": end, "kind": kind, "message": words or "camera back after 31 s"}
            yield {**common, **event, "seconds": 0.0}
    microphone = {"device": "microphone", "name": "USB Audio", "details": "44.1 kHz · 1 channel", "level_dbfs": -31.6}
    camera = {"device": "camera", "name": "C270", "details": "640×480 mjpeg", "frame_rate": 29.97, "n_losses": 1}
    well = {"state": "running", "seconds": 150.0, "lost_seconds": None, "drift_ppm": 12.4, "delay_seconds": 0.021}
    counts = {"n_dropped_windows": 0, "n_waiting_windows": 0, "engine_problem": None, "offset_seconds": None}
    yield {**common, "type": "health", "devices": [{**well, **microphone}, {**well, **camera}], **counts}


def street() -> Image:
    """Sky, trees, a lawn and a path, as a camera of few pixels would see them."""
    y, x = np.mgrid[0:224, 0:224]
    image = np.stack([150 + y * 0.2, 185 + y * 0.1, 225 - y * 0.05], -1)
    image[y > 130] = (88, 140, 62)
    for centre, top, radius in ((40, 80, 44), (110, 95, 34), (190, 70, 50)):
        image[(abs(x - centre) < 6) & (y > top) & (y < 140)] = (92, 66, 44)
        image[(x - centre) ** 2 + (y - top) ** 2 < radius**2] = (46, 104 + radius, 50)
    image[(abs(x - 112) < (y - 120) * 0.45) & (y > 130)] = (196, 178, 140)
    return image.clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
