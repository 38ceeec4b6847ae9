"""The model card of a run on recordings: what it is, its data, its held-out figures and its limits; all generated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engines.manifest import GammatoneFeature, Precision
from trainer.evaluate.tables import table_to_markdown
from trainer.export.precision_table import precision_table
from trainer.export.precisions import Cost
from trainer.export.recipe import describe_beginning
from trainer.fit.trained import Trained
from trainer.run import FINAL, Run

_CLEAR = 0.03
"""A lead in accuracy over the baseline below this is reported as hardly any."""


def write_card(
    run: Run, report: dict[str, Any], trained: Trained, costs: Sequence[Cost], left_out: Mapping[Precision, str]
) -> str:
    """Return the card as Markdown.

    Args:
        run: A finished run.
        report: Its figures.
        trained: Its network.
        costs: What each precision costs, float32 first.
        left_out: Precisions that are not in the bundle, and why.
    """
    several = len(costs) > 1 or bool(left_out)
    sections = [
        _what(run, trained, costs[0]),
        _figures(run, report),
        _sources(report),
        _calibration(run, report),
        *([table_to_markdown(precision_table(costs, left_out, held_out=False))] if several else []),
        _none(report),
        _limits(run, report),
        _made(run),
        _data(run),
    ]
    return "\n\n".join(sections) + "\n"


def _what(run: Run, trained: Trained, cost: Cost) -> str:
    """The title, the description, and a table of labels, window, network and speed."""
    config, audio = run.config, trained.inputs.audio
    bands = "" if audio is None else f", {getattr(audio.feature, 'n_mels', 0)} mel bands"
    if audio is not None and isinstance(audio.feature, GammatoneFeature):
        bands = f", {audio.feature.n_bands} gammatone bands"
    heard = f"mono sound, {trained.inputs.sample_rate / 1000:g} kHz{bands}"
    n_parameters = sum(parameter.numel() for parameter in trained.network.parameters())
    p50, p95 = (f"{seconds * 1e3:.2f} ms" for seconds in (cost.scene.p50_seconds, cost.scene.p95_seconds))
    return f"""# {config.name} {config.bundle.version}

{config.bundle.description}

| | |
|---|---|
| scenes | {", ".join(run.labels)} |
| groups | {"; ".join(f"{group}: {', '.join(members)}" for group, members in run.groups.items()) or "none"} |
| listens to | windows of {config.window.seconds:g} s: {heard} |
| network | `{config.model.name}`, {n_parameters:,} parameters, {cost.n_bytes / 1024:.0f} KiB |
| one window, ONNX Runtime, one x86-64 core | p50 {p50}, p95 {p95}, features not included |
| licence of the weights | {config.bundle.licence}, with the attributions below |"""


def _figures(run: Run, report: dict[str, Any]) -> str:
    """The section on figures with recordings held out."""
    n_folds = sum(split.name.startswith("fold-") for split in run.splits)
    n_trained = sum(entry.label in run.labels for entry in run.entries)
    folds, baseline, smoothed = report["folds"], report["folds_baseline"], report["smoothed"]
    rows = [_row("this network", folds), _row("baseline: logistic regression on each band's mean and spread", baseline)]
    chance = report["chance"]
    rows.append(["chance", _percent(chance["accuracy"]), f"{chance['log_loss']:.3f}", "", "", ""])
    windows, recordings = folds["windows"], folds["by_recording"]
    scenes = [
        [
            label,
            str(windows["n_recordings"][label]),
            str(windows["n_windows"][label]),
            _percent(windows["recall"][label]),
            _of(recordings["recall"][label], windows["n_recordings"][label]),
            _percent(baseline["windows"]["recall"][label]),
        ]
        for label in run.labels
    ]
    confused = [
        [label, *(_percent(value) for value in row)] for label, row in zip(run.labels, folds["confusion"], strict=True)
    ]
    return f"""## Recordings it had not heard

{n_trained} recordings in {n_folds} folds: each is judged by a network that was trained without it. The bundle's own \
network was then trained on all of them. Every scene counts alike, and within it every recording.

{_table(["", "accuracy", "log loss", "calibration error", "by recording", "plain accuracy of windows"], rows)}

"By recording" takes a recording's windows together, about a minute of sound; "plain" lets every window count alike, \
so that the common scenes weigh more. After the runtime's filter, at all times: accuracy \
{_percent(smoothed["accuracy"])}, log loss {smoothed["log_loss"]:.3f}. \
Of single windows, {_percent(folds["group_accuracy"] or 0)} fall into the right group \
(by chance {_percent(_group_chance(run))}). \
With so few recordings, one more or less in a scene moves these figures by several points.

