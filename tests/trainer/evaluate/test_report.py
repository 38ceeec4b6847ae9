"""The report of a run on prepared clips: what it holds, its files, and what is said where something is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.answers import GROUPS, LABELS, clip_entries, invent_answers, read_report, run_config, write_run

from trainer.clip_run import ClipEntry, ClipRun, answers_path
from trainer.errors import RunError, TrainerError
from trainer.evaluate.answers import Answers, save_answers
from trainer.evaluate.metrics import fit_temperature, softmax
from trainer.evaluate.report import CONFUSION, FIGURES, RELIABILITY, read_segments, run_report, write_clip_report
from trainer.evaluate.report_tables import main_tables
from trainer.evaluate.tables import table_to_lines
from trainer.run import REPORT


def report_of(run: ClipRun) -> dict[str, Any]:
    """The report without its files."""
    return run_report(run, read_segments(run, "evaluation"))


def test_a_report_says_everything_there_is_to_say(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", entries=clip_entries(clips=7, locations=3, devices=("a", "b")))
    report = write_clip_report(run)
    assert read_report(run.folder) == json.loads(json.dumps(report))
    calibration, evaluation = run.answers("calibration"), run.answers("evaluation")
    targets = run.targets[evaluation.clips]
    for output, condition in (("fused", "whole"), ("audio", "audio"), ("video", "video")):
        fitted = fit_temperature(calibration.logits[condition], run.targets[calibration.clips])
        assert report["temperatures"][output] == pytest.approx(fitted, rel=1e-12)
        figures = report["conditions"][condition]
        probabilities = softmax(evaluation.logits[condition], fitted)
        chosen = probabilities[np.arange(len(targets)), targets]
        assert figures["calibrated"]["log_loss"] == pytest.approx(-np.log(chosen).mean(), rel=1e-12)
        assert figures["calibrated"]["log_loss"] < figures["uncalibrated"]["log_loss"]
        low, high = figures["calibrated"]["interval"]["accuracy"]
        assert low < figures["calibrated"]["accuracy"] < high
    assert report["calibration"]["cities"] == ["paris"]
    assert report["calibration"]["splits"] == ["calibration"]
    assert report["validation"]["n_clips"] == 210
    assert np.sum(report["confusion"]) == report["n_segments"] == 840
    assert np.trace(report["confusion"]) / 840 == pytest.approx(report["conditions"]["whole"]["calibrated"]["accuracy"])
    assert set(report["by_device"]) == {"a", "b"}
    assert len(report["by_location"]) == report["n_locations"] == 30
    assert report["by_location"]["prague-bus1"]["scenes"] == ["bus"]
    assert report["smoothed"]["accuracy"] > report["conditions"]["whole"]["calibrated"]["accuracy"]
    assert set(report["thresholds"]) >= {"scene", "scene_precision", "group", "group_coverage"}
    assert report["thresholds_evaluated"]["scene"] == report["thresholds"]["scene"]
    assert 0 < report["group_accuracy"] <= 1
    assert report["chance"]["log_loss"] == math.log(10)


def test_its_files_are_whole(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    write_clip_report(run, tmp_path / "out/deep")
    assert sorted(path.name for path in (tmp_path / "out/deep").iterdir()) == sorted(
        [REPORT, FIGURES, CONFUSION, RELIABILITY]
    )
    assert not (run.folder / REPORT).exists()
    text = (tmp_path / "out/deep" / FIGURES).read_text(encoding="utf-8")
    for heading in (
        "# invented: figures",
        "## Segments of 1 s",
        "## Groups",
        "## Whole clips",
        "## By scene",
        "## By city",
        "## The 10 worst locations of 20",
        "## Calibration",
        "## When something is named",
        "## Confusion",
    ):
        assert f"\n{heading}\n" in f"\n{text}"
    assert "nan" not in text.lower()
    assert text.count("](confusion.png)") == text.count("](reliability.png)") == 1
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.count("|") >= 5 for line in rows)


def test_groups_have_a_table_with_intervals_over_places(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    report = report_of(run)
    table = next(table for table in main_tables(report) if table.title == "Groups")
    assert [row[0] for row in table.rows] == [
        "everything there", "sound alone", "picture alone", "after the runtime's filter", "chance"
    ]  # fmt: skip
    group_of = {label: group for group, members in GROUPS.items() for label in members}
    evaluation = run.answers("evaluation")
    targets = run.targets[evaluation.clips]
    probabilities = softmax(evaluation.logits["audio"], report["temperatures"]["audio"])
    names = sorted(GROUPS)
    sums = [probabilities[:, [label in GROUPS[name] for label in LABELS]].sum(axis=1) for name in names]
    right = np.array([group_of[LABELS[target]] for target in targets]) == np.array(names)[np.argmax(sums, axis=0)]
    figures = report["conditions"]["audio"]["calibrated"]
    assert figures["group_accuracy"] == pytest.approx(right.mean(), rel=1e-12)
    assert figures["group_accuracy"] > figures["accuracy"]
    low, high = figures["interval"]["group_accuracy"]
    assert low < figures["group_accuracy"] < high
    assert table.rows[1][1] == f"{100 * right.mean():.1f} % ({100 * low:.1f}–{100 * high:.1f})"
    sizes = np.array([len(GROUPS[group_of[LABELS[target]]]) for target in targets])
    assert report["chance"]["group_accuracy"] == pytest.approx(sizes.mean() / 10)
    assert report["group_accuracy"] == report["conditions"]["whole"]["calibrated"]["group_accuracy"]


def test_the_same_answers_give_the_same_bytes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for name in ("a", "b"):
        write_clip_report(run, tmp_path / name)
    for name in (REPORT, FIGURES, CONFUSION, RELIABILITY):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_without_calibration_cities_validation_serves(tmp_path: Path) -> None:
    entries = clip_entries(cities={"": "validation"}) + clip_entries(cities={"oslo": "evaluate"})
    run = write_run(tmp_path / "run", entries=entries, skill={"whole": 2.0})
    report = write_clip_report(run)
    assert report["calibration"]["splits"] == ["validation"]
    assert report["calibration"]["cities"] == []
    assert list(report["temperatures"]) == ["fused"]
    assert list(report["conditions"]) == ["whole"]
    assert "not trained on: the validation locations. The last" in (run.folder / FIGURES).read_text(encoding="utf-8")


@pytest.mark.parametrize(("clips", "odd"), [(19, None), (20, "tram")])
def test_few_calibration_clips_are_joined_by_those_of_validation(tmp_path: Path, clips: int, odd: str | None) -> None:
    entries = [e for e in clip_entries(locations=1, clips=clips) if (e.city, e.label) != ("paris", odd)]
    run = write_run(tmp_path / "run", entries=entries)
    report = write_clip_report(run)
    both = [run.answers(which) for which in ("calibration", "validation")]
    logits = np.concatenate([answers.logits["audio"] for answers in both])
    targets = np.concatenate([run.targets[answers.clips] for answers in both])
    assert report["temperatures"]["audio"] == pytest.approx(fit_temperature(logits, targets), rel=1e-12)
    fitted = report["calibration"]
    assert (fitted["splits"], fitted["cities"]) == (["calibration", "validation"], ["paris"])
    assert fitted["n_clips"] == clips * (20 if odd is None else 19)
    text = (run.folder / FIGURES).read_text(encoding="utf-8")
    assert "the cities held out, paris, and the validation locations, as these cities alone have too few" in text


def test_enough_calibration_clips_serve_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", entries=clip_entries(locations=2, clips=10))
    assert report_of(run)["calibration"]["splits"] == ["calibration"]


@pytest.mark.slow
def test_without_groups_cities_or_devices_their_tables_are_left_out(tmp_path: Path) -> None:
    config = run_config(data={"prepared": "prepared"})
    entries = [ClipEntry(e.key, e.label, "", f"{e.city}{e.location}", "", e.split, e.seconds) for e in clip_entries()]
    run = write_run(tmp_path / "run", entries=entries, config=config)
    report = write_clip_report(run)
    assert report["group_accuracy"] is None
    assert "group" not in report["thresholds"]
    assert report["by_city"] == report["by_device"] == {}
    text = (run.folder / FIGURES).read_text(encoding="utf-8")
    assert "By city" not in text
    assert "By device" not in text
    assert "| group |" not in text
    assert "group accuracy" not in text


def test_a_scene_without_evaluation_clips_has_a_dash(tmp_path: Path) -> None:
    entries = [entry for entry in clip_entries() if entry.split != "evaluate" or entry.label != "tram"]
    run = write_run(tmp_path / "run", entries=entries)
    report = write_clip_report(run)
    assert report["by_class"]["tram"]["accuracy"] is None
    lines = table_to_lines(main_tables(report)[3])
    assert lines[-1].split() == ["tram", "–", "–", "0", "0", "0"]
    text = (run.folder / FIGURES).read_text(encoding="utf-8")
    assert "| tram | – | – | 0 | 0 | 0 |" in text
    assert "NaN" not in (run.folder / REPORT).read_text(encoding="utf-8")


def test_clips_of_one_segment_have_no_table_of_clips(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", entries=clip_entries(seconds=1.0, clips=4))
    titles = [table.title for table in main_tables(report_of(run))]
    assert titles == ["Segments of 1 s", "Groups", "By scene"]


def test_a_single_location_has_no_interval(tmp_path: Path) -> None:
    entries = [
        ClipEntry(e.key, e.label, e.city, "hall" if e.split == "evaluate" else e.location, "", e.split, e.seconds)
        for e in clip_entries()
    ]
    report = report_of(write_run(tmp_path / "run", entries=entries))
    assert report["conditions"]["whole"]["calibrated"]["interval"] is None
    assert report["n_locations"] == 1


def drop_evaluation(folder: Path) -> None:
    answers_path(folder, "evaluation").unlink()


def cut_calibration_short(folder: Path) -> None:
    path = answers_path(folder, "calibration")
    path.write_bytes(path.read_bytes()[:200])


def empty_validation(folder: Path) -> None:
    answers_path(folder, "validation").write_bytes(b"")


def not_numbers(folder: Path) -> None:
    answers = invent_answers(clip_entries(), "evaluate")
    answers.logits["whole"][7] = np.inf
    save_answers(answers_path(folder, "evaluation"), answers)


def trained_clips(folder: Path) -> None:
    save_answers(answers_path(folder, "evaluation"), invent_answers(clip_entries(), "train"))


def one_condition_calibrated(folder: Path) -> None:
    save_answers(answers_path(folder, "calibration"), invent_answers(clip_entries(), "calibration", skill={"whole": 2}))


def no_segments(folder: Path) -> None:
    logits = {"whole": np.zeros((0, 10), np.float32)}
    save_answers(answers_path(folder, "evaluation"), Answers(np.zeros(0, np.int64), logits))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            drop_evaluation,
            "evaluation.npz: expected the answers of a network, got none; go on with: trainer fit",
        ),
        (cut_calibration_short, "calibration.npz: expected the answers of a network"),
        (empty_validation, "validation.npz: expected the answers of a network"),
        (not_numbers, "evaluation.npz: expected numbers, got NaN or infinity in 1 of 160 segments"),
        (trained_clips, "evaluation.npz: expected clips of evaluate, got airport-lyon-100-0 of train; train it anew"),
        (one_condition_calibrated, "calibration.npz: expected answers of audio, video too, got none; train it anew"),
        (no_segments, "evaluation.npz: expected a clip's position a segment, got none"),
    ],
)
def test_a_broken_run_writes_nothing(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    run = write_run(tmp_path / "run")
    damage(run.folder)
    before = sorted(path.name for path in run.folder.iterdir())
    with pytest.raises(TrainerError, match=message) as caught:
        write_clip_report(run)
    assert isinstance(caught.value, RunError)
    assert sorted(path.name for path in run.folder.iterdir()) == before


def test_groups_are_those_of_the_configuration(tmp_path: Path) -> None:
    kept = {"indoor": GROUPS["indoor"], "elsewhere": ["beach"]}
    config: dict[str, Any] = run_config(data={"prepared": "prepared", "groups": kept})
    report = report_of(write_run(tmp_path / "run", LABELS, config=config))
    assert "group" in report["thresholds"]  # "elsewhere" is empty and left out
