"""A report as human-readable tables: Markdown for `figures.md`, plain text for the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.data.clips import VALIDATION

_WORST = 10
"""Number of locations shown; `report.json` has all."""
_NAMED = ("precision", "coverage")
_CONDITIONS = {"whole": "everything there", "audio": "sound alone", "video": "picture alone"}


@dataclass(frozen=True, slots=True)
class Table:
    """One table; the first column is text, the others are numbers."""

    title: str
    """Heading."""
    head: tuple[str, ...]
    """Column names."""
    rows: tuple[tuple[str, ...], ...]
    """Cells, one per column."""
    note: str = ""
    """Explanation below the table."""


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


def table_to_lines(table: Table) -> list[str]:
    """A table as plain-text columns, with its title above."""
    lines = [table.head, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.head))]
    return [
        table.title,
        *(
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ),
    ]


def main_tables(report: Mapping[str, Any]) -> list[Table]:
    """The main tables: segments, clips, scenes."""
    tables = [_segments(report), _clips(report)]
    if report["n_segments"] == report["n_clips"]:
        tables.pop()
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
                percent(figures["accuracy"]) + _range(ends.get("accuracy"), 100, 1),
                percent(figures["accuracy_macro"]),
                loss(figures["log_loss"]) + _range(ends.get("log_loss"), 1, 3),
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
        "logarithm. In parentheses 95 % intervals of a bootstrap over whole locations. Calibrated with temperatures of "
        "held-out clips; calibration error: 15 bins of the answer's probability."
    )
    seconds = f"{report['segment_seconds']:g} s"
    return Table(f"Segments of {seconds}", head, tuple(rows), note)


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
    chosen, found = report["thresholds"], report["thresholds_evaluated"]
    rows = tuple(
        (level, f"{found[level]:.2f}", *(_named(part, level, what) for what in _NAMED for part in (chosen, found)))
        for level in ("scene", "group")
        if level in found
    )
    head = ("level", "threshold", "right, held out", "right", "of the time, held out", "of the time")
    note = "Scores after the runtime's filter. A group is named where no scene is."
    if "wanted_precision" in report:
        note += (
            f" Each threshold is the lowest from which on {percent(report['wanted_precision'])} of the named answers "
            "were right on the same clips as the temperatures were fitted on, or 0.95 if none was enough."
        )
    return Table("When something is named", head, rows, note)


def _named(part: Mapping[str, float], level: str, what: str) -> str:
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
    return Table("Decided", head, rows, "Smoothed, at the bundle's thresholds, as `ascstream file` says it.")


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


def table_to_markdown(table: Table) -> str:
    """A table as Markdown: heading, table, note."""
    lines = [table.head, ["---", *["---:"] * (len(table.head) - 1)], *table.rows]
    grid = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return "\n\n".join(part for part in (f"## {table.title}" * bool(table.title), grid, table.note) if part)


def percent(value: float | None) -> str:
    """0.2564 as "25.6 %"; None as a dash."""
    return "–" if value is None else f"{100 * value:.1f} %"


def loss(value: float | None) -> str:
    """A loss with three decimals; None as a dash."""
    return "–" if value is None else f"{value:.3f}"


def _range(ends: Sequence[float] | None, factor: float, digits: int) -> str:
    """An interval to append to a figure: " (56.6–63.5)"; empty if there is none."""
    return "" if ends is None else f" ({'–'.join(f'{factor * end:.{digits}f}' for end in ends)})"
