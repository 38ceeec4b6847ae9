"""What only TensorRT 8.x is told: precision is a flag, and libraries that our graphs do not need are left alone."""

from __future__ import annotations

import sys
from enum import IntEnum
from types import ModuleType

import pytest

from engines.manifest import Precision
from engines.trt import compile as compiling
from engines.trt.exchange import Request
from engines.trt.records import profiles_of


class BuilderFlag(IntEnum):
    """Numbers as in 8.6."""

    FP16 = 0
    INT8 = 1
    TF32 = 7


class TacticSource(IntEnum):
    """Numbers as in 8.6."""

    CUBLAS = 0
    CUBLAS_LT = 1
    CUDNN = 2
    EDGE_MASK_CONVOLUTIONS = 3
    JIT_CONVOLUTIONS = 4


class MemoryPoolType(IntEnum):
    """Numbers as in 8.6."""

    WORKSPACE = 0


class Typed(IntEnum):
    """Kinds of networks that 8.6 makes."""

    EXPLICIT_BATCH = 0
    EXPLICIT_PRECISION = 1


class Config:
    """A builder's settings, as 8.6 has them before anything is set."""

    builder_optimization_level = 3

    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}
        self.sources = 0b11111
        self.limits: dict[MemoryPoolType, int] = {}

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def get_tactic_sources(self) -> int:
        return self.sources

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        self.sources = tactic_sources
        return True

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.limits[pool] = pool_size


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of 8.6 in place of TensorRT."""
    module = ModuleType("tensorrt")
    for name, kind in {
        "BuilderFlag": BuilderFlag,
        "TacticSource": TacticSource,
        "MemoryPoolType": MemoryPoolType,
        "NetworkDefinitionCreationFlag": Typed,
    }.items():
        setattr(module, name, kind)
    monkeypatch.setitem(sys.modules, "tensorrt", module)


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize(
    ("precision", "flags"), [("float32", set()), ("float16", {BuilderFlag.FP16}), ("int8", {BuilderFlag.INT8})]
)
def test_precision_is_a_flag_and_other_libraries_are_left_alone(precision: Precision, flags: set[BuilderFlag]) -> None:
    config = Config()
    request = Request(graph="scene", precision=precision, profiles=profiles_of((1,)), effort=1)
    compiling._set_options(config, request, free_bytes=1000)  # type: ignore[arg-type]
    assert config.flags == flags
    assert config.sources == 1 << TacticSource.EDGE_MASK_CONVOLUTIONS | 1 << TacticSource.JIT_CONVOLUTIONS
    assert config.limits == {MemoryPoolType.WORKSPACE: 500}
    assert config.builder_optimization_level == 1
    assert compiling._network_flags() == 1 << Typed.EXPLICIT_BATCH
