"""`trainer build-engine` as it is typed: what it asks before anything else, and what it prints."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.terminal import shown_on_terminal

from engines.trt.builder import BuildProgress
from trainer.cli.build_bars import BuildBars

_HEAVY = ("cuda", "numpy", "onnx", "onnxruntime", "pycuda", "rich", "tensorrt", "torch")
_CODE = (
    "import sys\n"
    "from trainer.cli import main\n"
    "code = main()\n"
    f"print(*(name for name in {_HEAVY!r} if name in sys.modules))\n"
    "sys.exit(code)"
)
_MADE = """
import sys
sys.path[:0] = [".", "tests"]
from pathlib import Path
from support.ort_builder import MACHINE, command
from support.typed_bundles import float32_alone
from ascstream.bundles import find_bundle
from engines.bundle import open_bundle
from engines.trt.plans import PlanStore
from trainer.cli.build_engine import next_steps, print_outcome
from trainer.plans.compare import Comparison, Evaluation
from trainer.plans.make import Wanted, make_plans
folder = Path(sys.argv[1] if len(sys.argv) > 1 else FOLDER)
store, bundle = PlanStore(folder), float32_alone(folder.with_name("slim-audio"))
wanted = Wanted(precisions=("float32", "float16", "int8"), best=True)
outcome = make_plans(bundle, wanted, store=store, machine=MACHINE, say=print, build_command=command("--bias", 0.04))
outcome.evaluation = Evaluation(
    (
        Comparison("reference", "onnxruntime 1.31.1 CPU, float32, 1 thread", 1234, 1.0, 0.0, 1200, 0.5125),
        Comparison("float16", "TensorRT 10.3.0, Invented, float16, CUDA graph", 1234, 0.99998, 0.00123, 1200, 0.5125),
        Comparison("int8", "TensorRT 10.3.0, Invented, int8, CUDA graph", 1234, 0.9913, None, 1200, 0.498),
    ),
    12,
    ("street.wav: expected sound, got 0 s of it",),
)
print_outcome(outcome)
print(*next_steps(outcome, bundle, Path("my plans")), sep="\\n")
print(next_steps(outcome, open_bundle(find_bundle()), Path("my plans"))[-1])
"""


_CLOSED = """
import sys
sys.path[:0] = [".", "tests"]
from pathlib import Path
import click
from support.ort_builder import MACHINE, command
from ascstream.bundles import find_bundle
from engines.bundle import open_bundle
from trainer.cli.app import app
from trainer.cli.build_engine import run_build
from trainer.cli.exits import main
from trainer.plans.make import Wanted

@app.command("made")
def made():
    bundle, wanted = open_bundle(find_bundle("slim-audio")), Wanted(precisions=("float32",))
    run_build(bundle, wanted, MACHINE, out=Path(FOLDER), as_json=False, build_command=command())

