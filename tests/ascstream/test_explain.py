"""What each modality said, and what the fusion made of it: found from the answers, whatever the network's inside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import bundles
from support.commands import ascstream
from support.media import write_wav
from support.predictions import make_prediction

from ascstream.explain import explain, gate
from ascstream.sinks.jsonl import prediction_record

LABELS = ("airport", "bus", "metro", "park", "tram")


def scores(logits: np.ndarray) -> dict[str, float]:
    p = np.exp(logits - logits.max())
    return dict(zip(LABELS, (p / p.sum()).tolist(), strict=True))


@given(seed=st.integers(0, 2**20), sound=st.floats(0, 2), picture=st.floats(0, 2))
def test_the_weights_of_a_pool_are_found(seed: int, sound: float, picture: float) -> None:
    heard, seen = np.random.default_rng(seed).normal(0, 1.5, (2, len(LABELS)))
    found = gate({"audio": scores(heard), "video": scores(seen), "fused": scores(sound * heard + picture * seen)})
    assert found == pytest.approx((sound, picture), abs=1e-6)


def test_what_is_no_pool_has_no_gate() -> None:
    rng = np.random.default_rng(1)
    heard, seen, other = rng.normal(0, 2, (3, len(LABELS)))
    assert gate({"audio": scores(heard), "video": scores(seen), "fused": scores(other)}) is None
    assert gate({"audio": scores(heard), "video": scores(heard), "fused": scores(heard)}) is None  # either could have
    assert gate({"audio": scores(heard), "fused": scores(heard)}) is None
    assert gate({}) is None


def test_a_gate_is_found_however_sure_both_are_and_told_of_four_scenes_or_more() -> None:
    heard, seen = np.array([0.0, -40.0, -45.0, -50.0, -33.0]), np.array([0.0, -5.0, -50.0, -20.0, -38.0])
    told = {"audio": scores(heard), "video": scores(seen), "fused": scores(0.8 * heard + 0.6 * seen)}
    assert gate(told) == pytest.approx((0.8, 0.6), abs=1e-6)
    rng = np.random.default_rng(2)
    three = {name: dict(list(scores(rng.normal(0, 2, 5)).items())[:3]) for name in ("audio", "video", "fused")}
    assert gate(three) is None  # no pool, though three numbers explain any three


def test_lines_say_who_said_what_and_how_much_it_weighed() -> None:
    heard, seen = np.array([2.0, 1.0, 0.0, -1.0, -3.0]), np.array([-1.0, 2.0, 1.0, 0.5, 0.0])
    told = {"audio": scores(heard), "video": scores(seen), "fused": scores(heard + 0.5 * seen)}
    lines = explain(make_prediction(1.0, by_output=told, modalities=("audio", "video")))
    assert lines[0] == "sound    airport 64 %, bus 24 %, metro 9 %  (used, weight 1.00)"
    assert lines[1] == "picture  bus 56 %, metro 21 %, park 13 %  (used, weight 0.50)"
    assert lines[2].startswith("both     bus 5")
    assert lines[2].endswith("(this window alone)")
    alone = make_prediction(1.0, by_output={"fused": scores(heard)}, modalities=("audio",))
    assert explain(alone) == ["sound    airport 64 %, bus 24 %, metro 9 %  (this window alone)"]
    assert explain(make_prediction(1.0, by_output={})) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no_video", "no picture came"),
        ("lens_covered", "the lens is covered"),
    ],
)
@pytest.mark.parametrize("head", ["audio", "fused"])
def test_lines_say_why_the_picture_did_not_enter(fault: str, words: str, head: str) -> None:
    told = {head: scores(np.array([2.0, 1.0, 0.0, -1.0, -3.0]))}
    prediction = make_prediction(1.0, by_output=told, modalities=("audio",), missing={"video": fault})
    assert explain(prediction) == [
        "sound    airport 64 %, bus 24 %, metro 9 %  (answers alone)",
        f"picture  not used: {words}",
    ]


def test_lines_say_why_nothing_entered() -> None:
    silent = make_prediction(1.0, modalities=(), missing={"audio": "silence", "video": "no_video"})
    assert explain(silent) == ["sound    not used: silence", "picture  not used: no picture came"]
    both = make_prediction(1.0, modalities=(), missing={"audio": "gap", "video": "alone"})
    assert explain(both) == [
        "sound    not used: too much of it was lost",
        "picture  not used: the bundle cannot answer by it alone",
    ]


def test_scenes_that_a_modality_never_learnt_are_not_put_into_its_mouth() -> None:
    heard, seen = np.array([1.0, 0.9, 0.8, 0.0, -1.0]), np.array([1.0, 2.0, -2.0, -2.0, -2.0])
    told = {"audio": scores(heard), "video": scores(seen), "fused": scores(heard + seen)}
    unlearnt = {"audio": ("bus", "metro")}
    lines = explain(make_prediction(1.0, by_output=told, modalities=("audio", "video"), never_learnt=unlearnt))
    assert lines[0] == "sound    airport 31 %, park 11 %, tram 4 %  (used, weight 1.00; does not know bus, metro)"
    assert lines[1].startswith("picture  bus ")
    record = prediction_record(make_prediction(1.0, by_output=told, never_learnt=unlearnt), explained=True)
    assert record["never_learnt"] == {"audio": ["bus", "metro"]}
    assert record["missing"] == {}


@pytest.mark.parametrize(("modality", "sense"), [("audio", "sound"), ("video", "picture")])
def test_scenes_that_the_only_head_never_learnt_are_not_put_into_its_mouth(modality: str, sense: str) -> None:
    told = {"fused": scores(np.array([1.0, 0.9, 0.8, 0.0, -1.0]))}
    unlearnt = {"fused": ("bus", "metro")}
    lines = explain(make_prediction(1.0, by_output=told, modalities=(modality,), never_learnt=unlearnt))
    assert lines == [f"{sense:<8} airport 31 %, park 11 %, tram 4 %  (this window alone; does not know bus, metro)"]


@pytest.mark.slow
def test_file_explains_a_track_that_is_silent(tmp_path: Path) -> None:
    clip = write_wav(tmp_path / "silent.wav", np.zeros((48_000, 1), np.int16), 24_000)
    words = ["file", str(clip), "--bundle", str(bundles.audio_visual(tmp_path)), "--explain", "--quiet"]
    lines = [line.strip() for line in ascstream(*words, "--step", "1").stdout.splitlines()]
    assert lines[1:3] == lines[4:6] == ["sound    not used: silence", "picture  not used: no picture came"]
    records = [json.loads(line) for line in ascstream(*words, "--format", "jsonl").stdout.splitlines()]
    assert {"audio": "silence", "video": "no_video"} in [record.get("missing") for record in records]


@pytest.mark.slow
def test_file_explains_its_windows(tmp_path: Path) -> None:
    bundle = bundles.audio_visual(tmp_path)
    clip = str(Path(__file__).parents[2] / "examples/clip.mp4")
    quietly = ["--duration", "2", "--quiet", "--backend", "onnxruntime"]
    words = ["file", clip, "--bundle", str(bundle), "--explain", *quietly]
    lines = ascstream(*words).stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]][1:] == ["sound", "picture", "both"]
    assert len(lines) == 4 * 2  # two windows of a second
    records = [json.loads(line) for line in ascstream(*words, "--format", "jsonl").stdout.splitlines()]
    first = next(record for record in records if record["type"] == "prediction")
    assert set(first["by_output"]) == {"audio", "video", "fused"}
    assert first["by_output"]["fused"] == first["raw_scores"]
    assert "gate" in first
    plain = ascstream(*words[:4], *quietly, "--format", "jsonl").stdout
    assert "by_output" not in plain
    refused = ascstream(*words, "--format", "csv")
    assert refused.returncode == 2
    assert "--explain: expected --format lines or jsonl, got csv" in refused.stderr
