"""The tables of a report, for `figures.md`, model cards and the command line; `tables.py` has what a table is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.data.clips import VALIDATION
from trainer.evaluate.tables import Table, interval, loss, percent, table_to_markdown

_WORST = 10
"""Number of locations shown; `report.json` has all."""
_NAMED = ("precision", "coverage")
_GROUPED = ("group_accuracy", "group_accuracy_macro")
_CONDITIONS = {"whole": "everything there", "audio": "sound alone", "video": "picture alone"}


def report_to_markdown(report: Mapping[str, Any]) -> str:
    """All tables of a report as Markdown, each under a heading."""
    head = (
        f"# {report['name']}: figures\n\n"
        f"`{report['model']}` on {report['corpus']}: {report['n_segments']:,} segments of "
        f"{report['segment_seconds']:g} s from {report['n_clips']:,} clips at {report['n_locations']:,} locations.\n\n"
        "![What was answered where each scene was](confusion.png)\n\n"
        "![Confidence and accuracy, before and after calibration](reliability.png)"
    )
    tables = [*card_tables(report), *([decided_table(report["decided"])] if "decided" in report else [])]
    return "\n\n".join([head, *(table_to_markdown(table) for table in tables)]) + "\n"


def card_tables(report: Mapping[str, Any]) -> list[Table]:
    """All tables of a report."""
    return [*main_tables(report), *_detailed_tables(report)]


def main_tables(report: Mapping[str, Any]) -> list[Table]:
    """The main tables: segments, groups, clips, scenes; those left out that would say nothing."""
    tables = [_segments(report)]
    if report["group_accuracy"] is not None:
        tables.append(_groups(report))
    if report["n_segments"] != report["n_clips"]:
        tables.append(_clips(report))
    return [*tables, _members("By scene", "scene", report["by_class"])]


def _detailed_tables(report: Mapping[str, Any]) -> list[Table]:
    """The remaining tables, as far as the corpus has the data."""
    places = report["by_location"]
    worst = sorted(places, key=lambda name: (places[name]["accuracy"], -places[name]["log_loss"]))[:_WORST]
    parts = [
        ("By city", "city", report["by_city"]),
        ("By device", "device", report["by_device"]),
        (
            f"The {len(worst)} worst locations of {len(places):,}",
            "location",
            {f"{name} ({', '.join(places[name]['scenes'])})": places[name] for name in worst},
        ),
    ]
    tables = [_members(title, name, rows) for title, name, rows in parts if rows]
    if "calibration" in report:
        tables.append(_calibration(report))
    return [*tables, _thresholds(report), _confusion(report)]


def _segments(report: Mapping[str, Any]) -> Table:
    """Metrics with one decision per segment."""
    rows: list[tuple[str, ...]] = []
    for name, condition in report["conditions"].items():
        figures = condition["calibrated"]
        ends = figures["interval"] or {}
        rows.append(
            (
                _CONDITIONS.get(name, name),
                percent(figures["accuracy"]) + interval(ends.get("accuracy"), 100, 1),
                percent(figures["accuracy_macro"]),
                loss(figures["log_loss"]) + interval(ends.get("log_loss"), 1, 3),
                loss(figures["log_loss_macro"]),
                percent(figures["calibration_error"]),
                loss(figures["brier_score"]),
                loss(condition["uncalibrated"]["log_loss"]),
            )
        )
    smoothed, chance = report["smoothed"], report["chance"]
    names = ("accuracy", "accuracy_macro", "log_loss", "log_loss_macro", "calibration_error", "brier_score")
    cells = [loss(smoothed[n]) if "loss" in n or "brier" in n else percent(smoothed[n]) for n in names]
    rows.append(("after the runtime's filter", *cells, "–"))
    rows.append(
        (
            "chance",
            percent(chance["accuracy"]),
            percent(chance["accuracy"]),
            loss(chance["log_loss"]),
            loss(chance["log_loss"]),
            "–",
            "–",
            "–",
        )
    )
    head = (
        "",
        "accuracy",
        "macro accuracy",
        "log loss",
        "macro log loss",
        "calibration error",
        "Brier score",
        "uncalibrated log loss",
    )
    note = (
        "Every segment is one decision, as in DCASE 2021 task 1B; macro: the mean over scenes. Log loss: natural "
        "logarithm. In parentheses 95 % intervals of a bootstrap over whole locations. Calibrated with "
        f"{'temperatures of held-out clips' if 'calibration' in report else 'the temperatures of the bundle'}; "
        "calibration error: 15 bins of the answer's probability."
    )
    seconds = f"{report['segment_seconds']:g} s"
    return Table(f"Segments of {seconds}", head, tuple(rows), note)


def _groups(report: Mapping[str, Any]) -> Table:
    """How often the right group is answered, with one decision per segment and with one per clip."""
    rows = []
    for name, condition in report["conditions"].items():
        figures, ends = condition["calibrated"], condition["calibrated"]["interval"] or {}
        clips = condition["clips"]["mean_log_probability"]["group_accuracy"]
        parts = [percent(figures[part]) + interval(ends.get(part), 100, 1) for part in _GROUPED]
        rows.append((_CONDITIONS.get(name, name), *parts, percent(clips)))
    for name, key in (("after the runtime's filter", "smoothed"), ("chance", "chance")):
        rows.append((name, *(percent(report[key][part]) for part in _GROUPED), "–"))
    note = (
        "How often the group of the largest summed probability is that of the scene; macro: the mean over scenes. In "
        "parentheses as above. Whole clips by the mean of their log-probabilities. Chance: a scene drawn at random."
    )
    return Table("Groups", ("", "group accuracy", "macro group accuracy", "whole clips"), tuple(rows), note)


def _clips(report: Mapping[str, Any]) -> Table:
    """Metrics with one decision per clip, combined in both ways."""
    rows = []
    for name, condition in report["conditions"].items():
        logs, means = condition["clips"]["mean_log_probability"], condition["clips"]["mean_probability"]
        rows.append(
            (
                _CONDITIONS.get(name, name),
                percent(logs["accuracy"]),
                percent(logs["accuracy_macro"]),
                loss(logs["log_loss"]),
                percent(means["accuracy"]),
                percent(means["accuracy_macro"]),
                loss(means["log_loss"]),
            )
        )
    head = ("", "accuracy (log)", "macro accuracy (log)", "log loss (log)", "accuracy", "macro accuracy", "log loss")
    note = (
        "A clip's segments together: (log) by the mean of their log-probabilities, else by the mean of their "
        "probabilities. The challenge's baseline takes the accuracy of the first and the log loss of the second."
    )
    return Table("Whole clips", head, tuple(rows), note)


def _members(title: str, name: str, members: Mapping[str, Mapping[str, Any]]) -> Table:
    """Accuracy and log loss per scene, city, location or device."""
    counts = ("segments", "clips") if name == "location" else ("segments", "clips", "locations")
    rows = tuple(
        (
            member or "–",
            percent(row["accuracy"]),
            loss(row["log_loss"]),
            *(f"{row[f'n_{count}']:,}" for count in counts),
        )
        for member, row in members.items()
    )
    return Table(title, (name, "accuracy", "log loss", *counts), rows)


def _calibration(report: Mapping[str, Any]) -> Table:
    """Temperatures, and their effect on the clips they were fitted on and on the evaluation."""
    fitted, rows = report["calibration"], []
    for output, temperature in report["temperatures"].items():
        condition = report["conditions"].get("whole" if output == "fused" else output)
        if condition is None:
            continue
        there = fitted["log_loss"][output]
        rows.append(
            (
                output,
                f"{temperature:.3f}",
                f"{loss(there['before'])} → {loss(there['after'])}",
                f"{loss(condition['uncalibrated']['log_loss'])} → {loss(condition['calibrated']['log_loss'])}",
                f"{percent(condition['uncalibrated']['calibration_error'])} → "
                f"{percent(condition['calibrated']['calibration_error'])}",
            )
        )
    head = ("output", "temperature", "log loss, fitted", "log loss", "calibration error")
    held_out = [f"the cities held out, {', '.join(fitted['cities'])}"] if fitted["cities"] else []
    held_out += ["the validation locations"] if VALIDATION in fitted["splits"] else []
    note = (
        f"Fitted on {fitted['n_segments']:,} segments of {fitted['n_clips']:,} clips that were not trained on: "
        f"{', and '.join(held_out)}"
        f"{', as these cities alone have too few clips of a scene' if len(held_out) > 1 else ''}. The last two columns "
        "are the evaluation."
    )
    return Table("Calibration", head, tuple(rows), note)


def _thresholds(report: Mapping[str, Any]) -> Table:
    """The thresholds for naming a scene or group, with their precision and coverage."""
    found = report["thresholds_evaluated"]
    held_out = [report["thresholds"]] if "wanted_precision" in report else []  # a bundle does not say
    rows = tuple(
        (level, f"{found[level]:.2f}", *(_named(part, level, what) for what in _NAMED for part in (*held_out, found)))
        for level in ("scene", "group")
        if level in found
    )
    named = [
        f"{what}{', held out' * out}" for what in ("right", "of the time") for out in (*[True] * bool(held_out), False)
    ]
    head = ("level", "threshold", *named)
    note = (
        "Scores after the runtime's filter, each window by itself: what reaches the threshold is named. Every clip "
        "counts alike, however long. A group is named where no scene is."
    )
    if "wanted_precision" in report:
        note += (
            f" Each threshold is the lowest from which on {percent(report['wanted_precision'])} of the named answers "
            "were right on the same clips as the temperatures were fitted on, or 0.95 if none was enough."
        )
    return Table("When something is named", head, rows, note)


def _named(part: Mapping[str, float | None], level: str, what: str) -> str:
    """A threshold's precision or coverage; a dash if it was not measured, or is the precision of no answers."""
    nothing = what == "precision" and part.get(f"{level}_coverage") == 0
    return "–" if nothing else percent(part.get(f"{level}_{what}"))


