"""Lays the openly available recordings and pictures out as corpora that `trainer prepare` reads; no file is changed.

    python benchmarks/open_scenes.py DATA OUT

DATA holds `scenes_images/` (labels.csv, archives of pictures, `miniplaces/` with an archive a class); OUT gets
`places/` (a folder a class, to begin with) and `pictures/` (labels.csv: the scenes, and `none`). Archives are unpacked
once, to plain files below OUT.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
import tarfile
from pathlib import Path

SCENE_OF = {
    "airport_terminal": "airport",
    "bus_interior": "bus",
    "subway_station_platform": "metro_station",
    "highway": "street_traffic",
    "food_court": "shopping_mall",
    "supermarket": "shopping_mall",
    "clothing_store": "shopping_mall",
    "botanical_garden": "park",
    "playground": "park",
    "yard": "park",
    "courtyard": "public_square",
    "fountain": "public_square",
    "market_outdoor": "public_square",
}
"""Class of Places to scene: the first three are the scene itself, the others as near as there is. The rest: none."""
NONE = "none"
_FEWEST = 100
"""Pictures a scene needs."""


def lay_out(data: Path, out: Path) -> dict[str, int]:
    """Unpack the pictures and write their lists.

    Returns:
        Pictures a scene in `pictures/labels.csv`.
    """
    images = data / "scenes_images"
    rows: list[dict[str, str]] = []
    for archive in sorted((images / "miniplaces").glob("*.tar")):
        names = _unpack(archive, out / "pictures" / "miniplaces" / archive.stem)
        scene = SCENE_OF.get(archive.stem, NONE)
        rows += [_row(f"miniplaces/{archive.stem}/{name}", scene, "", "places") for name in names]
        _link(out / "pictures" / "miniplaces" / archive.stem, out / "places" / archive.stem)
    with (images / "labels.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    for stem in sorted({row["archive"].removesuffix(".tar") for row in listed}):
        _unpack(images / f"{stem}.tar", out / "pictures" / stem)
    for row in listed:
        stem = row["archive"].removesuffix(".tar")
        rows.append(
            _row(f"{stem}/{row['file']}", row["scene_label"], f"{stem} {row['group']} {row['scene_label']}", stem)
        )
    counts: dict[str, int] = {}
    for entry in rows:
        counts[entry["scene_label"]] = counts.get(entry["scene_label"], 0) + 1
    kept = [entry for entry in rows if counts[entry["scene_label"]] >= _FEWEST]
    with (out / "pictures" / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["file", "scene_label", "recording", "source", "licence"])
        writer.writeheader()
        writer.writerows(kept)
    return {label: n for label, n in sorted(counts.items()) if n >= _FEWEST}


def _row(file: str, scene: str, recording: str, source: str) -> dict[str, str]:
    licences = {"icdar2015": "CC BY 4.0", "polyhaven": "CC0, one CC BY 3.0", "tram_interior": "MIT"}
    return {
        "file": file,
        "scene_label": scene,
        "recording": recording,
        "source": source,
        "licence": licences.get(source, "none stated"),
    }


def _unpack(archive: Path, folder: Path) -> list[str]:
    """The plain files of an archive, into a folder; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            source = tar.extractfile(member) if member.isfile() else None
            if source is None:
                continue
            name = Path(member.name).name
            names.append(name)
            if not (folder / name).is_file():
                with (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    return sorted(names)


def _link(folder: Path, place: Path) -> None:
    """The same folder at a second place."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.symlink_to(folder.resolve(), target_is_directory=True)


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Lay open pictures out as corpora.")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    for label, n in lay_out(options.data, options.out).items():
        print(f"{label:20}{n:6}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
