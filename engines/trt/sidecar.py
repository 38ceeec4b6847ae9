"""Read and write the JSON beside a plan: reading rejects impossible values, and names that do not match the key."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from engines.errors import BackendError, ManifestError, one_line
from engines.schema import decode, encode
from engines.trt.records import SIDECAR_SCHEMA, PlanInfo

MAX_SIDECAR_BYTES = 1 << 20
"""Sidecars are a few kilobytes; a larger file is not one."""
SIDECAR, PLAN = ".json", ".plan"
"""Suffixes of the names of a sidecar and of a plan."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One sidecar in a folder."""

    name: str
    """The sidecar's file name."""
    info: PlanInfo | None
    """Its contents; None if it cannot be read."""
    problem: str | None
    """What is wrong with it or with its plan, and where; None if nothing is."""


def sidecar_name(info: PlanInfo) -> str:
    """The file name of a plan's sidecar, derived from the key."""
    return info.key.digest + SIDECAR


def write_sidecar(info: PlanInfo) -> bytes:
    """Serialise a sidecar for `read_sidecar`."""
    return (json.dumps(encode(info), indent=2, ensure_ascii=False) + "\n").encode()


def read_sidecar(name: str, data: bytes) -> PlanInfo:
    """Parse a sidecar.

    Args:
        name: The name of its file.
        data: The file's contents.

    Raises:
        BackendError: It is not JSON, has another schema, is invalid, or its key does not match the name.
    """
    try:
        info = decode(PlanInfo, json.loads(data), "sidecar")
        _check(info)
    except ManifestError as error:
        raise BackendError(one_line(str(error))) from None
    except (ValueError, RecursionError) as error:
        raise BackendError(f"expected JSON, got something else ({one_line(str(error))})") from None
    if name != sidecar_name(info):
        raise BackendError("expected the key that this name stands for, got another one: it was altered")
    return info


def _check(info: PlanInfo) -> None:
    """Reject values that the types allow but that are impossible; the ManifestError names the key."""
    key = info.key
    if info.schema != SIDECAR_SCHEMA:
        raise ManifestError(f"schema: expected {SIDECAR_SCHEMA}, the only one this version reads, got {info.schema}")
    for name, digest in (("key.reference", key.reference), ("key.typed", key.typed), ("sha256", info.sha256)):
        if re.fullmatch("[0-9a-f]{64}", digest) is None:
            raise ManifestError(f"{name}: expected 64 lower-case hexadecimal digits, got {digest[:70]!r}")
    if info.plan != info.sha256[:32] + PLAN:
        raise ManifestError(f"plan: expected a file named after its hash, got {info.plan[:70]!r}")
    smallest = 1
    for profile in key.profiles:
        if profile.smallest != smallest:
            raise ManifestError(f"key.profiles: expected one from {smallest} on, got one from {profile.smallest} on")
        smallest = profile.largest + 1
    if smallest == 1:
        raise ManifestError("key.profiles: expected at least one, got none")


def p50_seconds(info: PlanInfo) -> float:
    """Median latency of the smallest batch, with or without a CUDA graph, whichever is faster; inf if not measured."""
    batch = min((entry.batch for entry in info.latency), default=0)
    return min((entry.p50_seconds for entry in info.latency if entry.batch == batch), default=math.inf)