def _confusion(report: Mapping[str, Any]) -> Table:
    """The confusion matrix, in segments."""
    rows = tuple(
        (label, *(f"{count:,}" for count in row))
        for label, row in zip(report["labels"], report["confusion"], strict=True)
    )
    head = ("scene ╲ answered", *report["labels"])
    return Table("Confusion", head, rows, "Segments: where each scene (row) was, how often each (column) was answered.")


def decided_table(decided: Mapping[str, Mapping[str, float]]) -> Table:
    """Decisions after smoothing, for clips of scenes and clips of none."""
    rows = tuple(
        (
            which,
            f"{part['n_windows']:,.0f}",
            *(percent(part.get(name)) for name in ("scene", "scene_right", "group", "group_right", "unknown")),
        )
        for which, part in decided.items()
    )
    head = ("clips of", "windows", "a scene named", "rightly", "a group named", "rightly", "unknown")
    note = (
        "Smoothed, at the bundle's thresholds, as `ascstream file` says it: with hysteresis, which keeps an answer a "
        "little below its threshold. Every window counts alike, so a long clip counts more than a short one."
    )
    return Table("Decided", head, rows, note)


def silent_lines(report: Mapping[str, Any]) -> list[str]:
    """One sentence for each condition with unanswered windows."""
    lines = []
    for name, n in report["unanswered"].items():
        row = _CONDITIONS.get(name, name)
        if n and name in report["conditions"]:
            lines.append(f"{row}: {n:,} of {report['n_segments']:,} windows had nothing to go by, and count as guesses")
        elif n:
            lines.append(f"{row}: no window has anything to go by; left out")
    return lines
