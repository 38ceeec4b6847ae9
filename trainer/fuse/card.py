"""The model card of a fused bundle: how it answers, what its weights are based on, what its sources' cards say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engines.bundle import MANIFEST_NAME, Bundle
from engines.errors import BundleError
from engines.manifest import Manifest, Precision
from trainer.evaluate.tables import Table, table_to_markdown
from trainer.fuse.pool import Pool

if TYPE_CHECKING:
    from trainer.fuse.bundle import Found

_KEPT = re.compile(
    r"how it was made|whose it is|what to know|recordings|pictures|clips|corpus|sources"
    r"|.*(\bdata|licen[cs]e|attribution|credit|cannot|limits).*",
    re.IGNORECASE,
)
"""Headings of the sections of a source's card that are copied in full."""


def write_card(
    audio: Bundle,
    video: Bundle,
    pool: Pool,
    fields: Mapping[str, Any],
    found: Found | None,
    left_out: Mapping[Precision, str],
) -> str:
    """Return the card as Markdown.

    Args:
        audio: The audio bundle.
        video: The video bundle.
        pool: How their answers are combined.
        fields: The fused manifest's fields.
        found: What the weights were fitted on, if they were fitted.
        left_out: Precisions that are not in the bundle, and why.
    """
    sections = [
        _what(audio.manifest, video.manifest, fields),
        _how(pool, found),
        _weights(pool, found),
        _limits(audio.manifest, video.manifest, pool, found, left_out),
        _source(audio, "hears"),
        _source(video, "sees"),
    ]
    return "\n\n".join(sections) + "\n"


def figures_table(found: Found) -> Table:
    """Table of held-out quality: a row for each modality alone, for both at weights of 1, and for both as fitted."""
    fitted = found.fitted
    names = {"audio": "sound alone", "video": "pictures alone", "even": "both, weights of 1", "fitted": "both, fitted"}
    rows = tuple(
        (names[name], f"{100 * one.accuracy:.1f} %", f"{one.log_loss:.3f}", f"{one.calibration_error:.3f}")
        for name, one in fitted.figures.items()
    )
    note = (
        f"{fitted.n_windows:,} windows of {fitted.n_clips:,} {found.unit}. Scenes count alike, within them "
        f"{found.unit} alike. The last line is judged by weights found without each of {fitted.n_folds} folds in turn; "
        "no place is in two folds."
    )
    if not fitted.helped:
        note += " They were no better than weights of 1, which are taken."
    if fitted.mismatched is not None:
        note += f" Pairs of two scenes score {fitted.mismatched:.2f} at best on average; they are in no figure above."
    return Table("", ("", "accuracy", "log loss", "calibration error"), rows, note)


def _what(audio: Manifest, video: Manifest, fields: Mapping[str, Any]) -> str:
    """The title, the description, and a table of labels, window and sources."""
    groups = "; ".join(f"{group}: {', '.join(members)}" for group, members in fields["groups"].items()) or "none"
    window, precisions = fields["window"], ", ".join(fields["graphs"][0].files)
    return f"""# {fields["name"]} {fields["version"]}

{fields["description"]}

| | |
|---|---|
| scenes | {", ".join(fields["labels"])} |
| groups | {groups} |
| window | {window.seconds:g} s, every {window.default_step_seconds:g} s |
| hears with | {audio.name} {audio.version} |
| sees with | {video.name} {video.version} |
| precisions | {precisions} |
| licence | {fields["licence"]} |"""


def _how(pool: Pool, found: Found | None) -> str:
    """The section on the formula and what follows from it."""
    calibrated = found is not None or not pool.audio.temperature == pool.video.temperature == 1.0
    answers = "two calibrated answers" if calibrated else "two answers, which were not calibrated here"
    under = "both were calibrated under" if calibrated else "is taken out of both"
    even = len(set(pool.prior)) == 1
    prior = "even" if even else ", ".join(f"{name} {p:.3f}" for name, p in zip(pool.labels, pool.prior, strict=True))
    lines = [f"The prior π that {under} is {prior}. "
             f"Temperatures: {pool.audio.temperature:.3g} for sound, "
             f"{pool.video.temperature:.3g} for pictures; they are inside the graph."]  # fmt: skip
    for modality, sense in (("audio", "sound"), ("video", "picture")):
        unknown = [label for label, known in zip(pool.labels, pool.known(modality), strict=True) if not known]  # type: ignore[arg-type]
        if unknown:
            lines.append(
                f"The {sense} network does not know {', '.join(unknown)}: by {sense} alone "
                f"{'it is' if len(unknown) == 1 else 'they are'} neither likely nor unlikely, and together with the "
                f"other {'it is' if len(unknown) == 1 else 'they are'} neither helped nor hindered."
            )
    return f"""## How it answers

A log-linear pool (Genest & Zidek 1986; Hinton 2002) of the {answers}, with the prior taken out:

    log p(y) = w_a·log p_a(y)/π(y) + w_v·log p_v(y)/π(y) + const

Where one modality is absent the other's own answer stands, and nothing of the absent one enters. All answers are under
even odds: how likely sound and picture are in each scene, not how common the scene is.

{chr(10).join(lines)}"""


