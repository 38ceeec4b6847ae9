"""Prove stored plans again: run them on a bundle's golden cases, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from engines.bundle import Bundle
from engines.errors import BackendError, ParityError
from engines.manifest import Precision
from engines.schema import encode
from engines.trt.build import BUILD_COMMAND, run_plan
from engines.trt.plans import PlanStore
from engines.trt.records import Machine, PlanInfo
from engines.trt.sidecar import sidecar_name


@dataclass(frozen=True, slots=True)
class Proof:
    """The result for one plan."""

    info: PlanInfo
    """Its sidecar; if it passed, with the differences of this run."""
    problem: str | None
    """What went wrong; None if it passed."""

    def __str__(self) -> str:
        if self.problem is not None:
            return f"failed   {self.problem}"
        key, parity = self.info.key, self.info.parity
        found = ", ".join(f"{part.output} {part.max_difference:.2g} of {part.tolerance:.2g}" for part in parity)
        return f"proven   {self.info.bundle}, {key.graph} {key.precision}: differs by {found}"

    def to_json(self) -> dict[str, Any]:
        """The result in a form that `json.dumps` takes."""
        parity = [] if self.problem is not None else encode(self.info.parity)
        return {
            "sidecar": sidecar_name(self.info),
            "ok": self.problem is None,
            "problem": self.problem,
            "parity": parity,
        }


def prove_plans(
    bundle: Bundle, store: PlanStore, machine: Machine, build_command: Sequence[str] = BUILD_COMMAND
) -> Iterator[Proof]:
    """Run a bundle's golden cases through each of its plans that fits; nothing in the store is changed.

    Args:
        bundle: The bundle.
        store: Where its plans are.
        machine: This machine.
        build_command: Command that runs them; see `engines.trt.exchange`.

    Raises:
        BackendError: No plan fits.
        BundleError: The bundle has no golden cases, or was altered.
    """
    found = [store.find(bundle, machine, precision=precision).plans for precision in get_args(Precision)]
    if not any(found):
        raise BackendError(store.find(bundle, machine).why)
    for plans in found:
        for stored in (plans or {}).values():
            info, problem = stored, None
            try:
                info = run_plan(bundle, stored, store.read(stored), machine=machine, build_command=build_command)
            except (BackendError, ParityError) as error:
                problem = str(error)
            yield Proof(info, problem)
