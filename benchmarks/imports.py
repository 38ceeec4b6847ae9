"""Evaluate imported CP-Mobile and SqueezeNet-Places on the test data's recordings and images, through the runtime.

    ASCSTREAM_TEST_DATA=FOLDER python benchmarks/imports.py CP_MOBILE_BUNDLE PLACES_BUNDLE

Accuracy is macro-averaged: all scenes count equally. The answer for a recording is that of its windows' mean score. No
choice was tuned on these data.
"""

from __future__ import annotations

import csv
import io
import os
import sys
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ascstream import Classifier, StreamSettings, open_media, stream
from ascstream.frontend import image_tensor
from ascstream.sources.base import VideoWants
from engines.backends import load_engines
from engines.bundle import open_bundle

DATA = Path(os.environ.get("ASCSTREAM_TEST_DATA", ""))
DIRECT = {"airport_terminal": "airport", "bus_interior": "bus", "subway_station_platform": "metro_station"}
"""Places classes that are scenes themselves."""
PROXIES = {
    "highway": "street_traffic", "food_court": "shopping_mall", "supermarket": "shopping_mall",
    "clothing_store": "shopping_mall", "botanical_garden": "park", "playground": "park", "yard": "park",
    "courtyard": "public_square", "fountain": "public_square", "market_outdoor": "public_square",
}  # fmt: skip
"""Places classes that are close to a scene, as listed on the data's page."""
A_CLASS = 150
"""Number of images used of each Places class, from the first on."""
GROUPS = {
    "indoor": ("airport", "metro_station", "shopping_mall"),
    "outdoor": ("park", "public_square", "street_pedestrian", "street_traffic"),
    "transportation": ("bus", "metro", "tram"),
}
GROUP = {label: group for group, members in GROUPS.items() for label in members}


def macro(pairs: Iterable[tuple[str, str]]) -> str:
    """From (truth, answer) pairs: macro and plain accuracy, macro accuracy of groups, and each scene's recall."""
    counted: Mapping[str, list[bool]] = defaultdict(list)
    grouped: Mapping[str, list[bool]] = defaultdict(list)
    for truth, answer in pairs:
        counted[truth].append(truth == answer)
        grouped[GROUP[truth]].append(GROUP[truth] == GROUP[answer])
    recalls = {label: np.mean(right) for label, right in sorted(counted.items())}
    plain = np.mean(np.concatenate(list(counted.values())))
    groups = np.mean([np.mean(right) for right in grouped.values()])
    scenes = ", ".join(f"{label} {recall:.2f} ({len(counted[label])})" for label, recall in recalls.items())
    return f"macro {np.mean(list(recalls.values())):.3f}, plain {plain:.3f}, groups {groups:.3f}: {scenes}"