{_table(["scene", "recordings", "windows", "windows right", "recordings right", "baseline, windows right"], scenes)}

What was heard (columns) where each scene (rows) was:

{_table(["", *run.labels], confused)}"""


def _sources(report: dict[str, Any]) -> str:
    """The section on figures with a whole source held out."""
    if "sources" not in report:
        return "## Sources it had not heard\n\nNot measured."
    rows = [
        [
            name,
            str(one["n_recordings"]),
            str(one["n_windows"]),
            _percent(one["windows"]["accuracy"]),
            _percent(one["plain_accuracy"]),
            _percent(one["by_recording_plain_accuracy"]),
        ]
        for name, one in report["by_source"].items()
    ]
    head = ["source held out", "recordings", "windows", "right, scenes alike", "windows right", "recordings right"]
    whole = report["sources"]
    return f"""## Sources it had not heard

Other people, devices and codecs: each source is judged by a network trained on the others alone.

{_table(head, rows)}

All together, scenes alike: accuracy {_percent(whole["windows"]["accuracy"])} (baseline \
{_percent(report["sources_baseline"]["windows"]["accuracy"])}), log loss {whole["windows"]["log_loss"]:.3f} (baseline \
{report["sources_baseline"]["windows"]["log_loss"]:.3f})."""


def _calibration(run: Run, report: dict[str, Any]) -> str:
    """The section on temperature, thresholds and the smoothing filter."""
    head = ["time constant in s", "accuracy", "log loss", "calibration error"]
    rows = [
        [seconds, _percent(one["accuracy"]), f"{one['log_loss']:.3f}", f"{one['calibration_error']:.3f}"]
        for seconds, one in report["smoothed_by_seconds"].items()
    ]
    folds, thresholds = report["folds"], report["thresholds"]
    lines = [
        _threshold("scene", thresholds, "of all time"),
        _threshold("group", thresholds, "of the time, where no scene is") if "group" in thresholds else "",
    ]
    return f"""## How sure it is

Logits are divided by a temperature of {report["temperature"]:.2f}, fitted on the held-out answers. Without it the log \
loss would be {folds["uncalibrated"]["log_loss"]:.3f} and the calibration error \
{folds["uncalibrated"]["calibration_error"]:.3f}; with one fitted on the other folds they are \
{folds["windows"]["log_loss"]:.3f} and {folds["windows"]["calibration_error"]:.3f}.

{chr(10).join(line for line in lines if line)}

Otherwise the answer is `unknown`. Each threshold is the lowest at which {_percent(run.config.evaluate.precision)} of \
the named answers were right on held-out recordings, every recording counting alike (0.95 where none was enough): \
chosen and measured on the same answers, so a little flattered. They may be changed.

Windows of one recording err together. The filter therefore takes {run.config.smoothing.time_constant_seconds:g} s of \
them for one independent window; on held-out recordings, at all times:

{_table(head, rows)}"""


def _group_chance(run: Run) -> float:
    """Chance that a random guess among the scenes is in the right group, every scene being equally frequent."""
    return sum((len(members) / len(run.labels)) ** 2 for members in run.groups.values())


def _threshold(name: str, thresholds: dict[str, Any], what: str) -> str:
    """A threshold in words."""
    if thresholds[name + "_coverage"] == 0:
        return (
            f"* A {name} is named from a smoothed score of {thresholds[name]:.2f}: held-out recordings never gave it."
        )
    named, right = (_percent(thresholds[f"{name}_{part}"]) for part in ("coverage", "precision"))
    score = f"{thresholds[name]:.2f}"
    return f"* A {name} is named from a smoothed score of {score}: {named} {what}, and right in {right} of that time."


def _none(report: dict[str, Any]) -> str:
    """The section on recordings of none of the scenes."""
    rows = []
    for one in report["none"]:
        named = [_percent(one["named"]), _percent(one["named_group"])]
        rows.append([one["file"], str(one["n_windows"]), one["heard"], f"{one['mean_confidence']:.2f}", *named])
    if not rows:
        return "## Places that are none of these\n\nNot measured."
    head = ["recording", "windows", "most often heard", "mean confidence", "named a scene", "named a group"]
    return f"""## Places that are none of these

The right answer for them is `unknown`, or a group if the place belongs to one. Recordings of something else, never \
trained on, and how much of the time the runtime names a scene all the same, or only a group:

