"""Bundles made to harm: graphs that ask for all memory, messages without end, manifests and graphs damaged."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import bundles
from support.fuzz import mutate
from support.graphs import graph_of

from engines.backends import load_engines
from engines.bundle import open_bundle
from engines.errors import BackendError, EngineError, ManifestError
from engines.manifest import Manifest
from engines.ort import OrtEngine

SECONDS = 10.0
"""No bundle may take longer to be refused."""
HUGE_BYTES = [10**9, 3 * 10**9, 10**12, 2**62]


@pytest.mark.parametrize("n_bytes", HUGE_BYTES)
def test_a_graph_that_asks_for_all_memory_gets_none(n_bytes: int) -> None:
    graph = graph_of(
        helper.make_node("Add", ["size", "e"], ["sizes"]),
        helper.make_node("ConstantOfShape", ["sizes"], ["large"]),
        helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0),
        helper.make_node("Add", ["y", "most"], ["fused"]),
        size=np.array([n_bytes], np.int64),
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with OrtEngine(graph, name="scene") as engine, pytest.raises(BackendError, match="scene: ONNX Runtime failed: "):
        engine.infer({"logmel": np.zeros((1, 1, 64, 48), np.float32)})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_what_onnxruntime_says_of_bytes_that_are_no_text_stays_in_the_message(
    capfd: pytest.CaptureFixture[str],
) -> None:
    graph = graph_of(helper.make_node("Negate", ["y"], ["fused"])).replace(b"Negate", b"Neg\xff\x1b[")
    with pytest.raises(BackendError) as caught:
        OrtEngine(graph, name="scene")
    assert str(caught.value).isprintable()
    assert capfd.readouterr() == ("", "")


def test_a_message_about_a_manifest_is_one_short_line(tmp_path: Path) -> None:
    path = bundles.mono_logmel(tmp_path)
    document = json.loads((path / "manifest.json").read_text())
    for change in ({"K" * 50_000: 1}, {"labels": ["z" * 900, *(f"l{number}" for number in range(5000))]}):
        (path / "manifest.json").write_text(json.dumps(document | change))
        with pytest.raises(ManifestError) as caught:
            open_bundle(path)
        message = str(caught.value).removeprefix(f"{path}/manifest.json: ")
        assert len(message) == 400
        assert message.endswith("…")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_fft": 8192, "hop_length": 1}, "at most 2048 hops of 8192 samples a window, got 15809"),
        ({"n_fft": 24_000, "n_mels": 1024}, "at most 699 bands of 24000 samples a window, got 1024"),
    ],
)  # fmt: skip
def test_a_spectrogram_no_memory_holds_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = bundles.mono_logmel(tmp_path)
    document = json.loads((path / "manifest.json").read_text())
    document["inputs"][0]["audio"]["feature"] |= change
    with pytest.raises(ManifestError) as caught:
        Manifest.from_json(json.dumps(document))
    assert str(caught.value) == f"inputs[0].audio.feature: expected {message}"


VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1e308, 5e-324, 10**400, -(2**63), 0.1, 1e-9, 60.0, 65536, 384_000, float("nan"), float("inf")),
    *("", "x" * 100_000, "\0", "\u202e", "\ud800", "\x1b[31m", "../../etc/passwd", "manifest.json", "fused", "frame"),
    *([], {}, [[[[[[]]]]]], ["a"] * 1000, {"kind": "logmel"}),
)
"""What keys of a manifest are set to."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def damage(rng: random.Random, document: Any) -> Any:
    """A copy with a key set, removed, renamed or scaled."""
    document = copy.deepcopy(document)
    *parents, last = rng.choice(list(places(document)))
    holder = document
    for key in parents:
        holder = holder[key]
    kind = rng.choice(("set", "set", "scale", "remove", "rename"))
    if kind == "scale" and type(holder[last]) in (int, float):
        holder[last] = rng.choice((holder[last] * 1000, holder[last] / 3, -holder[last], holder[last] + 1e-9))
    elif kind == "remove":
        del holder[last]
    elif kind == "rename" and isinstance(holder, dict):
        holder[rng.choice(("x", "kind", "\x1b", "K" * 50_000))] = holder.pop(last)
    else:
        holder[last] = rng.choice(VALUES)
    return document


def refused(path: Path) -> bool:
    """Whether a bundle is refused, in one line and in time; where it is not, it can be loaded."""
    begun = time.monotonic()
    message = ""
    try:
        load_engines(open_bundle(path)).close()
    except EngineError as error:
        message = str(error)
    assert time.monotonic() - begun < SECONDS
    assert message.isprintable()
    assert len(message) < 1000
    return bool(message)


def fuzz_manifests(folder: Path, seed: int, n_cases: int) -> int:
    """Damage manifests as values and as bytes; how many were refused."""
    rng = random.Random(seed)  # noqa: S311
    paths = [bundles.SHAPES[name](folder) for name in ("mono_logmel", "stereo_difference", "audio_visual")]
    texts = {path: (path / "manifest.json").read_text() for path in paths}
    n_refused = 0
    for case in range(n_cases):
        path = rng.choice(paths)
        if case % 3:
            text = json.dumps(damage(rng, json.loads(texts[path])), ensure_ascii=case % 2 == 0)
            data = text.encode("utf-8", "surrogatepass")
        else:
            data = mutate(rng, texts[path].encode())
        (path / "manifest.json").write_bytes(data)
        n_refused += refused(path)
    return n_refused


def fuzz_graphs(folder: Path, seed: int, n_cases: int) -> int:
    """Damage graphs and correct their hashes; how many were refused."""
    rng = random.Random(seed)  # noqa: S311
    paths = [bundles.SHAPES[name](folder) for name in ("mono_logmel", "two_inputs", "audio_visual")]
    graphs = {path: (path / "scene.onnx").read_bytes() for path in paths}
    n_refused = 0
    for _ in range(n_cases):
        path = rng.choice(paths)
        data = mutate(rng, graphs[path])
        (path / "scene.onnx").write_bytes(data)
        document = json.loads((path / "manifest.json").read_text())
        document["files"]["scene.onnx"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        (path / "manifest.json").write_text(json.dumps(document))
        n_refused += refused(path)
    return n_refused


@pytest.mark.slow
def test_damaged_manifests_are_refused_in_a_line_or_work(tmp_path: Path) -> None:
    assert 200 < fuzz_manifests(tmp_path, seed=1, n_cases=400) < 400


@pytest.mark.slow
def test_damaged_graphs_are_refused_in_a_line_or_work(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert 100 < fuzz_graphs(tmp_path, seed=1, n_cases=250) < 250
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_damaged_bundles_are_refused_in_a_line_or_work(seed: int, tmp_path: Path) -> None:
    for name in ("manifests", "graphs"):
        (tmp_path / name).mkdir()
    assert fuzz_manifests(tmp_path / "manifests", seed, 1500) > 500
    assert fuzz_graphs(tmp_path / "graphs", seed, 800) > 300