def listen(bundle: Path) -> None:
    """Evaluate the recordings of labels.csv."""
    with (DATA / "scenes_audio/labels.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["scene_label"] != "none"]
    windows, recordings, sure = [], [], []
    with Classifier.load(bundle) as classifier:
        for row in rows:
            totals: dict[str, float] = defaultdict(float)
            with open_media(DATA / "scenes_audio" / row["file"]) as source:
                for prediction in stream(classifier, source, StreamSettings(step_seconds=1.0)):
                    scores = prediction.raw_scores
                    windows.append((row["scene_label"], max(scores, key=scores.__getitem__)))
                    for label, score in scores.items():
                        totals[label] += score
            recordings.append((row["scene_label"], max(totals, key=totals.__getitem__)))
            if row["confidence"].startswith("sure"):
                sure.append(recordings[-1])
    for name, pairs in (("windows", windows), ("recordings", recordings), ("recordings labelled sure", sure)):
        print(f"audio, {name} ({len(pairs)}): {macro(pairs)}")


def pictures() -> dict[str, list[tuple[str, bytes]]]:
    """Source to scene and bytes of each image; "none" for Places classes that match none of the ten scenes."""
    found: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    for path in sorted((DATA / "scenes_images/miniplaces").glob("*.tar")):
        label = DIRECT.get(path.stem) or PROXIES.get(path.stem, "none")
        source = "direct" if path.stem in DIRECT else "proxies" if label != "none" else "none"
        with tarfile.open(path) as archive:
            members = [entry for entry in archive.getmembers() if entry.isfile()][:A_CLASS]
            found[source] += [(label, archive.extractfile(entry).read()) for entry in members]  # type: ignore[union-attr]
    with (DATA / "scenes_images/labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in dict.fromkeys(row["archive"] for row in rows):
        with tarfile.open(DATA / "scenes_images" / name) as archive:
            for row in rows:
                if row["archive"] == name and row["scene_label"] in GROUP:
                    data = archive.extractfile(row["file"]).read()  # type: ignore[union-attr]
                    found[name].append((row["scene_label"], data))
    return found


def look(bundle: Path) -> None:
    """Evaluate images, and measure the effect of scaling with FFmpeg instead of Pillow."""
    opened = open_bundle(bundle)
    _, video = opened.manifest.video_input or ("", None)
    labels = opened.manifest.labels
    changes, moved, same = [], [], []
    with load_engines(opened, backend="onnxruntime") as engines, tempfile.TemporaryDirectory() as folder:
        for source, entries in pictures().items():
            pairs, confidences = [], []
            for number, (truth, data) in enumerate(entries):
                image = through_ffmpeg(data, video, Path(folder) / "picture.jpg")
                logits = engines.frame.infer({"image": image_tensor(image, video)[None]})["embedding"]
                scores = np.exp(engines.scene.infer({"embeddings": logits[:, None]})["fused"][0].astype(np.float64))
                scores /= scores.sum()
                confidences.append(scores.max())
                pairs.append((truth, labels[int(scores.argmax())]))
                if number % 20 == 0:
                    other = image_tensor(through_pillow(data), video)
                    twin = engines.frame.infer({"image": other[None]})["embedding"]
                    twins = np.exp(engines.scene.infer({"embeddings": twin[:, None]})["fused"][0])
                    changes.append(np.abs(twin - logits).max())
                    moved.append(np.abs(twins - scores).max())
                    same.append(int(twin.argmax()) == int(logits.argmax()))
            said = f"confidence {np.mean(confidences):.2f}, above 0.5 in {np.mean(np.array(confidences) > 0.5):.2f}"
            figures = "" if source == "none" else f"{macro(pairs)}; "
            print(f"pictures, {source} ({len(pairs)}): {figures}{said}")
    print(
        f"FFmpeg's scaling against Pillow's on {len(changes)} pictures: largest change of a logit median "
        f"{np.median(changes):.2f}, 95th percentile {np.percentile(changes, 95):.2f}; of a score median "
        f"{np.median(moved):.3f}, 95th percentile {np.percentile(moved, 95):.3f}; same category in {np.mean(same):.2f}"
    )


def through_ffmpeg(data: bytes, video, path: Path) -> np.ndarray:
    """Prepare an image as the runtime prepares a decoded frame."""
    from fractions import Fraction

    import av

    from ascstream.sources.picture import PictureMaker

    path.write_bytes(data)
    wants = VideoWants(video.width, video.height, video.fit, video.short_side, video.interpolation, None)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return PictureMaker(wants).make(frame, Fraction(1))


def through_pillow(data: bytes) -> np.ndarray:
    """Scale the short side to 256, bilinear, and cut out the central 224×224."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    scale = 256 / min(picture.size)
    width, height = (int(size * scale) for size in picture.size)
    left, top = round((width - 224) / 2), round((height - 224) / 2)
    resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)[top : top + 224, left : left + 224]


def main(arguments: Sequence[str]) -> int:
    """Evaluate both bundles; returns the exit code."""
    if len(arguments) != 2:
        print(f"imports.py: expected CP_MOBILE_BUNDLE and PLACES_BUNDLE, got {len(arguments)} names", file=sys.stderr)
        return 2
    if not (DATA / "scenes_audio/labels.csv").is_file():
        got = os.environ.get("ASCSTREAM_TEST_DATA") or "nothing"
        print(f"imports.py: expected the folder of the test data in ASCSTREAM_TEST_DATA, got {got}", file=sys.stderr)
        return 2
    listen(Path(arguments[0]))
    look(Path(arguments[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