{_table(head, rows)}"""


def _limits(run: Run, report: dict[str, Any]) -> str:
    """The section on limitations."""
    known = {label for members in run.config.data.groups.values() for label in members}
    missing = sorted(known - set(run.labels))
    recall, chance = report["folds"]["windows"]["recall"], report["chance"]["accuracy"]
    unheard = [label for label in run.labels if recall[label] <= chance]
    gain = report["folds"]["windows"]["accuracy"] - report["folds_baseline"]["windows"]["accuracy"]
    lines = [
        *([f"It knows no {', '.join(missing)}: there were too few recordings."] if missing else []),
        *([f"It recognises {', '.join(unheard)} no more often than chance would."] if unheard else []),
        *(["On recordings it had not heard it is hardly better than the linear baseline."] if gain < _CLEAR else []),
        *run.config.bundle.limits,
    ]
    return "## What it cannot do\n\n" + "\n".join(f"* {line}" for line in lines)


def _made(run: Run) -> str:
    """The section on how it was trained."""
    train, augment = run.config.train, run.config.augment
    responses = augment.response_probability if run.config.data.impulse_responses is not None else 0.0
    chances = (
        (responses, "a microphone's impulse response"),
        (augment.tilt_probability, f"a smooth tilt of {augment.tilt_db:g} dB"),
        (augment.lowpass_probability, f"a low-pass from {augment.lowpass_hertz:g} Hz up"),
        (augment.noise_probability, "noise"),
        (augment.mix_probability, "another recording of the same scene on top"),
        (augment.style_probability, "frequency-wise MixStyle"),
    )
    steps = [
        *([f"gain of ±{augment.gain_db:g} dB"] if augment.gain_db else []),
        *(f"{what} ({_percent(chance)})" for chance, what in chances if chance),
        *([f"mixup (α = {augment.mixup:g})"] if augment.mixup else []),
        f"masks of up to {augment.band_mask} bands and {augment.hop_mask} hops",
    ]
    final = next(split for split in run.splits if split.name == FINAL)
    share = augment.none_share if run.config.data.outliers is not None else 0.0
    outliers = (
        f"{_percent(share)} of the windows are of recordings of none of the scenes, whose target is even odds. "
        if share
        else ""
    )
    begun = "".join(f"{line[0].upper()}{line[1:]}. " for line in describe_beginning(run.config.model))
    return f"""## How it was made

{train.epochs} epochs of {train.windows_per_epoch} windows from {len(final.train)} recordings, every scene and every \
recording equally often; AdamW, peak rate {train.learning_rate:g}, weight decay {train.weight_decay:g}, label \
smoothing {train.label_smoothing:g}, averaged weights; seed {run.config.seed}. In training, each window by chance: \
{"; ".join(steps)}. {outliers}{begun}\
The recipe was chosen by folds of the same recordings: the figures above are slightly optimistic. \
The command, where nothing was set beside the file (`--set`):

    trainer fit configs/{run.config.name.replace("-", "_")}.toml --data FOLDER && trainer export --data FOLDER"""


def _data(run: Run) -> str:
    """The section on recordings, licences and credits."""
    blocks = ["## Recordings"]
    for source in dict.fromkeys(entry.source for entry in run.entries):
        known = run.config.data.sources.get(source)
        if known is not None:
            credit = f" {known.credit}." if known.credit else ""
            blocks.append(f"**{known.title}** ({source}): {known.url}. Licence: {known.licence}.{credit}")
    total = sum(entry.seconds for entry in run.entries if entry.label in run.labels)
    blocks.append(
        f"{total / 60:.0f} minutes were trained on. Labels were given by names and descriptions; their certainty is "
        f"the list's own word. `{run.config.data.none_label}`: only heard in evaluation."
    )
    rows = [
        [entry.file, entry.label, entry.confidence, f"{entry.seconds:.1f}", entry.licence, f"`{entry.sha256}`"]
        for entry in run.entries
    ]
    blocks.append(_table(["file", "scene", "label", "seconds", "licence", "SHA-256"], rows))
    if run.config.data.impulse_responses is not None and run.config.augment.response_probability > 0:
        blocks.append(f"Impulse responses of microphones, in training: {run.config.data.impulse_response_credit}")
    if run.config.data.outliers is not None and run.config.augment.none_share > 0:
        blocks.append(f"Recordings of none of the scenes, in training: {run.config.data.outliers_credit}")
    return "\n\n".join(blocks)


def _row(name: str, part: dict[str, Any]) -> list[str]:
    """A row of the table of figures."""
    windows = part["windows"]
    return [
        name,
        _percent(windows["accuracy"]),
        f"{windows['log_loss']:.3f}",
        f"{windows['calibration_error']:.3f}",
        _percent(part["by_recording"]["accuracy"]),
        _percent(part["plain_accuracy"]),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _of(share: float, n: int) -> str:
    """0.5 and 4 as "2 of 4"."""
    return f"{round(share * n)} of {n}"


def _percent(value: float) -> str:
    """0.256 as "26 %"."""
    return f"{100 * value:.0f} %"
