"""Plans from end to end without a GPU: a stand-in for the builder's command, everything else as it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import bundles
from support.media import write_wav
from support.ort_builder import MACHINE, command
from support.typed_bundles import audio_with, float32_alone

from engines.backends import Engines
from engines.bundle import Bundle, open_bundle
from engines.errors import BackendError, ParityError
from engines.manifest import Precision
from engines.ort import OrtEngine
from engines.precision import to_float16, to_int8
from engines.trt.plans import PlanStore
from trainer.data.labelled import lone_clip
from trainer.plans.make import Outcome, Wanted, make_plans
from trainer.plans.tables import plan_tables

ALL: tuple[Precision, ...] = ("float32", "float16", "int8")
ROOT = Path(__file__).parents[3]


def noise(path: Path, seconds: float) -> Path:
    samples = np.random.default_rng(1).integers(-9000, 9000, (round(24_000 * seconds), 1)).astype(np.int16)
    return write_wav(path, samples, 24_000)


def opened(bundle: Bundle, precision: Precision, store: PlanStore) -> Engines:
    """The stand-in's plans are graphs."""
    found = store.find(bundle, MACHINE, precision=precision)
    assert found.plans is not None, found.why
    return Engines(OrtEngine(store.read(found.plans["scene"]), name="scene"), None, precision)


@pytest.fixture
def alone(tmp_path: Path) -> Bundle:
    """A bundle that holds float32 alone."""
    return float32_alone(tmp_path / "slim-audio")


def made(store: PlanStore, said: list[str], bundle: Bundle, build: list[str] | None = None, **wanted: Any) -> Outcome:
    return make_plans(
        bundle,
        Wanted(**wanted),
        store=store,
        machine=MACHINE,
        say=said.append,
        build_command=build or command(),
        open_engines=opened,
    )


def test_one_precision_is_built_proven_and_found(alone: Bundle, tmp_path: Path) -> None:
    store, said = PlanStore(tmp_path / "plans"), list[str]()
    outcome = made(store, said, alone, precisions=("float16",), batches=(1, 4), effort=2, workspace_bytes=1 << 28)
    (info,) = outcome.plans["float16"]
    assert [(size.smallest, size.largest) for size in info.key.profiles] == [(1, 1), (2, 4)]
    assert info.settings["effort"] == 2
    assert store.read(info) == to_float16(alone.read("scene.onnx"))
    assert (outcome.quickest, outcome.refused, outcome.origins) == ("float16", {}, {"float16": "made from float32"})
    assert said == []
    report = json.loads(json.dumps(outcome.to_json(alone, MACHINE, store)))
    assert report["bundle"] == "slim-audio 2.1.0"
    assert report["machine"]["device"]["name"] == "Invented"
    assert report["plans"][0]["sha256"] == info.sha256
    assert report["plans"][0]["parity"][0]["agreement"] == 1.0
    assert (report["folder"], report["evaluation"], report["quickest"]) == (str(tmp_path / "plans"), None, "float16")


def test_both_graphs_of_a_bundle_with_pictures_are_built(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.audio_visual(tmp_path))
    outcome = made(PlanStore(tmp_path / "plans"), [], bundle, precisions=ALL, best=True)
    assert {info.key.graph: info.key.precision for info in outcome.plans["float32"]} == {
        "scene": "float32",
        "frame": "float32",
    }
    assert list(outcome.refused) == ["float16", "int8"]  # its only layers are the last ones
    (proven, *_) = plan_tables(outcome.plans, None)
    assert {row[0]: row[6] for row in proven.rows} == {"scene": "100 %", "frame": "–"}


def test_int8_without_recordings_says_how_few_it_was_measured_on(alone: Bundle, tmp_path: Path) -> None:
    said: list[str] = []
    made(PlanStore(tmp_path / "plans"), said, alone, precisions=("int8",))
    assert said == [
        "int8: its ranges come from the bundle's 8 golden inputs, which is few; for ranges of what it will hear and "
        "see, type: --calibrate DATA"
    ]


def test_int8_is_calibrated_and_compared_on_recordings(alone: Bundle, tmp_path: Path) -> None:
    media = (lone_clip(noise(tmp_path / "a.wav", 4.0), "park"),)
    said: list[str] = []
    store = PlanStore(tmp_path / "plans")
    outcome = made(store, said, alone, precisions=("int8",), calibrate=media, evaluate=media)
    assert said == ["int8: ranges of 4 windows of the recordings named"]
    assert outcome.origins == {"int8": "made from float32, ranges of the recordings named"}
    assert outcome.evaluation is not None
    reference, int8 = outcome.evaluation.comparisons
    assert (reference.n_windows, int8.n_windows, int8.n_labelled) == (7, 7, 7)
    assert int8.agreement == 1.0
    assert 0 < (int8.probability_difference or 0) < 0.2
    again = made(store, said, alone, precisions=("int8",))  # other ranges, so another plan beside
    assert again.plans["int8"][0].key != outcome.plans["int8"][0].key


def test_a_bundle_that_holds_int8_takes_ranges_of_recordings_all_the_same(alone: Bundle, tmp_path: Path) -> None:
    own = to_int8(alone.read("scene.onnx"), [{"features": np.ones((1, 1, 64, 48), np.float32)}])
    bundle = audio_with(tmp_path / "bundle", {"int8": own})
    said: list[str] = []
    store = PlanStore(tmp_path / "plans")
    media = (lone_clip(noise(tmp_path / "a.wav", 2.0)),)
    calibrated = made(store, said, bundle, precisions=("int8",), calibrate=media)
    assert said == ["int8: ranges of 2 windows of the recordings named"]
    assert store.find(bundle, MACHINE).plans == {"scene": calibrated.plans["int8"][0]}
    (info,) = calibrated.plans["int8"]
    assert store.read(info) != own


