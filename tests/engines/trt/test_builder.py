"""The process that builds: followed, ended, its reasons told; nothing of it is left."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import bundles
from support.building import alive
from support.stand_in_builder import command

from engines.errors import BackendError
from engines.trt.builder import BuildProgress, Built, free_bytes, run_builder
from engines.trt.exchange import Request, read_arrays, write_arrays
from engines.trt.records import profiles_of

REQUEST = Request(graph="scene", precision="float32", profiles=profiles_of((1, 8)), batches=(1, 2, 5))


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return bundles.mono_logmel(tmp_path) / "golden.npz"


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """Where temporary files go meanwhile."""
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path / "temporary")
    (tmp_path / "temporary").mkdir()
    yield tmp_path / "temporary"
    tempfile.tempdir = before


def build(golden: Path, mode: str = "good", **options: object) -> Built:
    cases = {"logmel": read_arrays(golden)["scene/in/logmel"]}
    given = {"graph": b"graph", "cases": cases, "command": command(golden, mode), **options}
    return run_builder(REQUEST, **given)  # type: ignore[arg-type]


def reason(golden: Path, mode: str) -> str:
    with pytest.raises(BackendError) as caught:
        build(golden, mode)
    return str(caught.value)


def test_what_a_builder_gives(golden: Path, temporary: Path) -> None:
    built = build(golden, timing=b"earlier,")
    assert built.plan.startswith(b"plan of ")
    assert built.timing == b"earlier,t"
    assert built.report.n_layers == 9
    np.testing.assert_array_equal(built.answers["fused"], read_arrays(golden)["scene/out/fused"])
    assert list(temporary.iterdir()) == []


def test_progress_never_falls_and_what_is_no_progress_is_passed_over(golden: Path) -> None:
    seen: list[BuildProgress] = []
    build(golden, "progress", on_progress=seen.append)
    told = [(one.phase, one.fraction) for one in seen if one.phase != "starting"]
    assert list(dict.fromkeys(told)) == [
        ("tactics", 0.25),
        ("tactics", 0.5),
        ("a new phase", 0.5),
        ("writing", 1.0),
    ]
    assert all(one.seconds_left is None for one in seen if one.seconds < 1)


@pytest.mark.slow
def test_time_left_follows_from_what_is_done(golden: Path) -> None:
    seen: list[BuildProgress] = []
    cases = {"logmel": read_arrays(golden)["scene/in/logmel"]}
    words = command(golden, "progress", seconds=1.2)
    run_builder(REQUEST, graph=b"graph", cases=cases, command=words, on_progress=seen.append)
    assert len(seen) >= 5  # the last news again, after a second without any
    half = next(one for one in seen if one.fraction == 0.5)
    assert half.seconds > 1.2
    assert half.seconds_left == pytest.approx(half.seconds)
    assert seen[-1].seconds_left == 0.0


@pytest.mark.slow
def test_how_builders_end(golden: Path, temporary: Path) -> None:
    assert reason(golden, "exits") == "scene: expected something else"
    assert reason(golden, "silent") == (
        "scene: the builder ended with status 4 and did not say why; look at: ascstream doctor"
    )
    assert reason(golden, "crashes") == (
        "scene: the builder crashed (SIGSEGV) after it said: TensorRT: a warning; type --effort 1, "
        "and look what this machine has: ascstream doctor"
    )
    free = free_bytes()
    assert free is not None
    assert reason(golden, "killed").startswith("scene: the builder was killed (signal 9): probably memory ran out, ")
    assert " GB were free when it began; type --effort 1, or --workspace 256, close other" in reason(golden, "killed")
    assert list(temporary.iterdir()) == []


def test_a_shell_around_a_builder_that_is_killed(golden: Path) -> None:
    words = ["sh", "-c", '"$@"; exit $?', "sh", *command(golden, "killed")]
    with pytest.raises(BackendError, match=r"was killed \(signal 9\)"):
        run_builder(REQUEST, graph=b"graph", cases={}, command=words)


@pytest.mark.slow
def test_what_is_no_plain_file_is_neither_waited_for_nor_followed(golden: Path, temporary: Path) -> None:
    pipe = "something else than a plain file"
    assert reason(golden, "pipe plan") == f"scene: expected a plan of the builder, got: {pipe}"
    assert reason(golden, "link").startswith("scene: expected a plan of the builder, got: Too many levels of symbolic")
    assert reason(golden, "pipe report.json") == f"builder: expected a report of what was built, got: {pipe}"
    assert reason(golden, "pipe answers.npz") == f"builder: expected arrays in answers.npz, got: {pipe}"
    assert build(golden, "pipe timing.cache").timing is None
    none = "builder: expected a report of what was built, got: No such file or directory"
    assert reason(golden, "no report") == none
    assert reason(golden, "deep report").startswith("builder: expected a report of what was built, got: maximum recur")
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_a_process_that_a_builder_leaves_behind_is_not_waited_for(golden: Path) -> None:
    words = ["sh", "-c", 'sleep 20 & "$@"; kill -9 $$', "sh", *command(golden)]
    with pytest.raises(BackendError, match=r"was killed \(signal 9\)"):
        build(golden, command=words)


def test_a_builder_that_cannot_be_started() -> None:
    with pytest.raises(BackendError) as caught:
        run_builder(REQUEST, graph=b"graph", cases={}, command=["/nonexistent/builder"])
    assert str(caught.value) == "scene: expected to start /nonexistent/builder, got: No such file or directory"


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_whatever_interrupts_ends_the_builder(
    error: type[BaseException], golden: Path, temporary: Path, tmp_path: Path
) -> None:
    log = tmp_path / "starts"

    def interrupt(progress: BuildProgress) -> None:
        raise error

    with pytest.raises(error):
        build(golden, command=command(golden, "hangs", log=log), on_progress=interrupt)
    assert not alive(int(log.read_text()))
    assert list(temporary.iterdir()) == []


def test_a_full_disk(golden: Path, temporary: Path) -> None:
    cases = {"logmel": read_arrays(golden)["scene/in/logmel"]}
    words = command(golden)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(BackendError) as caught:
            run_builder(REQUEST, graph=b"graph" * 20_000, cases=cases, command=words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value) == (
        f"scene: expected room for a builder's files in {temporary}, got: File too large; "
        "make room there, or name another folder: export TMPDIR=FOLDER"
    )
    assert list(temporary.iterdir()) == []


def test_free_memory_is_what_linux_says(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 8000 kB\nMemAvailable:   3000 kB\nSwapFree: 1000 kB\n")
    assert free_bytes(tmp_path / "meminfo") == 4000 << 10
    (tmp_path / "meminfo").write_text("MemTotal: 8000 kB\n")
    assert free_bytes(tmp_path / "meminfo") is None
    assert free_bytes(tmp_path / "nothing") is None


def test_arrays_travel_under_any_name(tmp_path: Path) -> None:
    arrays = {"file": np.arange(6, dtype=np.float32).reshape(2, 3), "/a/b:0": np.ones((1, 2), np.float32)}
    write_arrays(tmp_path / "x.npz", arrays)
    again = read_arrays(tmp_path / "x.npz")
    assert list(again) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)
    with np.load(tmp_path / "x.npz") as archive:
        assert set(archive.files) == set(arrays)