sys.exit(main(["made"]))
"""


def build_engine(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", _CODE, "build-engine", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("words", [(), ("--fp16",), ("--best", "--json"), ("no-such-bundle", "--int8")])
def test_without_a_gpu_it_says_what_is_missing_at_once(tmp_path: Path, words: tuple[str, ...]) -> None:
    began = time.monotonic()
    done = build_engine(*words, cwd=tmp_path)
    assert time.monotonic() - began < 3  # ten times what it takes
    assert done.returncode == 4
    assert done.stdout == "\n"  # nothing was loaded, nothing else printed
    first, *advice = done.stderr.splitlines()
    assert first.startswith("trainer: TensorRT: expected NVIDIA's driver, a GPU, the package tensorrt and pycuda or")
    assert "missing: " in first
    assert advice
    assert all(line.startswith("  ") for line in advice)
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ("--fp16", "--int8"),
            2,
            "expected one of --fp16, --int8, --fp32, --best, got --fp16 and --int8; --best",
        ),
        (("--fp32", "--best"), 2, "got --fp32 and --best"),
        (("--batch", "0"), 2, "0 is not in the range 1<=x<=1024"),
        (("--effort", "6"), 2, "6 is not in the range 0<=x<=5"),
        (("--workspace", "9" * 20), 2, "is not in the range 1<=x<=1048576"),
        (("--calibrate", "."), 2, "--calibrate: expected --int8 or --best with it, got neither"),
        (("--evaluate", "nowhere"), 3, "--evaluate: expected recordings at nowhere, got nothing there; check the path"),
        (("--int8", "--calibrate", "nowhere"), 3, "--calibrate: expected recordings at nowhere"),
    ],
)
def test_what_was_typed_is_checked_first(tmp_path: Path, words: tuple[str, ...], code: int, message: str) -> None:
    done = build_engine(*words, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert "TensorRT" not in done.stderr


@pytest.mark.parametrize(
    ("closed", "code"), [("<&-", 0), (">&-", 1), (">/dev/full", 1), ("2>&-", 0), ("<&- >&- 2>&-", 1)]
)
def test_closed_standard_streams_are_no_bug_of_a_build(tmp_path: Path, closed: str, code: int) -> None:
    (tmp_path / "build.py").write_text(_CLOSED.replace("FOLDER", repr(str(tmp_path / "plans"))))
    script = f"exec {sys.executable} {tmp_path}/build.py {closed}"
    root = Path(__file__).parents[3]
    done = subprocess.run(["sh", "-c", script], cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code
    assert "bug" not in done.stderr
    assert len(list((tmp_path / "plans").glob("*.json"))) == 1  # built and kept all the same


@pytest.mark.slow
def test_a_pipe_gets_plain_tables_and_what_to_type(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MADE, str(tmp_path / "plans")],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert "\x1b" not in done.stdout
    assert "Plans" in lines
    assert "scene       int8      1       0.750   1.500           0.375   1.500" in lines
    assert "float16             99.9 %              1.2e-03    51.2 %" in lines  # never rounded up to 100 %
    assert "int8                99.1 %            no number    49.8 %" in lines
    assert "left out, float32: slim-audio 2.1.0 on stand-in: expected answers within 0.0001 of the" in done.stdout
    assert lines[-3] == "left out of the comparison: street.wav: expected sound, got 0 s of it"
    taken = "float16 is the quickest that is there, and is taken; next: ascstream file CLIP"
    assert lines[-2] == f"{taken} --bundle {tmp_path / 'slim-audio'} --plans 'my plans'"
    assert lines[-1] == f"{taken} --plans 'my plans'"  # the default one needs no name


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_gets_tables_that_fit(tmp_path: Path, columns: int) -> None:
    code = _MADE.replace("FOLDER", repr(str(tmp_path / "plans")))
    shown = shown_on_terminal(code, {"COLUMNS": str(columns)})
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown[shown.index("Plans") :]).partition("left out, float32")[0]
    assert max(len(line) for line in plain.splitlines()) <= columns
    assert "…" not in plain
    assert re.search(r"graph +precision +plan +built +max \|Δ\| +allowed +labels +memory", plain)
    assert re.search(r"batch +stream p50 +p99 +CUDA graph p50 +p99", plain)


def test_progress_on_a_pipe_is_a_line_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with BuildBars(lambda: now) as bars:
        for seconds, fraction, left in ((0, 0.0, None), (1, 0.1, 9.0), (6, 0.5, 6.0), (7, 0.6, 4.0), (11, 0.9, 200.0)):
            now = float(seconds)
            bars.build(BuildProgress("scene", "float16", "tactics", fraction, now, left))
        bars.say("int8: few")
        bars.compare(0, 2)
        bars.compare(1, 2)
    assert capsys.readouterr().err.splitlines() == [
        "building scene in float16: 0 % (tactics)",
        "building scene in float16: 50 %, 6 s left (tactics)",
        "building scene in float16: 90 %, 3 min left (tactics)",
        "int8: few",
        "comparing on recordings: 0 % (0 of 2)",
    ]


def test_progress_on_a_terminal_is_a_bar_with_the_time_left() -> None:
    code = (
        "from engines.trt.builder import BuildProgress\n"
        "from trainer.cli.build_bars import BuildBars\n"
        "with BuildBars() as bars:\n"
        "    bars.build(BuildProgress('scene', 'float16', 'tactics', 0.25, 10.0, 30.0))\n"
        "    bars._bars.refresh()\n"
    )
    shown = shown_on_terminal(code, {"COLUMNS": "80"})
    assert "building scene in float16" in shown
    assert "25%" in shown
    assert "30 s left" in shown


_RUN = """
import sys
sys.path[:0] = [".", "tests"]
from pathlib import Path
from support.ort_builder import MACHINE, command
from support.typed_bundles import float32_alone
from trainer.cli.build_engine import run_build
from trainer.plans.make import Wanted
folder, *words = sys.argv[1:]
wanted = Wanted(precisions=("float32", "float16"), best=True)
bundle, builder = float32_alone(Path(folder).with_name("slim-audio")), command("--bias", 0.01)
run_build(bundle, wanted, MACHINE, out=Path(folder), as_json="--json" in words, build_command=builder)
print(*(name for name in ("tensorrt", "torch") if name in sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_results_go_to_stdout_and_everything_else_to_stderr(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(tmp_path / "plans"), *words],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    first, *_, refused, taken, loaded = done.stderr.splitlines()
    assert re.fullmatch(r"building scene in float32: \d+ % \(.*\)", first)
    assert refused.startswith("left out, float32: slim-audio 2.1.0 on stand-in: expected answers within 0.0001 of")
    assert taken == (
        "float16 is the quickest that is there, and is taken; next: "
        f"ascstream file CLIP --bundle {tmp_path / 'slim-audio'} --plans {tmp_path / 'plans'}"
    )
    assert loaded == ""  # neither TensorRT nor torch is imported by who builds
    if not words:
        assert done.stdout.startswith("Plans\ngraph  precision     plan  built  max |Δ|  allowed  labels   memory\n")
        return
    report = json.loads(done.stdout)
    assert report["schema"] == 1
    assert [plan["key"]["precision"] for plan in report["plans"]] == ["float16"]
    assert list(report["refused"]) == ["float32"]
    assert report["quickest"] == "float16"
    assert [entry["cuda_graph"] for entry in report["plans"][0]["latency"]] == [False, False, True, True]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_nothing_is_half_written(sent: signal.Signals, tmp_path: Path) -> None:
    code = _RUN.partition("folder, *words")[0] + (
        "import click\n"
        "from ascstream.bundles import find_bundle\n"
        "from engines.bundle import open_bundle\n"
        "from trainer.cli import main\n"
        "from trainer.cli.app import app\n"
        "bundle, folder = open_bundle(find_bundle()), Path(sys.argv[1])\n"
        "wanted = Wanted(precisions=('float32',))\n"
        "@click.command('build-engine')\n"
        "def behind_the_driver():\n"
        "    run_build(bundle, wanted, MACHINE, out=folder, as_json=False, build_command=command('--wait'))\n"
        "app.add_command(behind_the_driver)\n"
        "sys.exit(main(['build-engine']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "plans")],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("building scene in float32: ")
    process.send_signal(sent)
    printed, message = process.communicate(timeout=60)
    assert (process.returncode, printed) == (128 + sent, "")
    assert message.splitlines()[-1] == (
        "trainer: stopped; plans that were finished are kept, of the others there is nothing"
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
