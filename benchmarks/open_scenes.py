"""Arrange the openly available images as corpora that `trainer prepare` reads; no file is changed.

    python benchmarks/open_scenes.py DATA OUT

DATA holds `scenes_images/` (labels.csv, archives of images, and `miniplaces/` with one archive per class). OUT receives
two corpora: `places/` (the classes of Places, for pretraining) and `pictures/` (the scenes, and `none`). Both are split
the same way, so that no image used for evaluation in one is trained on in the other. Archives are unpacked once, to
plain files below OUT.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
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
"""Places class to scene: the first three are the scene itself, the others the closest there is. All others: none."""
NONE = "none"
_FEWEST = 100
"""Minimum number of images of a scene."""
_LICENCES = {"icdar2015": "CC BY 4.0", "polyhaven": "CC0, one CC BY 3.0", "tram_interior": "MIT"}


def lay_out(data: Path, out: Path) -> dict[str, int]:
    """Unpack the images and write the lists of both corpora.

    Returns:
        Number of images per scene in `pictures/labels.csv`.
    """
    images = data / "scenes_images"
    places: list[dict[str, str]] = []
    rows: list[dict[str, str]] = []
    for archive in sorted((images / "miniplaces").glob("*.tar")):
        names = _unpack(archive, out / "pictures" / "miniplaces" / archive.stem)
        sides = _deal([f"{archive.stem}/{name}" for name in names])
        for name in names:
            side, city = sides[f"{archive.stem}/{name}"]
            row = {"source": "places", "licence": "none stated", "split": side, "city": city}
            places.append({"file": f"{archive.stem}/{name}", "scene_label": archive.stem, **row})
            scene = SCENE_OF.get(archive.stem, NONE)
            rows.append({"file": f"miniplaces/{archive.stem}/{name}", "scene_label": scene, **row})
        _link(out / "pictures" / "miniplaces" / archive.stem, out / "places" / archive.stem)
    with (images / "labels.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    for stem in sorted({row["archive"].removesuffix(".tar") for row in listed}):
        _unpack(images / f"{stem}.tar", out / "pictures" / stem)
        mine = [row for row in listed if row["archive"] == f"{stem}.tar"]
        sides = _deal(sorted({f"{stem} {row['group']}" for row in mine}))
        for row in mine:
            walk, scene = f"{stem} {row['group']}", row["scene_label"]
            rows.append(
                {
                    "file": f"{stem}/{row['file']}",
                    "scene_label": scene,
                    "recording": f"{walk} {scene}",
                    "source": stem,
                    "licence": _LICENCES[stem],
                    "split": sides[walk][0],
                    "city": stem,
                }
            )
    counts = Counter(row["scene_label"] for row in rows)
    _write(out / "places" / "labels.csv", places)
    _write(out / "pictures" / "labels.csv", [row for row in rows if counts[row["scene_label"]] >= _FEWEST])
    return {label: n for label, n in sorted(counts.items()) if n >= _FEWEST}


def _deal(places: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Assign each image or walk to a split and a city; a fifth is kept for evaluation.

    Each Places image shows a different place. They are assigned to ten made-up cities because calibration holds out
    whole cities: it then uses a tenth of every class.
    """
    order = sorted(places, key=lambda place: hashlib.sha256(place.encode()).digest())
    n_evaluated = -(-len(order) // 5)
    return {
        place: ("evaluate" if rank < n_evaluated else "train", f"places {rank % 10}")
        for rank, place in enumerate(order)
    }


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write a list that `trainer prepare` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["file", "scene_label", "recording", "source", "licence", "split", "city"])
        writer.writeheader()
        writer.writerows(rows)


def _unpack(archive: Path, folder: Path) -> list[str]:
    """Unpack the regular files of an archive into a folder; return their names, sorted."""
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
    """Make a folder available at a second place, by a symbolic link."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.symlink_to(folder.resolve(), target_is_directory=True)


def main() -> int:
    """Parse the command line and print the number of images per scene."""
    parser = argparse.ArgumentParser(description="Lay open pictures out as corpora.")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    for label, n in lay_out(options.data, options.out).items():
        print(f"{label:20}{n:6}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
