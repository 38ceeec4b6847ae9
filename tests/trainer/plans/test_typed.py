"""The graphs that plans are built from: the bundle's own, made anew, measured on what the user names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from support import bundles
from support.typed_bundles import audio_with, float32_alone

from engines.backends import Engines
from engines.base import Array
from engines.bundle import Bundle, open_bundle
from engines.check import check_parity
from engines.errors import BackendError, BundleError
from engines.manifest import GraphName
from engines.ort import OrtEngine
from engines.precision import to_float16
from trainer.plans.typed import GoldenFeeds, typed_graphs


class Noise:
    """Feeds of one spread."""

    def __init__(self, spread: float) -> None:
        self.spread, self.asked = spread, 0

    def of(self, graph: GraphName) -> Iterator[Mapping[str, Array]]:
        self.asked += 1
        random = np.random.default_rng(1)
        for _ in range(2):
            yield {"features": random.normal(0.0, self.spread, (1, 1, 64, 48)).astype(np.float32)}


def differences(bundle: Bundle, precision: str, graph: bytes) -> float:
    with Engines(OrtEngine(graph, name="scene"), None, precision) as engines:
        report = check_parity(bundle, engines)
    assert report.ok
    return report.outputs[0].max_difference or 0.0


def test_a_bundle_s_own_graphs_are_taken_as_they_are(tmp_path: Path) -> None:
    half = to_float16(float32_alone(tmp_path / "a").read("scene.onnx"))
    bundle = audio_with(tmp_path / "b", {"float16": half})
    typed = typed_graphs(bundle, "float16")
    assert (typed.graphs, typed.origin) == ({"scene": half}, "the bundle's own")
    assert typed_graphs(bundle, "float32").graphs == {"scene": bundle.read("scene.onnx")}


def test_others_are_made_and_answer_within_the_tolerance(tmp_path: Path) -> None:
    bundle = float32_alone(tmp_path / "b")
    said: list[str] = []
    half = typed_graphs(bundle, "float16", None, said.append)
    assert half.graphs["scene"] == to_float16(bundle.read("scene.onnx"))
    assert (half.origin, said) == ("made from float32", [])
    assert 0 < differences(bundle, "float16", half.graphs["scene"]) < 0.05
    few = typed_graphs(bundle, "int8", None, said.append)
    assert few.origin == "made from float32, ranges of 8 golden inputs"
    assert said == [
        "int8: its ranges come from the bundle's 8 golden inputs, which is few; for ranges of what it will hear and "
        "see, type: --calibrate DATA"
    ]
    assert 0 < differences(bundle, "int8", few.graphs["scene"]) < 0.5


def test_named_recordings_replace_what_ranges_are_measured_on(tmp_path: Path) -> None:
    bundle = float32_alone(tmp_path / "b")
    feeds = Noise(2.0)
    one, other = typed_graphs(bundle, "int8", feeds), typed_graphs(bundle, "int8", Noise(0.5))
    assert feeds.asked == 1
    assert one.origin == "made from float32, ranges of the recordings named"
    assert one.graphs["scene"] != other.graphs["scene"]


def test_what_has_nothing_to_gain_is_refused(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path))
    with pytest.raises(BackendError, match="int8: expected convolutions or matrix products besides the last one"):
        typed_graphs(bundle, "int8")
    with pytest.raises(BackendError, match="float16: expected layers that may be typed so"):
        typed_graphs(bundle, "float16")


def test_a_bundle_without_golden_inputs_says_what_to_type(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path, golden=None))
    with pytest.raises(BundleError, match="expected golden inputs to measure ranges on, got none; type: --calibrate"):
        typed_graphs(bundle, "int8")


def test_golden_feeds_are_one_case_each(tmp_path: Path) -> None:
    feeds = GoldenFeeds(open_bundle(bundles.audio_visual(tmp_path)))
    assert [feed["image"].shape for feed in feeds.of("frame")] == [(1, 3, 32, 48)] * 8
    assert [feed["frames"].shape for feed in feeds.of("scene")] == [(1, 5, 8)] * 8


def test_without_onnx_there_is_one_clear_message(tmp_path: Path) -> None:
    float32_alone(tmp_path / "alone")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "sys.modules['onnx'] = None\n"
        "from ascstream.bundles import find_bundle\n"
        "from engines.bundle import open_bundle\n"
        "from engines.errors import BackendError\n"
        "from trainer.plans.typed import typed_graphs\n"
        "for precision in ('float32', 'float16', 'int8'):  # the bundle that ships needs none\n"
        '    assert typed_graphs(open_bundle(find_bundle()), precision).origin == "the bundle\'s own"\n'
        "bundle = open_bundle(Path(sys.argv[1]))\n"
        "assert typed_graphs(bundle, 'float32').origin == \"the bundle's own\"\n"
        "try: typed_graphs(bundle, 'float16')\n"
        "except BackendError as error: print(error)\n"
        "print('torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "alone")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == (
        "bundle slim-audio holds no float16 graphs, and making them needs onnx, which is not installed; "
        "type: pip install 'ascstream[build]', in a checkout: pip install '.[build]'; or --fp32\nFalse\n"
    )
