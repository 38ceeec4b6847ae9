"""The model card of an imported network: what it is, its origin, its source files, and what was and was not checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engines.manifest import (
    AudioInput,
    GammatoneFeature,
    InputSpec,
    LogMelFeature,
    Precision,
    VideoInput,
)
from trainer.evaluate.tables import table_to_markdown
from trainer.export.precision_table import golden_table
from trainer.export.precisions import GoldenCost
from trainer.importers.imported import UNKNOWN_LICENCE, Imported

NOT_OURS = (
    "It was trained by others. What its authors reached was measured by them, on their data and by their rules: no "
    "figure of theirs is repeated here, and none of this project's figures is about it"
)


def write_card(imported: Imported, version: str, costs: Sequence[GoldenCost], left_out: Mapping[Precision, str]) -> str:
    """Return the card as Markdown.

    Args:
        imported: The network.
        version: Version of the bundle.
        costs: What each precision costs, float32 first.
        left_out: Precisions that are not in the bundle, and why.
    """
    sections = [
        _what(imported, version),
        _whose(imported),
        f"## How it answers\n\n{imported.answers}",
        _checked(imported),
        table_to_markdown(golden_table(costs, left_out)),
        _limits(imported),
    ]
    return "\n\n".join(sections) + "\n"


def _what(imported: Imported, version: str) -> str:
    """The title, the description, and a table of labels, window, inputs and sizes."""
    groups = "; ".join(f"{group}: {', '.join(members)}" for group, members in imported.groups.items())
    rows = [
        ("labels", ", ".join(imported.labels)),
        ("groups", groups or "none"),
        ("judges", f"windows of {imported.window.seconds:g} s"),
        *(_input(spec) for spec in imported.graphs.inputs if spec.presence is None),
        *([("parameters", f"{imported.n_parameters:,}")] if imported.n_parameters else []),
        ("temperatures", ", ".join(f"{output.name} {output.temperature:g}" for output in imported.outputs)),
        ("licence of the weights", _licence(imported)),
    ]
    lines = "\n".join(f"| {name} | {_cell(value)} |" for name, value in rows)
    return f"# {imported.name} {version}\n\n{imported.description}\n\n| | |\n|---|---|\n{lines}"


def _licence(imported: Imported) -> str:
    """The manifest's licence, with an explanation if it is unknown."""
    if imported.licence == UNKNOWN_LICENCE:
        return f"{UNKNOWN_LICENCE}: unknown, see below before you pass this bundle on"
    return imported.licence


def _whose(imported: Imported) -> str:
    """The section on origin, training data, terms and source files."""
    origin = imported.origin
    lines = [
        f"* **Network**: {origin.network}",
        f"* **Published by**: {origin.authors}",
        f"* **Trained on**: {origin.data}",
        f"* **Terms**: {origin.terms}",
    ]
    files = []
    for source in imported.sources:
        known = origin.known_files.get(source.sha256)
        what = f"known: {known}" if known else "not a file that was held and compared: it is what you say it is"
        files.append(f"| `{_cell(source.path.name)}` | {len(source.data):,} | `{source.sha256}` | {what} |")
    table = "\n".join(["| read from | bytes | SHA-256 | |", "|---|---:|---|---|", *files])
    return "\n".join(["## Whose it is", "", *lines, "", table])


def _checked(imported: Imported) -> str:
    """The section on which checks the graphs passed."""
    return f"""## What was checked

{imported.checked} The bundle was written only because every graph gives these answers in ONNX Runtime, in batches of \
1, 2 and 5. {NOT_OURS}: `trainer evaluate` measures it on recordings of yours."""


def _limits(imported: Imported) -> str:
    """The section on limitations."""
    lines = (
        *imported.limits,
        "Temperatures are 1 where nothing is said of them above, thresholds are the defaults: beyond that, how sure it "
        "is was never calibrated.",
        "There is no int8 graph: its ranges have to be measured on recordings.",
    )
    return "## What to know\n\n" + "\n".join(f"* {line}" for line in lines)


def _input(spec: InputSpec) -> tuple[str, str]:
    """A table row that describes an input."""
    if spec.audio is not None:
        return "listens to", _sound(spec.audio)
    assert spec.video is not None  # noqa: S101  the caller skips presence inputs
    return "looks at", _picture(spec.video)


def _sound(audio: AudioInput) -> str:
    """Channels, sample rate and feature of an audio input."""
    what, feature = "samples", audio.feature
    if isinstance(feature, LogMelFeature):
        what = f"{feature.n_mels} mel bands of {feature.f_min:g}…{feature.f_max:g} Hz, a hop every {feature.hop_length}"
    elif isinstance(feature, GammatoneFeature):
        what = f"{feature.n_bands} gammatone bands, a hop every {feature.hop_length}"
    return f"{audio.channels}, {audio.sample_rate / 1000:g} kHz: {what}"


def _picture(video: VideoInput) -> str:
    """Size, crop and frame times of a video input."""
    times = ", ".join(f"{time:g}" for time in video.frame_times_seconds)
    cut = f", cut out of the middle at a short side of {video.short_side}" if video.short_side else ""
    return f"{video.width} × {video.height} pixels{cut}; frames at {times} s"


def _cell(text: str) -> str:
    """Text escaped for a Markdown table cell."""
    printable = "".join(char if char.isprintable() else "?" for char in text)
    return printable.replace("|", "\\|").replace("`", "'")
