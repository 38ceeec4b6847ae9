"""Plans of a store, proven again: by a stand-in of the command that runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import bundles
from support.plans import H100
from support.stand_in_builder import MACHINE, command

from engines.bundle import Bundle, open_bundle
from engines.errors import BackendError
from engines.trt.build import build_plans
from engines.trt.plans import PlanStore
from engines.trt.proofs import prove_plans


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(bundles.mono_logmel(tmp_path))


@pytest.fixture
def store(bundle: Bundle, tmp_path: Path) -> PlanStore:
    """A plan of it."""
    made = PlanStore(tmp_path / "plans")
    build_plans(bundle, "float32", store=made, machine=MACHINE, build_command=command(bundle.path / "golden.npz"))
    return made


def test_a_plan_that_gives_the_golden_answers_is_proven(bundle: Bundle, store: PlanStore) -> None:
    (proof,) = prove_plans(bundle, store, MACHINE, command(bundle.path / "golden.npz"))
    assert proof.problem is None
    assert str(proof) == "proven   mono_logmel 1.0.0, scene float32: differs by scene/fused 0 of 0.0001"
    assert proof.to_json() == {
        "sidecar": f"{proof.info.key.digest}.json",
        "ok": True,
        "problem": None,
        "parity": [{"output": "scene/fused", "max_difference": 0.0, "tolerance": 0.0001, "agreement": 1.0}],
    }


def test_a_plan_that_gives_others_is_named_and_not_taken_out(bundle: Bundle, store: PlanStore) -> None:
    (proof,) = prove_plans(bundle, store, MACHINE, command(bundle.path / "golden.npz", "wrong"))
    assert str(proof).startswith("failed   mono_logmel 1.0.0 on ")
    assert "got 0.25 in scene/fused" in str(proof)
    assert proof.to_json()["parity"] == []
    assert store.find(bundle, MACHINE).plans == {"scene": proof.info}


def test_a_process_that_dies_is_a_failure_of_that_plan(bundle: Bundle, store: PlanStore) -> None:
    (proof,) = prove_plans(bundle, store, MACHINE, command(bundle.path / "golden.npz", "killed"))
    assert proof.problem is not None
    assert proof.problem.startswith("scene: the builder was killed (signal 9)")


def test_where_none_fits_it_is_said(bundle: Bundle, store: PlanStore) -> None:
    with pytest.raises(BackendError) as caught:
        list(prove_plans(bundle, store, H100))
    assert "float32 scene was built for Invented, this is NVIDIA H100 80GB HBM3" in str(caught.value)
