"""The manifest: a round trip for every shape of system, a message for every rule, and no other error for any input."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import bundles

from engines.bundle import open_bundle
from engines.errors import BundleError, ManifestError
from engines.manifest import (
    GammatoneFeature,
    InputSpec,
    LogMelFeature,
    Manifest,
    WindowSpec,
    graph_shapes,
    input_shape,
    is_plain_name,
    n_hops,
    seconds_to_samples,
)

HASH = "0" * 64
LOGMEL = {
    "kind": "logmel",
    "n_fft": 1024,
    "window_length": 1024,
    "hop_length": 480,
    "n_mels": 64,
    "f_min": 0,
    "f_max": 12_000,
}
GAMMATONE = {
    "kind": "gammatone",
    "form": "fft",
    "window_length": 960,
    "hop_length": 480,
    "n_bands": 64,
    "f_min": 0,
    "f_max": 12_000,
}


def document() -> dict[str, Any]:
    """An audio-visual manifest as JSON, written out by hand."""
    return {
        "schema": 1,
        "name": "slim-av",
        "version": "1.0.0",
        "description": "What it is",
        "licence": "Apache-2.0",
        "labels": ["bus", "park", "tram"],
        "groups": {"outdoor": ["park"], "transportation": ["bus", "tram"]},
        "window": {"seconds": 1.0, "default_step_seconds": 0.5},
        "inputs": [
            {"name": "logmel", "audio": {"sample_rate": 24_000, "channels": "mono", "feature": dict(LOGMEL)}},
            {
                "name": "frames",
                "video": {
                    "width": 224,
                    "height": 224,
                    "fit": "crop",
                    "short_side": 256,
                    "frame_times_seconds": [0.1, 0.5, 0.9],
                    "max_age_seconds": 0.4,
                    "embedding_size": 16,
                },
            },
            {"name": "presence", "presence": ["audio", "video"]},
        ],
        "outputs": [{"name": "fused", "temperature": 1.5}, {"name": "audio"}, {"name": "video"}],
        "graphs": [
            {"name": "scene", "files": {"float32": "scene.onnx", "float16": "scene.fp16.onnx"}},
            {"name": "frame", "files": {"float32": "frame.onnx"}},
        ],
        "files": {
            name: {"sha256": HASH, "size": 3}
            for name in ("scene.onnx", "scene.fp16.onnx", "frame.onnx", "golden.npz", "CARD.md")
        },
        "golden": "golden.npz",
        "card": "CARD.md",
    }


def changed(path: str, value: object) -> dict[str, Any]:
    """The document with one value set, or removed where `value` is `...`."""
    data = copy.deepcopy(document())
    place: Any = data
    keys = [int(part[1:-1]) if part[0] == "[" else part for part in re.findall(r"\[\d+\]|[^.\[\]]+(?:\.onnx)?", path)]
    for key in keys[:-1]:
        place = place[key]
    if value is ...:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return data


def read(data: object) -> Manifest:
    return Manifest.from_json(json.dumps(data))


def message(data: object) -> str:
    with pytest.raises(ManifestError) as caught:
        read(data)
    return str(caught.value)


def test_a_manifest_is_read_as_it_is_written() -> None:
    manifest = read(document())
    assert manifest.audio_inputs[0][1].feature == LogMelFeature("logmel", 1024, 1024, 480, 64, 0.0, 12_000.0)
    assert manifest.modalities == ("audio", "video")
    assert (manifest.sample_rate, manifest.n_source_channels, manifest.context_seconds) == (24_000, 1, 0.0)
    assert manifest.video_input is not None
    assert manifest.video_input[1].frame_times_seconds == (0.1, 0.5, 0.9)
    assert manifest.presence_input == ("presence", ("audio", "video"))
    fused = manifest.output("fused")
    assert fused is not None
    assert fused.temperature == 1.5
    assert manifest.thresholds.scene == 0.5
    assert graph_shapes(manifest, "scene") == (
        {"logmel": (1, 64, 48), "frames": (3, 16), "presence": (2,)},
        {"fused": (3,), "audio": (3,), "video": (3,)},
    )
    assert graph_shapes(manifest, "frame") == ({"image": (3, 224, 224)}, {"embedding": (16,)})


def test_a_manifest_comes_back_from_its_own_text() -> None:
    manifest = read(document())
    text = manifest.to_json()
    assert Manifest.from_json(text) == manifest
    assert Manifest.from_json(text.encode()) == manifest
    assert text.startswith('{\n  "schema": 1,\n  "name": "slim-av",')
    assert text.endswith("}\n")
    assert Manifest.from_json(text).to_json() == text


@pytest.mark.parametrize("shape", bundles.SHAPES)
def test_every_shape_of_system_fits(shape: str, tmp_path: Path) -> None:
    manifest = open_bundle(bundles.SHAPES[shape](tmp_path)).manifest
    assert Manifest.from_json(manifest.to_json()) == manifest
    inputs, outputs = graph_shapes(manifest, "scene")
    assert inputs == SHAPES[shape]
    assert set(outputs.values()) == {(10,)}


SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "mono_logmel": {"logmel": (1, 64, 48)},
    "two_inputs": {"waveform": (1, 48_000), "logmel": (1, 128, 188)},
    "stereo_difference": {"logmel": (3, 64, 50)},
    "ten_seconds": {"logmel": (1, 501, 64)},
    "image_only": {"picture": (1, 3, 32, 48)},
    "frames_only": {"frames": (5, 8)},
    "audio_visual": {"logmel": (1, 64, 48), "frames": (5, 8), "presence": (2,)},
    "audio_visual_no_presence": {"logmel": (1, 64, 48), "frames": (5, 8)},
    "late_fusion_bare": {"logmel": (1, 64, 48), "frames": (5, 8)},
}


LEARNT = "outputs[1].labels: expected some of the labels, in alphabetical order"
AUDIO = "inputs[0].audio"
VIDEO = "inputs[1].video"
RULES: list[tuple[str, object, str]] = [
    # the example every reader of this project knows
    (f"{AUDIO}.sample_rate", "32k", f'{AUDIO}.sample_rate: expected an integer in Hz, got "32k"'),
    (f"{AUDIO}.sample_rate", 999, f"{AUDIO}.sample_rate: expected an integer in Hz, at least 1000, got 999"),
    ("name", "a/b", "name: expected letters, digits, '-', '_' and '.', got \"a/b\""),
    ("name", ".hidden", "name: expected letters, digits, '-', '_' and '.', got \".hidden\""),
    ("name", "", "name: expected letters, digits, '-', '_' and '.', got \"\""),
    ("name", 129 * "n", "name: expected at most 128 characters, got 129"),
    (
        "groups",
        {129 * "g": ["bus"]},
        f"labels and groups: expected names of at most 128 characters, got 129 in {39 * 'g'}…",
    ),
    # window
    ("window.seconds", 0, "window.seconds: expected a duration in seconds, at least 0.001, got 0.0"),
    ("window.seconds", 61, "window.seconds: expected a duration in seconds, at most 60, got 61.0"),
    (
        "window.default_step_seconds",
        1.5,
        "window.default_step_seconds: expected at most the window's 1 s, got 1.5",
    ),
    (
        "window.seconds",
        1.00001,
        "window.seconds: expected a whole number of samples, got 1.00001 s = 24000.24 samples at 24000 Hz",
    ),
    # labels and groups
    ("labels", ["bus"], "labels: expected at least two distinct labels in alphabetical order, got ['bus']"),
    (
        "labels",
        ["bus", "tram", "park"],
        "labels: expected at least two distinct labels in alphabetical order, got ['bus', 'tram', 'park']",
    ),
    (
        "labels",
        ["bus", "bus", "park", "tram"],
        "labels: expected at least two distinct labels in alphabetical order, got ['bus', 'bus', 'park', 'tram']",
    ),
    ("labels", ["", "bus"], 'labels[0]: expected a scene\'s name, and not "unknown", got ""'),
    ("labels", ["bus", "unknown"], 'labels[1]: expected a scene\'s name, and not "unknown", got "unknown"'),
    ("labels", ["bus", "tram "], 'labels[1]: expected a scene\'s name, and not "unknown", got "tram "'),
    ("groups", {"bus": ["tram"]}, 'groups.bus: expected a name that is no label, and not "unknown"'),
    ("groups", {"unknown": ["tram"]}, 'groups.unknown: expected a name that is no label, and not "unknown"'),
    ("groups", {"none": []}, "groups.none: expected at least one label, got none"),
    ("groups.outdoor[0]", "airport", 'groups.outdoor[0]: expected one of the labels, got "airport"'),
    ("groups.outdoor[0]", "bus", 'groups.transportation[0]: expected "bus" in one group, got it in "outdoor" too'),
    # features
    (
        f"{AUDIO}.feature.kind",
        "mel",
        f'{AUDIO}.feature.kind: expected one of "logmel", "gammatone", "waveform", got "mel"',
    ),
    (
        f"{AUDIO}.feature.window_length",
        1025,
        f"{AUDIO}.feature.window_length: expected at most n_fft = 1024 samples, got 1025",
    ),
    (
        f"{AUDIO}.feature.f_min",
        12_000,
        f"{AUDIO}.feature.f_max: expected a frequency above f_min = 12000 Hz, got 12000",
    ),
    (
        f"{AUDIO}.feature.f_max",
        12_001,
        f"{AUDIO}.feature.f_max: expected at most half the sample rate, 12000 Hz, got 12001",
    ),
    (
        f"{AUDIO}.feature.preemphasis_start",
        "drop",
        f'{AUDIO}.feature.preemphasis_start: expected "zero" where preemphasis is 0, got "drop"',
    ),
    (f"{AUDIO}.feature.range_db", 80, f'{AUDIO}.feature.range_db: expected null where log is "natural", got 80'),
    (f"{AUDIO}.feature.power", True, f"{AUDIO}.feature.power: expected one of 1, 2, got true"),
    (
        f"{AUDIO}.feature",
        GAMMATONE | {"f_max": 0.5, "f_min": 0.5},
        f"{AUDIO}.feature.f_max: expected a frequency above f_min = 0.5 Hz, got 0.5",
    ),
    (
        f"{AUDIO}.feature",
        GAMMATONE | {"f_max": 12_001},
        f"{AUDIO}.feature.f_max: expected at most half the sample rate, 12000 Hz, got 12001",
    ),
    (
        f"{AUDIO}.feature",
        LOGMEL | {"n_fft": 32_768, "window_length": 32_768},
        f"{AUDIO}.feature: expected at least one hop a window, got 24000 samples",
    ),
    (
        f"{AUDIO}.feature",
        LOGMEL | {"n_fft": 65_536, "window_length": 1024, "center": True},
        f"{AUDIO}.feature.n_fft: expected at most 47999, so that a window of 24000 samples can be reflected, got 65536",
    ),
    (
        f"{AUDIO}.context_seconds",
        0.00001,
        f"{AUDIO}.context_seconds: expected a whole number of samples, got 1e-05 s = 0.24 samples at 24000 Hz",
    ),
    # normalisation
    (
        f"{AUDIO}.normalisation",
        {"kind": "affine"},
        f"{AUDIO}.normalisation.mean: expected numbers where kind is 'affine', got nothing",
    ),
    (
        f"{AUDIO}.normalisation",
        {"kind": "affine", "mean": [1, 2], "std": [1, 2]},
        f"{AUDIO}.normalisation.mean: expected one number where kind is 'affine', got 2",
    ),
    (
        f"{AUDIO}.normalisation",
        {"kind": "affine", "mean": [1], "std": [1, 2]},
        f"{AUDIO}.normalisation.std: expected 1 numbers as in mean, got 2",
    ),
    (
        f"{AUDIO}.normalisation",
        {"kind": "affine", "mean": [1], "std": [0]},
        f"{AUDIO}.normalisation.std[0]: expected a list of positive numbers, or null, at least 1e-09, got 0.0",
    ),
    (
        f"{AUDIO}.normalisation",
        {"kind": "per_clip", "mean": [1]},
        f"{AUDIO}.normalisation.mean: expected null where kind is 'per_clip', got 1 numbers",
    ),
    (
        f"{AUDIO}.normalisation",
        {"kind": "per_bin", "mean": [1] * 63, "std": [1] * 63},
        f"{AUDIO}.normalisation.mean: expected one number a band, 64, got 63",
    ),
    (
        f"{AUDIO}.normalisation",
        {"kind": "min_max", "low": 1, "high": 1},
        f"{AUDIO}.normalisation.high: expected a number above low = 1, got 1",
    ),
    (
        f"{AUDIO}.normalisation",
        {"kind": "none", "floor_db": 80},
        f"{AUDIO}.normalisation.floor_db: expected null where kind is 'none', got 80",
    ),
    # pictures
    (
        f"{VIDEO}.frame_times_seconds",
        [],
        f"{VIDEO}.frame_times_seconds: expected ascending times, at least one, got []",
    ),
    (
        f"{VIDEO}.frame_times_seconds",
        [0.5, 0.1],
        f"{VIDEO}.frame_times_seconds: expected ascending times, at least one, got [0.5, 0.1]",
    ),
    (
        f"{VIDEO}.frame_times_seconds",
        [0.5, 1.1],
        f"{VIDEO}.frame_times_seconds: expected times within the window of 1 s, got 1.1",
    ),
    (f"{VIDEO}.mean", [0, 0], f"{VIDEO}.mean: expected three numbers, got 2"),
    (f"{VIDEO}.std", [1, 1, 1, 1], f"{VIDEO}.std: expected three numbers, got 4"),
    (f"{VIDEO}.short_side", 223, f"{VIDEO}.short_side: expected at least the size cut out, 224, got 223"),
    (f"{VIDEO}.fit", "squash", f'{VIDEO}.short_side: expected null where fit is "squash", got 256'),
    # inputs
    ("inputs", [], "inputs: expected at least one made of audio or video, got none"),
    ("inputs[0].audio", ..., "inputs[0]: expected exactly one of audio, video, presence, got none"),
    ("inputs[0].presence", ["audio"], "inputs[0]: expected exactly one of audio, video, presence, got audio, presence"),
    (
        "inputs[2].presence",
        ["audio", "audio"],
        "inputs[2].presence: expected distinct modalities, at least one, got ['audio', 'audio']",
    ),
    ("inputs[2].presence", ["audio"], "inputs: expected presence flags for ['audio', 'video'], got ['audio']"),
    ("inputs[2].name", "logmel", 'inputs: expected distinct names, got ["logmel", "frames", "logmel"]'),
    (
        "inputs[2]",
        {"name": "more", "audio": {"sample_rate": 48_000, "channels": "mono", "feature": {"kind": "waveform"}}},
        "inputs[2].audio.sample_rate: expected one rate for all audio inputs, 24000 Hz, got 48000",
    ),
    (
        "inputs[2]",
        {**document()["inputs"][1], "name": "more"},
        "inputs: expected at most one video input, got several",
    ),
    # outputs and graphs
    ("outputs[0].name", "sound", 'outputs[0].name: expected one of "fused", "audio", "video", got "sound"'),
    ("outputs[1].name", "fused", "outputs: expected 'fused' and no head twice, got ['fused', 'fused', 'video']"),
    ("outputs[0]", ..., "outputs: expected 'fused' and no head twice, got ['audio', 'video']"),
    ("outputs[1].labels", ["park", "bus"], f'{LEARNT}, got ["park", "bus"]'),
    ("outputs[1].labels", ["bus", "sea"], f'{LEARNT}, got ["bus", "sea"]'),
    ("outputs[1].labels", [], f"{LEARNT}, got []"),
    ("outputs[0].temperature", 0, "outputs[0].temperature: expected a positive number, at least 1e-06, got 0.0"),
    ("graphs[0]", ..., "graphs: expected one 'scene' and at most one 'frame', got ['frame']"),
    ("graphs[1]", ..., "graphs: expected a frame graph, since embedding_size is set, got none"),
    (f"{VIDEO}.embedding_size", None, "graphs: expected no frame graph, got one"),
    (
        "graphs[1].files",
        {"float16": "frame.onnx"},
        "graphs[1].files.float32: expected a file name, got nothing; float32 is the reference",
    ),
    (
        "graphs[1].files",
        {"float32": "frame.onnx", "bfloat16": "frame.onnx"},
        "graphs[1].files: expected precisions of float32, float16, int8, got 'bfloat16'",
    ),
    # files
    (
        "graphs[0].files.float32",
        "other.onnx",
        'graphs[0].files.float32: expected a file listed under files, got "other.onnx"',
    ),
    (
        "graphs[0].files.float32",
        "../../etc/passwd",
        'graphs[0].files.float32: expected a file name inside the bundle, got "../../etc/passwd"',
    ),
    ("golden", "/etc/passwd", 'golden: expected a file name inside the bundle, got "/etc/passwd"'),
    ("card", "..", 'card: expected a file name inside the bundle, got ".."'),
    ("card", "README.md", 'card: expected a file listed under files, got "README.md"'),
    (
        "files",
        {"..\\evil": {"sha256": HASH, "size": 1}},
        'files...\\evil: expected a file name inside the bundle, got "..\\\\evil"',
    ),
    (
        "files",
        {"a": {"sha256": "X" * 64, "size": 1}},
        f"files.a.sha256: expected 64 lower-case hexadecimal digits, got '{'X' * 64}'",
    ),
    (
        "files",
        {"a": {"sha256": HASH, "size": -1}},
        "files.a.size: expected an integer number of bytes, at least 0, got -1",
    ),
    # thresholds, smoothing, tolerance
    ("thresholds", {"scene": 1.1}, "thresholds.scene: expected a probability, at most 1, got 1.1"),
    (
        "thresholds",
        {"silence_dbfs": 1},
        "thresholds.silence_dbfs: expected a level in dBFS, at most 0, got 1.0",
    ),
    (
        "smoothing",
        {"dwell_seconds": 0},
        "smoothing.dwell_seconds: expected a duration in seconds, above 0, got 0.0",
    ),
    ("tolerance", {"logits": 0}, "tolerance.logits: expected a positive number, above 0, got 0.0"),
    # what this version does not know
    ("samplerate", 1, "samplerate: unknown key; known keys: "),
    (f"{AUDIO}.samplerate", 1, f"{AUDIO}.samplerate: unknown key; did you mean 'sample_rate'?"),
    ("labels", ..., "labels: expected a list of labels, got nothing; the key is required"),
]


@pytest.mark.parametrize(
    ("path", "value", "expected"), RULES, ids=[f"{path}={value!r:.30}" for path, value, _ in RULES]
)
def test_every_rule_names_its_key(path: str, value: object, expected: str) -> None:
    got = message(changed(path, value))
    assert got == expected or (expected.endswith("known keys: ") and got.startswith(expected))


def test_a_head_may_say_what_it_has_learnt_and_is_silent_if_that_is_everything() -> None:
    manifest = Manifest.from_json(json.dumps(changed("outputs[1].labels", ["bus", "tram"])))
    assert manifest.never_learnt("audio") == ("park",)
    assert manifest.never_learnt("video") == manifest.never_learnt("fused") == ()
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert '"labels"' not in json.dumps(json.loads(Manifest.from_json(json.dumps(document())).to_json())["outputs"])


def test_an_audio_only_bundle_has_no_head_for_video() -> None:
    data = document()
    data["inputs"] = data["inputs"][:1]
    data["graphs"] = data["graphs"][:1]
    assert message(data) == "outputs[2].name: expected a modality the bundle has, got 'video'"


def test_an_input_no_memory_holds_is_refused() -> None:
    data = changed("inputs[0].audio.feature", LOGMEL | {"hop_length": 1, "n_mels": 1024})
    data["window"]["seconds"] = 60
    assert message(data) == "inputs[0].audio.feature: expected at most 16384 hops of 1024 samples a window, got 1438977"


SCHEMAS = [(0, "0"), (2, "2"), (None, "null"), ("1", '"1"'), (True, "true"), ([], "[]")]


@pytest.mark.parametrize(("schema", "shown"), SCHEMAS, ids=[shown for _, shown in SCHEMAS])
def test_another_schema_is_refused_before_anything_else(schema: object, shown: str) -> None:
    assert message({"schema": schema, "whatever": 1}) == (
        f"schema: expected 1, the only one this version reads, got {shown}; "
        "upgrade with: pip install --upgrade ascstream"
    )


def test_what_is_not_json_is_refused() -> None:
    for text in (b"", b"\xff\xfe", b"{", "[" * 100_000, b"\x80abc"):
        with pytest.raises(ManifestError, match=r"^manifest: expected JSON, got something else \("):
            Manifest.from_json(text)
    assert message([1]) == "manifest: expected an object, got list"


def test_a_key_that_stands_twice_is_refused() -> None:
    text = json.dumps(document()).replace('"max_age_seconds"', '"width": 8, "max_age_seconds"')
    with pytest.raises(ManifestError) as caught:
        Manifest.from_json(text)
    assert str(caught.value) == 'manifest: expected the key "width" once, got it twice in one object'


def test_a_manifest_error_is_a_bundle_error_and_a_value_error() -> None:
    assert issubclass(ManifestError, BundleError)
    assert issubclass(ManifestError, ValueError)


def test_records_are_frozen() -> None:
    manifest = read(document())
    with pytest.raises(dataclasses.FrozenInstanceError):
        manifest.name = "other"  # type: ignore[misc]


PLAIN = ["scene.onnx", "scene.fp16.onnx", "CARD.md", "ä.bin", "-", "a b"]
NOT_PLAIN = ["", ".", "..", "a/b", "/a", "a\\b", "c:d", "a\nb", "a\0b", "\ud800", "manifest.json", "MANIFEST.JSON"]


def test_file_names_stay_inside_the_folder() -> None:
    assert [name for name in PLAIN if not is_plain_name(name)] == []
    assert [name for name in NOT_PLAIN if is_plain_name(name)] == []
    assert is_plain_name("a" * 128)
    assert not is_plain_name("ä" * 65)


@given(st.text(max_size=200))
def test_a_plain_name_is_one_path_component(name: str) -> None:
    if is_plain_name(name):
        assert Path("/bundle", name).resolve().parent == Path("/bundle")
        assert Path(name).name == name


@given(st.floats(0, 60, allow_nan=False), st.integers(1000, 384_000))
def test_seconds_become_whole_samples_or_an_error(seconds: float, sample_rate: int) -> None:
    try:
        n = seconds_to_samples(seconds, sample_rate)
    except ValueError as error:
        assert str(error).startswith("expected a whole number of samples, got ")  # noqa: PT017
    else:
        assert abs(n - seconds * sample_rate) < 1e-6


@given(st.integers(0, 10_000_000), st.sampled_from([8000, 24_000, 44_100, 48_000]))
def test_milliseconds_are_exact(milliseconds: int, sample_rate: int) -> None:
    samples, rest = divmod(milliseconds * sample_rate, 1000)
    if rest == 0:
        assert seconds_to_samples(milliseconds / 1000, sample_rate) == samples


@given(st.integers(1, 2000), st.integers(2, 512), st.integers(1, 300), st.booleans())
def test_hops_are_counted_as_they_fit(n_samples: int, n_fft: int, hop_length: int, center: bool) -> None:
    logmel = LogMelFeature("logmel", n_fft, n_fft, hop_length, 1, 0.0, 1.0, center=center)
    padded = n_samples + 2 * (n_fft // 2) if center else n_samples
    starts = range(0, padded - n_fft + 1, hop_length)
    if center and n_fft % 2:  # an odd transform is padded by one less than its length: one start more or none
        assert abs(n_hops(logmel, n_samples) - len(starts)) <= 1
    else:
        assert n_hops(logmel, n_samples) == len(starts)
    gammatone = GammatoneFeature("gammatone", "fft", n_fft, hop_length, 1, 0.0, 1.0)
    assert n_hops(gammatone, n_samples) == len(range(0, n_samples - n_fft + 1, hop_length))


def test_an_input_that_is_nothing_has_no_shape() -> None:
    entry = object.__new__(InputSpec)
    for name, value in {"name": "x", "audio": None, "video": None, "presence": None}.items():
        object.__setattr__(entry, name, value)
    with pytest.raises(ManifestError, match="expected audio, video or presence, got none"):
        input_shape(entry, WindowSpec(1.0, 1.0))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def places(data: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of the document stands."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def only_manifest_errors(text: str | bytes) -> None:
    try:
        manifest = Manifest.from_json(text)
    except ManifestError as error:
        assert str(error).isprintable()  # noqa: PT017
        assert "expected" in str(error) or "unknown key" in str(error)  # noqa: PT017
    else:
        assert Manifest.from_json(manifest.to_json()) == manifest


@given(st.sampled_from(places(document())[1:]), JSON)
def test_any_value_anywhere_is_read_or_refused(place: tuple[Any, ...], value: object) -> None:
    data = document()
    parent: Any = data
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    only_manifest_errors(json.dumps(data))


@given(JSON)
def test_any_json_is_read_or_refused(data: object) -> None:
    only_manifest_errors(json.dumps(data))
    only_manifest_errors(json.dumps(document() | data if isinstance(data, dict) else data))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    only_manifest_errors(data)