def _weights(pool: Pool, found: Found | None) -> str:
    """The section on the weights and what they are based on."""
    weights = f"Sound counts {pool.audio.weight:.2f}, pictures {pool.video.weight:.2f}"
    if found is None:
        return f"""## Weights

{weights}: no labelled data were given, so each is taken at its word, as if sound and picture were independent given \
the scene. They are not quite, and answers of both may be too sure. Fit them with: \
`trainer fuse AUDIO_BUNDLE VIDEO_BUNDLE --out BUNDLE --fit DATA`."""
    thresholds = found.thresholds
    named = [
        f"* A {name} is named from a smoothed score of {thresholds[name]:.2f}: "
        f"{100 * thresholds[f'{name}_coverage']:.0f} % of the time{', where no scene is' * (name == 'group')}, "
        f"and right in {100 * thresholds[f'{name}_precision']:.0f} % of that time."
        for name in ("scene", "group")
        if name in thresholds
    ]
    how = ", by maximum likelihood on" if found.fitted.helped else ". Fitted weights were no better on"
    return f"""## Weights

{weights}{how} {found.source}.

{table_to_markdown(figures_table(found))}

Thresholds were chosen on the same held-out answers, behind the runtime's filter. It starts anew with each of these \
{found.unit}: a stream that goes on is given a name more often.

{chr(10).join(named)}"""


def _limits(
    audio: Manifest, video: Manifest, pool: Pool, found: Found | None, left_out: Mapping[Precision, str]
) -> str:
    """The section on limitations."""
    lines = [
        "It is as good as the calibration of its sources: one that is too sure outvotes the other.",
        "Its sources were trained apart: it has not learnt from sound and picture of one moment.",
    ]
    if found is not None:
        lines.append("Its weights count where both are there: alone, each answers just as sure as its source is.")
    else:
        lines.append(f"Its thresholds and its smoothing are those of {audio.name}, not chosen for both.")
    if pool.audio.labels != pool.video.labels:
        lines.append("Its sources know different scenes; see above what a label means that one does not know.")
    if video.video_input is not None and video.video_input[1].embedding_size is None:
        lines.append("Its pictures are judged anew in every window: the bundle for pictures has no frame graph.")
    lines += [f"No {precision}: {reason}." for precision, reason in left_out.items()]
    return "## What it cannot do\n\n" + "\n".join(f"* {line}" for line in lines)


def _source(bundle: Bundle, verb: str) -> str:
    """The section on a source: description, licence, labels, hashes, and what its card says about data and limits."""
    manifest = bundle.manifest
    hashes = "\n".join(
        f"| `{spec.files['float32']}` | `{manifest.files[spec.files['float32']].sha256}` |" for spec in manifest.graphs
    )
    head = f"""## What {verb}: {manifest.name} {manifest.version}

{manifest.description} Licence: {manifest.licence}. Scenes: {", ".join(manifest.labels)}.

| graph | SHA-256 |
|---|---|
{hashes}"""
    return "\n\n".join([head, *_kept(bundle)])


def _kept(bundle: Bundle) -> list[str]:
    """The sections of a source's card on data, licences and limits, with headings one level lower."""
    manifest = bundle.manifest
    if manifest.card is None:
        return [f"It has no card: what it was trained on is not known from its {MANIFEST_NAME}."]
    try:
        text = bundle.read(manifest.card).decode()
    except UnicodeDecodeError:
        raise BundleError(f"{bundle.path / manifest.card}: expected a card in UTF-8, got something else") from None
    kept = [section for section in _sections(text) if _KEPT.fullmatch(section.partition("\n")[0].strip("# "))]
    return ["\n".join(_lowered(section)) for section in kept] or ["Its card says nothing of data, licences or limits."]


def _sections(text: str) -> list[str]:
    """The sections of a card that begin with a second-level heading."""
    parts: list[list[str]] = []
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("## ") and not fenced:
            parts.append([])
        if parts:
            parts[-1].append(line)
    return ["\n".join(part).strip() for part in parts]


def _lowered(section: str) -> list[str]:
    """A section's lines with every heading one level lower."""
    lines, fenced = [], False
    for line in section.splitlines():
        fenced ^= line.startswith("```")
        is_heading = not fenced and line.startswith("#") and line.lstrip("#").startswith(" ")
        lines.append(f"#{line}" if is_heading else line)
    return lines