def test_best_keeps_what_passes_and_the_runtime_takes_the_quickest(alone: Bundle, tmp_path: Path) -> None:
    store, said = PlanStore(tmp_path / "plans"), list[str]()
    outcome = made(store, said, alone, precisions=ALL, best=True)
    assert list(outcome.plans) == list(ALL)
    assert outcome.quickest == "float16"  # 0.5 ms, says the stand-in
    assert len(store.entries()) == 3


def test_best_leaves_out_what_fails_the_gate(alone: Bundle, tmp_path: Path) -> None:
    store = PlanStore(tmp_path / "plans")
    outcome = made(store, [], alone, command("--bias", 0.3), precisions=ALL, best=True)
    assert list(outcome.plans) == ["int8"]  # its tolerance is 0.5
    assert list(outcome.refused) == ["float32", "float16"]
    assert "expected answers within 0.05 of the golden ones, got 0.3" in outcome.refused["float16"]
    assert outcome.quickest == "int8"


@pytest.mark.slow
def test_best_deletes_what_changes_labels_of_recordings(alone: Bundle, tmp_path: Path) -> None:
    def biased(bundle: Bundle, precision: Precision, store: PlanStore) -> Engines:
        if precision != "int8":
            return opened(bundle, precision, store)
        graph = OrtEngine(bundle.read("scene.onnx"), name="scene")
        return Engines(_Reversed(graph), None, precision)

    store = PlanStore(tmp_path / "plans")
    media = (lone_clip(noise(tmp_path / "a.wav", 2.0)),)
    outcome = make_plans(
        alone,
        Wanted(precisions=ALL, best=True, evaluate=media),
        store=store,
        machine=MACHINE,
        say=lambda _: None,
        build_command=command(),
        open_engines=biased,
    )
    assert list(outcome.plans) == ["float32", "float16"]
    assert outcome.refused == {"int8": "expected the reference's label on 99 % of the recordings, got 0 %"}
    assert {entry.info.key.precision for entry in store.entries() if entry.info} == {"float32", "float16"}
    assert len(list((tmp_path / "plans").glob("*.plan"))) == 2


class _Reversed(OrtEngine):
    """Says the contrary."""

    def __init__(self, engine: OrtEngine) -> None:
        self.__dict__.update(engine.__dict__)

    def _infer(self, feeds: dict[str, Any]) -> dict[str, Any]:
        return {name: -array for name, array in super()._infer(feeds).items()}


def test_best_fails_only_where_nothing_is_left(alone: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"expected a plan of some precision, got none: float32: .*; int8: "):
        made(PlanStore(tmp_path / "plans"), [], alone, command("--bias", 3), precisions=ALL, best=True)


def test_a_refused_plan_ends_the_run_and_can_be_explained(alone: Bundle, tmp_path: Path) -> None:
    store = PlanStore(tmp_path / "plans")
    with pytest.raises(ParityError, match=r"got 0\.3\d* in scene/fused: the plan is refused; to see where"):
        made(store, [], alone, command("--bias", 0.3), precisions=("float16",))
    assert store.entries() == ()
    with pytest.raises(ParityError, match=r"plan is refused; scene: first of \d+ tensors: .*, is off by .*; most: "):
        made(store, [], alone, command("--bias", 0.3), precisions=("float16",), explain=True)


def test_recordings_without_a_window_end_it_before_anything_is_built(alone: Bundle, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    store = PlanStore(tmp_path / "plans")
    with pytest.raises(Exception, match="--calibrate: expected recordings"):
        made(store, [], alone, precisions=("int8",), calibrate=(lone_clip(tmp_path / "a.wav"),))
    assert store.entries() == ()


@pytest.mark.slow
def test_the_tables_fit_a_terminal_of_80_columns(alone: Bundle, tmp_path: Path) -> None:
    media = (lone_clip(noise(tmp_path / "a.wav", 3.0), "park"),)
    outcome = made(PlanStore(tmp_path / "plans"), [], alone, precisions=ALL, best=True, evaluate=media)
    from trainer.evaluate.tables import table_to_lines

    plans, latency, compared = (table_to_lines(table) for table in plan_tables(outcome.plans, outcome.evaluation))
    assert max(len(line) for line in (*plans, *latency, *compared)) <= 80
    assert " ".join(plans[1].split()) == "graph precision plan built max |Δ| allowed labels memory"
    assert plans[3].split()[:2] == ["scene", "float16"]
    assert plans[3].split()[-4:] == ["100", "%", "3.0", "MiB"]
    assert latency[2].split() == ["scene", "float32", "1", "1.000", "2.000", "0.500", "2.000"]
    assert latency[3].split() == ["scene", "float32", "8", "8.000", "16.000", "4.000", "16.000"]
    assert compared[2].split()[:3] == ["reference", "–", "–"]


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from support.ort_builder import MACHINE, command\n"
        "from ascstream.bundles import find_bundle\n"
        "from engines.bundle import open_bundle\n"
        "from engines.trt.plans import PlanStore\n"
        "from pathlib import Path\n"
        "from trainer.plans.make import Wanted, make_plans\n"
        "def tell(progress): print(progress.phase, flush=True)\n"
        "make_plans(open_bundle(find_bundle()), Wanted(precisions=('float32',)), store=PlanStore(Path(sys.argv[1])),\n"
        "    machine=MACHINE, say=print, on_progress=tell, build_command=command('--wait'))\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "plans")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while process.stdout.readline() not in ("tactics\n", ""):
        pass
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert message.rstrip().endswith("KeyboardInterrupt")
    deadline = time.monotonic() + 30
    while list(tmp_path.glob("ascstream*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert PlanStore(tmp_path / "plans").entries() == ()
