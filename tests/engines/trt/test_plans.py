"""The store of plans: what was put in comes out unaltered or not at all, whoever is killed and whatever is full."""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from support import store_killed, waiting
from support.plans import H100, ORIN, on, plan_info, write_small

from engines.bundle import Bundle
from engines.errors import BackendError
from engines.trt.plans import PlanStore, default_folder
from engines.trt.records import PlanInfo
from engines.trt.sidecar import sidecar_name

ROOT = Path(__file__).parents[3]
PLAN = b"what TensorRT gave" * 100


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_small(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "plans")


def listed(store: PlanStore) -> set[str]:
    return {path.name for path in store.folder.iterdir()}


def refusal(action: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(BackendError) as caught:
        action(*arguments)
    return str(caught.value)


def run_python(code: str, *words: object) -> subprocess.Popen[str]:
    """A Python of its own that knows the packages and the tests' support."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    )


def test_what_was_stored_is_found_and_read(store: PlanStore, bundle: Bundle) -> None:
    stored = store.store(plan_info(bundle), PLAN)
    assert (stored.size, stored.plan) == (1800, f"{stored.sha256[:32]}.plan")
    assert listed(store) == {stored.plan, f"{stored.key.digest}.json"}
    assert store.find(bundle, H100).plans == {"scene": stored}
    assert store.read(stored) == PLAN
    assert [(entry.info, entry.problem) for entry in store.entries(verify=True)] == [(stored, None)]


def test_the_plan_is_plain_and_the_sidecar_says_all_that_is_known(store: PlanStore, bundle: Bundle) -> None:
    stored = store.store(plan_info(bundle, ORIN), PLAN)
    assert (store.folder / stored.plan).read_bytes() == PLAN  # as trtexec wants it
    about = json.loads((store.folder / sidecar_name(stored)).read_text())
    assert next(iter(about)) == "schema"
    assert about["key"] == {
        "graph": "scene",
        "reference": bundle.manifest.files["scene.onnx"].sha256,
        "precision": "float16",
        "typed": "a" * 64,
        "tensorrt": "10.3.0",
        "device": "Orin",
        "compute_capability": "8.7",
        "multiprocessors": 8,
        "l4t": "36.4",
        "profiles": [{"smallest": 1, "usual": 1, "largest": 1}, {"smallest": 2, "usual": 8, "largest": 8}],
    }
    assert about["parity"] == [{"output": "scene/fused", "max_difference": 0.001, "tolerance": 0.05, "agreement": 1.0}]
    assert about["settings"] == {"effort": 3}


def test_nobody_else_may_look_at_what_is_stored(store: PlanStore, bundle: Bundle) -> None:
    stored = store.store(plan_info(bundle), PLAN)
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {(store.folder / name).stat().st_mode & 0o777 for name in (stored.plan, sidecar_name(stored))} == {0o600}


def test_plans_are_in_the_cache_unless_a_folder_is_named(tmp_path: Path) -> None:
    code = "from engines.trt.plans import PlanStore; print(PlanStore().folder)"
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path}/ascstream/plans\n"
    assert PlanStore().folder == default_folder()


def test_an_empty_plan_is_not_stored(store: PlanStore, bundle: Bundle) -> None:
    assert refusal(store.store, plan_info(bundle), b"") == "scene: expected a plan, got none: 0 bytes are not stored"
    assert not store.folder.exists()


def test_what_could_not_be_read_again_is_not_written(store: PlanStore, bundle: Bundle) -> None:
    info = plan_info(bundle)
    wrong = replace(info, key=replace(info.key, typed="x"))
    assert refusal(store.store, wrong, PLAN) == "key.typed: expected 64 lower-case hexadecimal digits, got 'x'"
    assert not store.folder.exists()


def test_a_plan_built_again_takes_the_place_of_the_first(store: PlanStore, bundle: Bundle) -> None:
    first = store.store(plan_info(bundle), PLAN)
    second = store.store(plan_info(bundle), b"another")
    assert store.find(bundle, H100).plans == {"scene": second}
    assert store.read(first) == PLAN  # whoever just found it may still read it
    assert [entry.why for entry in store.prune(H100)] == ["no sidecar names it"]
    assert refusal(store.read, first).startswith(
        f"{store.folder}/{first.plan}: expected the plan of {first.key.digest}.json, got nothing there; "
        "build it for small 1 again: trainer build-engine BUNDLE --fp16 --out "
    )


def test_a_plan_that_was_taken_out_is_gone_and_its_neighbour_is_not(store: PlanStore, bundle: Bundle) -> None:
    half = store.store(plan_info(bundle), PLAN)
    same = store.store(plan_info(bundle, precision="int8"), PLAN)  # the same bytes
    store.remove(half)
    assert store.find(bundle, H100).plans == {"scene": same}
    store.remove(same)
    assert listed(store) == set()
    store.remove(same)


def test_a_new_driver_is_noted_and_the_plan_kept(store: PlanStore, bundle: Bundle) -> None:
    stored = store.store(plan_info(bundle), PLAN)
    proven = replace(stored, driver="590.1")
    store.update(proven)
    assert store.find(bundle, H100).plans == {"scene": proven}
    assert store.read(proven) == PLAN


def test_a_note_about_a_plan_that_was_built_again_since_changes_nothing(store: PlanStore, bundle: Bundle) -> None:
    stored = store.store(plan_info(bundle), PLAN)
    newer = store.store(plan_info(bundle), b"another")
    store.update(replace(stored, driver="590.1"))
    assert store.find(bundle, H100).plans == {"scene": newer}
    store.remove(newer)
    assert "expected the sidecar of a plan, got nothing there" in refusal(store.update, stored)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (b"", "expected 1800 bytes, got 0: it is truncated"),
        (PLAN[:-1], "expected 1800 bytes, got 1799: it is truncated"),
        (PLAN + b"!", "expected 1800 bytes, got 1801"),
        (PLAN[:-1] + b"!", "expected the plan that was stored, got other bytes: it was altered"),
    ],
)
def test_a_damaged_plan_is_refused_before_anything_reads_it(
    damage: bytes, said: str, store: PlanStore, bundle: Bundle
) -> None:
    stored = store.store(plan_info(bundle), PLAN)
    (store.folder / stored.plan).write_bytes(damage)
    where = store.folder / stored.plan
    command = f"--fp16 --out {store.folder}"
    assert refusal(store.read, stored) == (
        f"{where}: {said}; build it for small 1 again: trainer build-engine BUNDLE {command}"
    )
    assert store.find(bundle, H100).why == (
        f"no plan for small on NVIDIA H100 80GB HBM3 with TensorRT 10.13.2: {where}: {said}; "
        f"type: trainer build-engine {bundle.path} {command}"
    )
    assert [entry.problem for entry in store.entries(verify=True)] == [f"{where}: {said}"]


def put_link(place: Path, outside: Path) -> None:
    place.symlink_to(outside)


def put_pipe(place: Path, _outside: Path) -> None:
    os.mkfifo(place)


def put_folder(place: Path, _outside: Path) -> None:
    place.mkdir()


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (put_link, "expected a plain file, got: a symbolic link"),
        (put_pipe, "expected a plain file, got something else"),
        (put_folder, "expected a plain file, got something else"),
    ],
)
@pytest.mark.parametrize("which", ["plan", "sidecar"])
def test_what_is_no_plain_file_is_never_followed_nor_waited_for(
    which: str, put: Callable[[Path, Path], None], said: str, store: PlanStore, bundle: Bundle, tmp_path: Path
) -> None:
    stored = store.store(plan_info(bundle), PLAN)
    place = store.folder / (stored.plan if which == "plan" else sidecar_name(stored))
    place.rename(tmp_path / "outside")  # the true content, elsewhere
    put(place, tmp_path / "outside")
    assert store.find(bundle, H100).plans is None
    assert [entry.problem for entry in store.entries(verify=True)] == [f"{place}: {said}"]
    if which == "plan":
        assert refusal(store.read, stored).startswith(f"{place}: {said}; build it")


def test_a_name_that_reaches_outside_is_not_opened(store: PlanStore, bundle: Bundle, tmp_path: Path) -> None:
    stored = store.store(plan_info(bundle), PLAN)
    for name in ("../outside", "/etc/passwd", f"../plans/{stored.plan}", "", ".", f"{'b' * 32}.plan"):
        assert "expected a plan named after its hash" in refusal(store.read, replace(stored, plan=name))


@pytest.mark.parametrize("full", [(1000, 0), (4096, 2)], ids=["before the plan", "after the plan"])
def test_a_full_disk_leaves_the_earlier_plan(full: tuple[int, int], bundle: Bundle, tmp_path: Path) -> None:
    limit, n_settings = full
    store = PlanStore(tmp_path / "plans")
    before = store.store(plan_info(bundle), b"before")
    settings = {f"setting {number}": number for number in range(1000 * n_settings)}  # a sidecar that does not fit
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        said = refusal(store.store, replace(plan_info(bundle), settings=settings), PLAN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "bytes, got: File too large; nothing was changed; make room there (ascstream engine prune), or keep" in said
    assert listed(store) == {before.plan, sidecar_name(before)}
    assert store.find(bundle, H100).plans == {"scene": before}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", str(place)]
    if subprocess.run(words, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root, who may mount: sudo make test")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full_leaves_the_earlier_plan(small_disk: Path, bundle: Bundle) -> None:
    store = PlanStore(small_disk / "plans")
    before = store.store(plan_info(bundle), PLAN)
    said = refusal(store.store, plan_info(bundle), bytes(200_000))
    assert said.startswith(f"{store.folder}/")
    assert "expected to write 200000 bytes, got: No space left on device; nothing was changed; make room" in said
    assert listed(store) == {before.plan, sidecar_name(before)}
    assert store.find(bundle, H100).plans == {"scene": before}
    with (small_disk / "fill").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert "No space left on device" in refusal(store.update, replace(before, driver="590.1"))
    assert store.find(bundle, H100).plans == {"scene": before}
    with store.building(before.key):  # nothing to write the holder's number to
        pass


@pytest.fixture
def own_folder(bundle: Bundle, tmp_path: Path) -> Iterator[Path]:
    """A folder of somebody who may not write everywhere, and is us for the while."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    path = Path(tempfile.mkdtemp(prefix="ascstream-"))
    os.chown(path, 65534, 65534)
    os.seteuid(65534)
    try:
        yield path
    finally:
        os.seteuid(0)
        shutil.rmtree(path)


def test_a_cache_that_cannot_be_written_is_told_before_the_build(own_folder: Path, bundle: Bundle) -> None:
    store = PlanStore(own_folder / "plans")
    stored = store.store(plan_info(bundle), PLAN)
    store.folder.chmod(0o500)
    mend = "name a folder you may write to, or keep plans elsewhere: export XDG_CACHE_HOME=FOLDER"
    said = (
        f"{store.folder}: expected a folder for plans that can be written, got: Permission denied; "
        f"nothing was changed; {mend}"
    )

    def build() -> None:
        with store.building(stored.key):
            raise AssertionError

    assert refusal(build) == said
    assert refusal(store.store, stored, b"another") == said
    assert refusal(store.update, stored) == said
    assert refusal(store.prune) == said
    assert store.find(bundle, H100).plans == {"scene": stored}  # reading needs no more
    store.folder.chmod(0o700)
    own_folder.chmod(0o500)
    other = PlanStore(own_folder / "others" / "plans")
    assert refusal(other.store, stored, PLAN).startswith(
        f"{other.folder}: expected a folder for plans that can be written, got: Permission denied; nothing"
    )
    own_folder.chmod(0o700)


@pytest.mark.slow
def test_a_store_killed_anywhere_leaves_the_old_plan_or_the_new_one(tmp_path: Path, bundle: Bundle) -> None:
    with run_python(Path(store_killed.__file__).read_text(), tmp_path / "plans", bundle.path) as process:
        lines = [json.loads(line) for line in process.communicate()[0].splitlines()]
    assert process.returncode == 0
    plans = [line["plan"] for line in lines]
    assert len(plans) > 60
    assert set(plans) == {"old", "new"}
    assert plans == sorted(plans, reverse=True)  # never back again
    assert lines[-1]["plan"] == "new"
    assert max(line["left"] for line in lines) == 2  # a partial file and a plan
    assert {line["files"] for line in lines} == {2}  # and prune leaves only what is used


STORE_MANY = """
import sys
from pathlib import Path
from engines.bundle import open_bundle
from engines.trt.plans import PlanStore
from support.plans import plan_info
info, store = plan_info(open_bundle(Path(sys.argv[2]))), PlanStore(Path(sys.argv[1]))
for number in range(25):
    store.store(info, f"{sys.argv[3]} {number}".encode() * 1000)
print("done")
"""


def test_builders_of_one_plan_at_a_time_never_mix(store: PlanStore, bundle: Bundle) -> None:
    first = store.store(plan_info(bundle), PLAN)
    writers = [run_python(STORE_MANY, store.folder, bundle.path, name) for name in "xy"]
    seen: set[bytes] = set()
    while any(writer.poll() is None for writer in writers):
        found = store.find(bundle, H100)
        assert found.plans is not None, found.why
        seen.add(store.read(found.plans["scene"])[:1])
    assert [writer.communicate()[0] for writer in writers] == ["done\n", "done\n"]
    found = store.find(bundle, H100)
    assert found.plans is not None
    assert store.read(found.plans["scene"])[:4] in (b"x 24", b"y 24")
    assert found.plans["scene"].key == first.key


HOLD = """
import sys
from pathlib import Path
from engines.bundle import open_bundle
from engines.trt.plans import PlanStore
from support.plans import plan_info
with PlanStore(Path(sys.argv[1])).building(plan_info(open_bundle(Path(sys.argv[2]))).key):
    print("held", flush=True)
    sys.stdin.read(1)
"""


class Waiter(threading.Thread):
    """Builds as soon as it may."""

    def __init__(self, store: PlanStore, info: PlanInfo) -> None:
        super().__init__(daemon=True)
        self.told: list[str] = []
        self.built = False
        self._store, self._info = store, info

    def run(self) -> None:
        with self._store.building(self._info.key, self.told.append):
            self.built = True


@pytest.mark.parametrize("ends", ["done", "killed"])
def test_a_second_builder_waits_says_for_whom_and_goes_on(ends: str, store: PlanStore, bundle: Bundle) -> None:
    with run_python(HOLD, store.folder, bundle.path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        waiter = Waiter(store, plan_info(bundle))
        waiter.start()
        waiting.until(lambda: waiter.told)
        assert waiter.told == [f"waiting for process {holder.pid}, which builds the same plan: scene, float16"]
        assert not waiter.built
        with store.building(plan_info(bundle, precision="int8").key):  # another plan is nobody's business
            pass
        assert store.prune(H100, everything=True) == ()  # a lock that is held stays
        if ends == "killed":
            holder.send_signal(signal.SIGKILL)
        else:
            assert holder.stdin is not None
            holder.stdin.write("\n")
            holder.stdin.flush()
        waiter.join(30)
        assert waiter.built
    assert listed(store) == set()


def test_the_lock_of_a_builder_that_was_killed_is_pruned(store: PlanStore, bundle: Bundle) -> None:
    with run_python(HOLD, store.folder, bundle.path) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
    assert listed(store) == {f"{plan_info(bundle).key.digest}.lock"}
    assert store.prune() == ()
    assert listed(store) == set()


def test_without_a_callback_the_logger_says_what_goes_on(
    store: PlanStore, caplog: pytest.LogCaptureFixture, bundle: Bundle
) -> None:
    store.store_timing_cache(H100, b"timings")
    next(store.folder.glob("*.timing")).write_bytes(b"")
    with caplog.at_level(logging.WARNING, "engines.trt.plans"):
        assert store.timing_cache(H100) is None
    assert caplog.messages[0].endswith("expected a whole timing cache, got a damaged one; kernels are timed anew")


def test_timings_are_kept_for_one_device_and_version(store: PlanStore) -> None:
    assert store.timing_cache(H100) is None
    store.store_timing_cache(H100, b"timings")
    store.store_timing_cache(ORIN, b"")
    assert store.timing_cache(H100) == b"timings"
    assert store.timing_cache(ORIN) == b""
    assert store.timing_cache(on(H100, driver="1", l4t="2")) == b"timings"
    others = (on(H100, name="H200"), on(H100, compute_capability="9.1"), on(H100, multiprocessors=16))
    for other in (replace(H100, tensorrt="10.3.0"), *others):
        assert store.timing_cache(other) is None


def test_damaged_timings_do_not_reach_tensorrt(tmp_path: Path) -> None:
    told: list[str] = []
    store = PlanStore(tmp_path / "plans", tell=told.append)
    store.store_timing_cache(H100, b"timings")
    path = next(store.folder.glob("*.timing"))
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert store.timing_cache(H100) is None
        path.write_bytes(whole[:position])
        assert store.timing_cache(H100) is None
    assert len(told) == 2 * len(whole)
    assert set(told) == {f"{path}: expected a whole timing cache, got a damaged one; kernels are timed anew"}
    path.write_bytes(whole)
    path.rename(path.with_name("outside"))
    path.symlink_to(path.with_name("outside"))
    assert store.timing_cache(H100) is None
    assert told[-1] == f"{path}: expected a plain file, got: a symbolic link; kernels are timed anew"


def test_timings_that_cannot_be_kept_stop_no_build(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told: list[str] = []
    PlanStore(tmp_path / "file" / "plans", tell=told.append).store_timing_cache(H100, b"timings")
    folder = tmp_path / "file" / "plans"
    said = f"{folder}: expected a folder for plans, got: Not a directory; the next build times its kernels anew"
    assert told == [said]
