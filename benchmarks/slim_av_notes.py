"""What slim-av's card says beside the fusion: its pictures with hashes and licences, and what was measured of it.

python benchmarks/slim_av_notes.py WORK DATA > NOTES.md          (after slim_av_figures.py and slim_av_robustness.py)
"""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from open_scenes import NONE, SCENE_OF

OTHERS = {
    "icdar2015": (
        "first-person walks through one city, by scene",
        "CC BY 4.0",
        "Karatzas et al., ICDAR 2015 Robust Reading (rrc.cvc.uab.es), made smaller",
    ),
    "polyhaven": (
        "four side views of panoramas, by scene",
        "CC0; one CC BY 3.0",
        "Poly Haven; Emil Persson (humus.name)",
    ),
    "tram_interior": ("one tram; too few pictures, left out", "MIT", ""),
}
SENSES = {"audio": "sound alone", "video": "picture alone", "both": "both"}


def main() -> int:
    """Read the command line."""
    work, data = (Path(word) for word in sys.argv[1:3])
    figures = json.loads((work / "figures.json").read_text())
    robustness = json.loads((work / "robustness.json").read_text())
    sections = [of_windows(figures), of_streams(figures), of_changes(robustness), of_pictures(data / "scenes_images")]
    print("\n\n".join(sections))
    return 0


def of_windows(figures: Mapping[str, Any]) -> str:
    """Accuracy, groups, log loss, calibration, with intervals; each scene's."""
    pairs = figures["pairs"]
    named = [("all held-out recordings, by sound", figures["sound"]), ("all held-out pictures", figures["pictures"])]
    named += [(f"pairs, {SENSES[name]}", part) for name, part in pairs.items()]
    among = [(name, figures["among"][key]) for (name, _), key in zip(named, ("sound", "pictures", *pairs), strict=True)]
    scenes = sorted({scene for _, part in named for scene in part["recall"]})
    by_scene = [[name, *(_share(part["recall"].get(scene)) for scene in scenes)] for name, part in named]
    return "\n\n".join(
        [
            "## On held-out recordings and pictures",
            "Single windows, unsmoothed. Every scene weighs the same, and within a scene every recording or picture "
            "does. In brackets: 95 % intervals of a bootstrap over recordings, or over pictures in the row of all "
            "pictures. They are too narrow where a scene has only two or three recordings, and for pairs, whose "
            "pictures are not resampled. Each recording is judged by the network of the fold that never heard it; the "
            "pictures are the held-out fifth. The temperature of sound was fitted on these answers. A pair is a random "
            "recording and a random picture of one scene: independent given the scene by construction, so what both "
            "gain over one is optimistic.",
            _figures(named),
            table(["recall", *scenes], by_scene),
            "The same answers, restricted to the scenes that occur (seven for sound, seven for pictures, six for "
            "pairs), so that no modality is judged on scenes it never learnt.",
            _figures(among),
        ]
    )


def _figures(named: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """A line a way of answering."""
    keys = ("accuracy", "group_accuracy", "log_loss", "calibration_error")
    rows = [
        [
            name,
            *(f"{part['figures'][k]:.3f} ({part['intervals'][k][0]:.3f}–{part['intervals'][k][1]:.3f})" for k in keys),
        ]
        for name, part in named
    ]
    return table(["", "accuracy", "group accuracy", "log loss", "calibration error"], rows)


def of_streams(figures: Mapping[str, Any]) -> str:
    """Switches, delay, how often what is named."""
    rows = []
    for name, part in figures["streams"].items():
        rows.append(
            [
                SENSES[name],
                f"{part['switches_per_hour']:.1f}",
                *(
                    f"{part[f'{what}_median_seconds']:.1f} s, {_share(part[f'changes_{what}'])} within 30 s"
                    for what in ("right", "told")
                ),
                f"{_share(part['share_scene'])}, right {_share(part.get('scene_right'))}",
                f"{_share(part['share_group'])}, right {_share(part.get('group_right'))}",
                _share(part["share_unknown"]),
            ]
        )
    after = ("right again after a change (median)", "told from the scene before (median)")
    head = ["", "false switches an hour", *after, "a scene named", "a group named", "unknown"]
    return "\n\n".join(
        [
            "## As a stream",
            f"Held-out recordings of one scene joined end to end ({figures['streams']['both']['hours']:.1f} h), each "
            "with one held-out picture of its scene; then 600 changes of scene, one every 30 s. After a change an "
            "answer is right once it names the new scene or its group, even if that group was already named before "
            "the change; it tells the two apart once it names the new scene, or a group that the scene before does not "
            "belong to. Medians are over the changes where that happened. Filter and thresholds are as shipped; both "
            "were chosen on these same recordings and pictures, so these figures are slightly optimistic.",
            table(head, rows),
        ]
    )


def of_changes(robustness: Mapping[str, Any]) -> str:
    """Agreement with the unaltered label, and accuracy; time."""
    rows = [
        [name, f"{part['agreement']:.3f}", f"{part['accuracy']:.3f}"]
        for sense in ("sound", "pictures")
        for name, part in robustness[sense].items()
        if name != "unaltered"
    ]
    speed = robustness["speed"]
    plain = {sense: robustness[sense]["unaltered"]["accuracy"] for sense in ("sound", "pictures")}
    return "\n\n".join(
        [
            "## Robustness",
            "Agreement with the label of the unaltered window, and accuracy (unaltered: sound "
            f"{plain['sound']:.3f}, pictures {plain['pictures']:.3f}), on held-out recordings and pictures; for sound, "
            "windows one second apart. The microphones were used in training too.",
            table(["altered", "agreement", "accuracy"], rows),
            f"One window {speed['window_ms']:.2f} ms, one frame {speed['frame_ms']:.2f} ms on one x86-64 core; a "
            f"second of two windows and five frames {speed['second_ms']:.1f} ms, {speed['ratio']:.0f} × less than "
            f"the SE-CRNN reference ({speed['se_crnn_second_ms']:,.0f} ms) in the same run.",
        ]
    )


def of_pictures(images: Path) -> str:
    """Every archive with what is in it."""
    rows = []
    for archive in [*sorted((images / "miniplaces").glob("*.tar")), *(images / f"{stem}.tar" for stem in OTHERS)]:
        about, licence, _ = OTHERS.get(archive.stem, (SCENE_OF.get(archive.stem, NONE), "none stated", ""))
        with tarfile.open(archive) as tar:
            n = sum(member.isfile() for member in tar.getmembers())
        rows.append(
            [f"{archive.stem}", about, f"{n:,}", licence, f"`{hashlib.sha256(archive.read_bytes()).hexdigest()}`"]
        )
    credited = " · ".join(credit for _, _, credit in OTHERS.values() if credit)
    return "\n\n".join(
        [
            "## Pictures",
            "A fifth was held out for evaluation: whole panoramas, and a whole block of a hundred numbers of the "
            "walks. The rest was trained on, except for those that chose the epoch or calibrated: first all classes of "
            "Places, then the scenes, with pictures of none of them as ones to be unsure about. MiniPlaces (Zhou et "
            "al.): the copyright belongs to the owners of the images; the authors of Places publish weights trained "
            f"on them under CC BY. Also: {credited}.",
            table(["archive", "taken as", "pictures", "licence", "SHA-256 of the archive"], rows),
        ]
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


if __name__ == "__main__":
    sys.exit(main())
