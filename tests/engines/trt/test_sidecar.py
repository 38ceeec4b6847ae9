"""The JSON beside a plan: whatever was done to it, it is refused in a sentence, or it is of the same key."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fuzz import mutate
from support.plans import H100, ORIN, plan_info, write_small

from engines.bundle import Bundle
from engines.errors import BackendError
from engines.trt.plans import PlanStore
from engines.trt.records import PlanInfo
from engines.trt.sidecar import MAX_SIDECAR_BYTES, p50_seconds, read_sidecar, sidecar_name, write_sidecar

HOSTILE = (
    None, True, False, 0, -1, 1, 2, 9, 10**400, 1e308, float("nan"), float("inf"), "", "x", "0" * 64, "f" * 64,
    "A" * 64, "../x", "/etc/passwd", "scene", "frame", "int8", "10.3.0", "\x1b[2J", "\ud800", "a\u202eb", "k" * 5000,
    [], [[]], [{}], {}, {"a": 1}, [None] * 50,
)  # fmt: skip


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_small(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "plans")


@pytest.fixture
def stored(store: PlanStore, bundle: Bundle) -> PlanInfo:
    return store.store(plan_info(bundle, ORIN), b"plan")


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value stands, containers too."""
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def changed(text: str, path: tuple[Any, ...], value: Any) -> Any:
    """The JSON with another value there."""
    data = json.loads(text)
    if not path:
        return value
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return data


def test_what_is_written_is_read(stored: PlanInfo) -> None:
    assert read_sidecar(sidecar_name(stored), write_sidecar(stored)) == stored


@pytest.mark.slow
def test_every_value_replaced_is_refused_or_keeps_its_key(stored: PlanInfo) -> None:
    name, text = sidecar_name(stored), write_sidecar(stored).decode()
    refused = accepted = 0
    for path in places(json.loads(text)):
        for value in HOSTILE:
            damaged = json.dumps(changed(text, path, value)).encode()
            try:
                assert read_sidecar(name, damaged).key == stored.key
                accepted += 1
            except BackendError as error:
                refused += 1
                assert str(error).isprintable()  # noqa: PT017
                assert len(str(error)) <= 400  # noqa: PT017
    assert refused > 1200
    assert accepted < 300  # a latency, a date, a name: nothing that decides what is run


@pytest.mark.parametrize(
    "key", ["tensorrt", "device", "compute_capability", "multiprocessors", "l4t", "precision", "typed", "reference"]
)
def test_a_key_that_was_altered_is_not_the_one_the_name_stands_for(
    key: str, store: PlanStore, stored: PlanInfo, bundle: Bundle
) -> None:
    wanted: dict[str, object] = {"tensorrt": "10.13.2", "device": "NVIDIA H100 80GB HBM3", "compute_capability": "9.0"}
    wanted |= {"multiprocessors": 132, "l4t": "36.5"}
    value = wanted.get(key, "int8" if key == "precision" else "b" * 64)
    path = store.folder / sidecar_name(stored)
    path.write_text(json.dumps(changed(path.read_text(), ("key", key), value)))
    said = f"{path}: expected the key that this name stands for, got another one: it was altered"
    assert [entry.problem for entry in store.entries()] == [said]
    assert store.find(bundle, ORIN).plans is None
    assert store.find(bundle, H100).plans is None


def test_bytes_damaged_at_random_are_refused_or_keep_their_key(stored: PlanInfo) -> None:
    name, whole = sidecar_name(stored), write_sidecar(stored)
    rng, refused = random.Random(5), 0  # noqa: S311
    for _ in range(3000):
        try:
            assert read_sidecar(name, mutate(rng, whole)).key == stored.key
        except BackendError as error:
            refused += 1
            assert str(error).isprintable()  # noqa: PT017
    assert refused > 2000


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ((), [], "sidecar: expected an object, got []"),
        (("schema",), 2, "schema: expected 1, the only one this version reads, got 2"),
        (("size",), 0, "sidecar.size: expected an integer number of bytes, at least 1, got 0"),
        (("plan",), "../x.plan", "plan: expected a file named after its hash, got '../x.plan'"),
        (("sha256",), "F" * 64, f"sha256: expected 64 lower-case hexadecimal digits, got '{'F' * 64}'"),
        (("key", "profiles"), [], "key.profiles: expected at least one, got none"),
        (
            ("key", "profiles"),
            [{"smallest": 2, "usual": 2, "largest": 2}],
            "key.profiles: expected one from 1 on, got one from 2 on",
        ),
        (
            ("key", "profiles", 0, "largest"),
            0,
            "sidecar.key.profiles[0].largest: expected a whole number, at least 1, got 0",
        ),
        (("more",), 1, "sidecar.more: unknown key; "),
    ],
)
def test_what_cannot_be_is_named(path: tuple[Any, ...], value: Any, said: str, stored: PlanInfo) -> None:
    damaged = json.dumps(changed(write_sidecar(stored).decode(), path, value)).encode()
    with pytest.raises(BackendError) as caught:
        read_sidecar(sidecar_name(stored), damaged)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000])
def test_what_is_no_json(text: bytes, stored: PlanInfo) -> None:
    with pytest.raises(BackendError, match=r"^(expected JSON, got something else|sidecar: expected an object)"):
        read_sidecar(sidecar_name(stored), text)


def test_a_sidecar_too_large_to_be_one_is_not_read(store: PlanStore, stored: PlanInfo) -> None:
    path = store.folder / sidecar_name(stored)
    with path.open("r+b") as file:
        file.truncate(MAX_SIDECAR_BYTES + 1)
    assert [entry.problem for entry in store.entries()] == [f"{path}: expected at most 1048576 bytes, got 1048577"]


def test_the_median_is_the_faster_one_of_the_smallest_batch(bundle: Bundle) -> None:
    info = plan_info(bundle, p50_seconds=0.25)
    assert p50_seconds(info) == 0.25
    assert p50_seconds(plan_info(bundle, p50_seconds=None)) == float("inf")
