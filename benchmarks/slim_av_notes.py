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
ROWS = {
    "sound": "all held-out recordings, by sound",
    "pictures": "all held-out pictures",
    "sound alone": "pairs, sound alone",
    "picture alone": "pairs, picture alone",
    "both": "pairs, both",
}


def main() -> int:
    """Read the command line."""
    work, data = (Path(word) for word in sys.argv[1:3])
    figures = json.loads((work / "figures.json").read_text())
    robustness = json.loads((work / "robustness.json").read_text())
    sections = [of_windows(figures), of_streams(figures), of_changes(robustness), of_pictures(data / "scenes_images")]
    print("\n\n".join(sections))
    return 0


def of_windows(figures: Mapping[str, Any]) -> str:
    """Accuracy, groups, log loss and calibration with intervals, the gain of both, and each scene's recall."""
    windows = figures["windows"]
    scenes = sorted({scene for part in windows.values() for scene in part["recall"]})
    recalls = [[ROWS[name], *(_share(part["recall"].get(scene)) for scene in scenes)] for name, part in windows.items()]
    thresholds = [setting["thresholds"] for setting in figures["settings"]]
    ends = [f"{min(side):.2f} to {max(side):.2f}" for side in zip(*thresholds, strict=True)]
    return "\n\n".join(
        [
            "## On held-out recordings and pictures",
            "`python benchmarks/slim_av.py DATA WORK` of the project's repository makes this bundle and these figures. "
            "Single windows, unsmoothed. Every scene weighs the same, and within a scene every recording or picture "
            "does. Each recording is judged by the network of the fold that never heard it, at the temperature that "
            "the other folds gave; the pictures are the held-out fifth. A pair is a random recording and a random "
            "picture of one scene: independent given the scene by construction, so what both gain over one is "
            "optimistic; recordings weigh the same here, where the pairs that the weights were judged on do above. In "
            "brackets: 95 % intervals of a bootstrap over recordings, or over pictures in the row of "
            "all pictures. They are too narrow where a scene has only two or three recordings, and for pairs, whose "
            "pictures are not resampled.",
            _figures(windows),
            table(["recall", *scenes], recalls),
            "The same answers, restricted to the scenes that occur (seven for sound, seven for pictures, six for "
            "pairs), so that no modality is judged on scenes it never learnt:",
            _figures(figures["among"]),
            "What both gain over one, on the same pairs (a lower log loss is better); no pair is of a bus or a metro, "
            "so both together were never judged on transportation:",
            _gains(figures["gains"]),
            f"The thresholds that the folds chose for each other were {ends[0]} for a scene and {ends[1]} for a group; "
            "those that ship were chosen in the same way on all of them.",
        ]
    )


def _figures(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """One line for each way of answering."""
    keys = ("accuracy", "group_accuracy", "log_loss", "calibration_error")
    rows = [
        [
            ROWS[name],
            *(f"{part['figures'][k]:.3f} ({part['intervals'][k][0]:.3f}–{part['intervals'][k][1]:.3f})" for k in keys),
        ]
        for name, part in parts.items()
    ]
    return table(["", "accuracy", "group accuracy", "log loss", "calibration error"], rows)


def _gains(gains: Mapping[str, Mapping[str, Any]]) -> str:
    """One line for each comparison of both with one."""
    rows = [
        [
            name,
            *(
                f"{part[key]['gain']:+.3f} ({part[key]['interval'][0]:+.3f} to {part[key]['interval'][1]:+.3f})"
                for key in ("accuracy", "group_accuracy", "log_loss")
            ),
        ]
        for name, part in gains.items()
        if "both over" in name
    ]
    return table(["", "accuracy", "group accuracy", "log loss"], rows)


def of_streams(figures: Mapping[str, Any]) -> str:
    """False switches, delays, and what is named."""
    streams = figures["streams"]
    rows = [
        [
            SENSES[name],
            f"{part['switches_per_hour']:.1f} ({part['switches_interval'][0]:.1f}–{part['switches_interval'][1]:.1f})",
            *(_delay(part[what]) for what in ("right", "told")),
            f"{_share(part['share_scene'])}, right {_share(part.get('scene_right'))}",
            f"{_share(part['share_group'])}, right {_share(part.get('group_right'))}",
            _share(part["share_unknown"]),
        ]
        for name, part in streams.items()
    ]
    head = [
        "",
        "false switches an hour",
        "right again after a change",
        "told from the scene before",
        "a scene named",
        "a group named",
        "unknown",
    ]
    both = streams["both"]
    return "\n\n".join(
        [
            "## As a stream",
            f"Held-out recordings of one scene and fold joined end to end ({both['hours']:.1f} h), each with one "
            f"held-out picture of its scene, drawn anew {both['draws']} times; then {both['right']['changes']:,} "
            "changes of scene, one every 30 s. Each fold is judged with the thresholds that the others chose. "
            "In brackets: where 95 % of the draws lie. After a change an answer is right once it names the new scene "
            "or its group, even if that group was already named before the change; it tells the two apart once it "
            "names the new scene, or a group that the scene before does not belong to. Medians are over all changes. "
            "The filter's time constant, and how often a named answer is demanded to be right, were chosen on "
            "these same streams, so the figures are slightly optimistic.",
            table(head, rows),
        ]
    )


def _delay(part: Mapping[str, Any]) -> str:
    """The median delay, and the shares of changes that were answered in time."""
    median = "more than half never" if part["median_seconds"] is None else f"median {part['median_seconds']:.1f} s"
    return f"{median}; {_share(part['within_5'])} within 5 s, {_share(part['within_30'])} within 30 s"


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
