"""Record `ascstream live` on real recordings and pictures, through a virtual microphone and camera, as JSON Lines.

python benchmarks/open_scenes.py DATA WORK/corpora                             # unpacks the pictures
python docs/images/record_live.py DATA WORK/corpora/pictures --out run.jsonl   # about three minutes
python docs/images/make_live_view.py run.jsonl                                 # docs/images/live.svg

Needs a PulseAudio server's programs (`tests/support/pulse.py`). Pictures are those that the bundle was not trained on;
of the recordings it knows all, so that the run shows the view and proves nothing. No picture is stored.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[2]))  # before it, as below tests/ there is an ascstream/ too
from support.cameras import MjpegCamera
from support.live_runs import LiveRun
from support.pulse import PulseServer

from ascstream.records import Image

SIZE = (320, 240)
FRAME_RATE = 10.0
PICTURE_SECONDS = 1.0
"""How long each picture is shown."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the run."""

    file: str
    """The recording, below `scenes_audio/`."""
    scene: str | None
    """Scene whose pictures are shown; None: the camera is gone."""
    seconds: float
    """How long it is."""


PARTS = (
    Part("sounds_from_places/north-michigan-ave.mp3", "street_traffic", 35),
    Part("sounds_from_places/jay-st-metrotech-station.mp3", "metro_station", 35),
    Part("sounds_from_places/chicago-subway.mp3", None, 20),
    Part("sounds_from_places/wtc-oculus.mp3", "shopping_mall", 35),
    Part("sounds_from_places/hyde-park.mp3", "park", 35),
)


def main() -> None:
    """Play all parts, one after the other, and write what was answered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--out", type=Path, default=Path("run.jsonl"))
    parser.add_argument("--bundle", default="slim-av")
    options = parser.parse_args()
    pictures = {part.scene: read_pictures(options.pictures, part.scene) for part in PARTS if part.scene}
    shown = [PARTS[0]]

    def draw(moment: float, width: int, height: int) -> Image:
        images = pictures[shown[0].scene or PARTS[0].scene]
        return np.ascontiguousarray(images[int(moment / PICTURE_SECONDS) % len(images)][:height, :width])

    with PulseServer() as server, MjpegCamera(draw, width=SIZE[0], height=SIZE[1], frame_rate=FRAME_RATE) as camera:
        words = ["--mic", "default", "--camera", camera.url, "--bundle", options.bundle]
        with LiveRun(*words, env=server.environment()) as run:
            run.wait_for("prediction", since=0.0)
            for part in PARTS:
                shown[0] = part
                if part.scene is None:
                    camera.kill()
                elif not camera_runs(run.records):
                    camera.restart()
                playback = server.play(options.data / "scenes_audio" / part.file)
                time.sleep(part.seconds)
                playback.stop()
            run.stop()
            lines = [json.dumps(record, ensure_ascii=False) for _, record in run.records]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def camera_runs(records: Sequence[tuple[float, Mapping[str, object]]]) -> bool:
    """Whether the camera delivered at the newest answer."""
    told = [record for _, record in records if record["type"] == "prediction"]
    return "lost" not in told[-1]


def read_pictures(folder: Path, scene: str) -> list[Image]:
    """The pictures of a scene that are kept for evaluation, in the camera's size."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["scene_label"], row["split"]) == (scene, "evaluate")]
    images = []
    for row in rows[:: max(1, len(rows) // 60)]:
        with av.open(str(folder / row["file"])) as container:
            frame = next(container.decode(video=0)).reformat(*SIZE, format="rgb24")
        images.append(np.asarray(frame.to_ndarray(), np.uint8))
    return images


if __name__ == "__main__":
    main()
