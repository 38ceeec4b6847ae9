"""The store of plans: a plan is found by what it was made from and for, and its bytes are verified before any use.

The sidecar, `<digest of the key>.json`, describes a plan and names its file. It is written last, by rename, so a plan
exists once its sidecar does. The plan's file holds exactly what TensorRT gave, and is named after its hash. A plan is
code: `folder.py` keeps others from writing to the folder. Everything in it can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from engines.bundle import Bundle
from engines.errors import BackendError
from engines.trt.fit import command_to_build
from engines.trt.folder import PrivateFolder, unwritable
from engines.trt.leftovers import LOCK, TIMING, Leftover, find_leftovers
from engines.trt.locks import locked, remove_if_free
from engines.trt.records import Machine, PlanInfo, PlanKey
from engines.trt.search import Found, Search
from engines.trt.sidecar import MAX_SIDECAR_BYTES, PLAN, SIDECAR, Entry, read_sidecar, sidecar_name, write_sidecar

MAX_TIMING_BYTES = 1 << 28
"""Maximum size of a timing cache; they are usually a few megabytes."""
_STORE_LOCK = "store.lock"
"""Held while files are added or removed, so that a half-stored plan is not taken for a leftover."""


class PlanStore:
    """A folder of plans. Every call looks at it anew, so several processes can use it at once."""

    def __init__(self, folder: Path | None = None, *, tell: Callable[[str], object] | None = None) -> None:
        """Set the folder; it is created when something is stored.

        Args:
            folder: Where plans are kept; None: the user's cache.
            tell: Called with a sentence about each problem that does not stop the work; None: log a warning.
        """
        self._named = folder
        self._folder = PrivateFolder(default_folder() if folder is None else folder)
        self._tell = tell or logging.getLogger(__name__).warning

    @property
    def folder(self) -> Path:
        """Where plans are kept."""
        return self._folder.path

    def exists(self) -> bool:
        """Whether the folder exists.

        Raises:
            BackendError: What is there is not a folder, or someone else may write to it.
        """
        return self._folder.exists()

    def find(self, bundle: Bundle, machine: Machine, *, precision: str | None = None) -> Found:
        """Find a verified plan for every graph of a bundle, all in one precision; never raises.

        Args:
            bundle: The bundle.
            machine: Where the plans are to run.
            precision: "float32", "float16" or "int8"; None: the one measured to be fastest.
        """
        try:
            entries = self.entries()
        except BackendError as error:
            return Found(None, str(error))
        return Search(bundle, machine, entries, self._read, self._named).run(precision)

    def read(self, info: PlanInfo) -> bytes:
        """Read a whole plan, following no link, and check it against its sidecar: it is then safe to deserialise.

        Raises:
            BackendError: It is missing, truncated, altered, not a regular file, or someone else may write to it.
        """
        try:
            return self._read(info)
        except BackendError as error:
            command = command_to_build(info.key.precision, None, self._named)
            raise BackendError(f"{error}; build it for {info.bundle} again: {command}") from None

    def store(self, info: PlanInfo, plan: bytes) -> PlanInfo:
        """Store a plan: it appears whole or not at all, and an earlier one with the same key stays until then.

        Args:
            info: Its description; `plan`, `sha256` and `size` are set here, whatever they were.
            plan: The plan from TensorRT.

        Returns:
            The description that was stored.

        Raises:
            BackendError: It is empty, or writing fails; an earlier plan with that key can still be used.
        """
        if not plan:
            raise BackendError(f"{info.key.graph}: expected a plan, got none: 0 bytes are not stored")
        digest = hashlib.sha256(plan).hexdigest()
        stored = replace(info, plan=digest[:32] + PLAN, sha256=digest, size=len(plan))
        sidecar = write_sidecar(stored)
        read_sidecar(sidecar_name(stored), sidecar)  # what could not be read again is not written
        with self._locked():
            before = self._folder.size(stored.plan)
            self._folder.write(stored.plan, plan)
            try:
                self._folder.write(sidecar_name(stored), sidecar)
            except BackendError:
                if before is None:
                    self._folder.remove(stored.plan)
                raise
        return stored

    def update(self, info: PlanInfo) -> None:
        """Rewrite the sidecar of a plan that was proven again, under another driver.

        If another plan was built in its place since then, nothing is changed.

        Raises:
            BackendError: Writing fails, or the plan is no longer there; nothing was changed.
        """
        with self._locked():
            if self._sidecar(sidecar_name(info)).sha256 == info.sha256:
                self._folder.write(sidecar_name(info), write_sidecar(info))

    def remove(self, info: PlanInfo) -> None:
        """Remove a plan, if it is still there.

        Raises:
            BackendError: It cannot be removed.
        """
        with self._locked():
            held = {entry.info.key.digest: entry.info for entry in self.entries() if entry.info is not None}
            if info.key.digest in held and held[info.key.digest].sha256 == info.sha256:
                self._folder.remove(sidecar_name(info))
                del held[info.key.digest]
            if info.plan not in {other.plan for other in held.values()}:
                self._folder.remove(info.plan)

    def entries(self, *, verify: bool = False) -> tuple[Entry, ...]:
        """Every sidecar, in the order of their names.

        Args:
            verify: Whether to read every plan and compare its hash, rather than only its size.

        Raises:
            BackendError: The folder cannot be read, or someone else may write to it.
        """
        return tuple(self._entry(name, verify) for name in self._folder.names() if name.endswith(SIDECAR))

    def prune(
        self, machine: Machine | None = None, *, everything: bool = False, dry_run: bool = False
    ) -> tuple[Leftover, ...]:
        """Remove partial files, plans without sidecars, damaged ones, other machines'; never what is being built.

        Args:
            machine: The machine whose plans stay; None: those of every machine stay.
            everything: Whether to remove all plans.
            dry_run: Whether to only return what would be removed.

        Returns:
            What was, or would be, removed.

        Raises:
            BackendError: The folder cannot be read or written, or someone else may write to it.
        """
        if dry_run or not self._folder.exists():
            return self._leftovers(machine, everything)
        with self._locked():
            leftovers = self._leftovers(machine, everything)
            for leftover in leftovers:
                self._folder.remove(leftover.name)
            for name in self._folder.names():
                if name.endswith(LOCK) and name != _STORE_LOCK:
                    self._remove_lock(self.folder / name)
        return leftovers

    def timing_cache(self, machine: Machine) -> bytes | None:
        """The timing cache of earlier builds, verified; None if there is none. Damage is reported with `tell`."""
        name = _timing_name(machine)
        try:
            data = self._folder.read(name, MAX_TIMING_BYTES, exact=False)
        except FileNotFoundError:
            return None
        except BackendError as error:
            self._tell(f"{error}; kernels are timed anew")
            return None
        if _timing_seal(name, data[32:]) == data[:32]:
            return data[32:]
        self._tell(f"{self.folder / name}: expected a whole timing cache, got a damaged one; kernels are timed anew")
        return None

    def store_timing_cache(self, machine: Machine, data: bytes) -> None:
        """Keep a timing cache for the next build; if it cannot be stored, report that with `tell`."""
        name = _timing_name(machine)
        try:
            with self._locked():
                self._folder.write(name, _timing_seal(name, data) + data)
        except BackendError as error:
            self._tell(f"{error}; the next build times its kernels anew")

    @contextmanager
    def building(self, key: PlanKey, on_wait: Callable[[str], object] | None = None) -> Iterator[None]:
        """Be the only process that builds a plan with that key. Search again inside: another may just have built it.

        Args:
            key: Key of the plan.
            on_wait: Called before waiting with a sentence that names the other process; None: the store's `tell`.

        Raises:
            BackendError: Nothing could be stored; this is known before the build, not only after it.
        """

        def wait(pid: int | None) -> None:
            who = "another process" if pid is None else f"process {pid}"
            (on_wait or self._tell)(f"waiting for {who}, which builds the same plan: {key.graph}, {key.precision}")

        with self._locked(key.digest + LOCK, wait):
            yield

    @contextmanager
    def _locked(
        self, name: str = _STORE_LOCK, on_wait: Callable[[int | None], object] = lambda _pid: None
    ) -> Iterator[None]:
        """Hold a lock in the folder, which is created if it does not exist."""
        self._folder.make()
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.folder / name, on_wait))
            except OSError as error:
                raise unwritable(self.folder, error) from None
            yield

    def _remove_lock(self, path: Path) -> None:
        """Remove the lock's file of a build that was killed."""
        try:
            remove_if_free(path)
        except OSError as error:
            raise unwritable(path, error) from None

    def _leftovers(self, machine: Machine | None, everything: bool) -> tuple[Leftover, ...]:
        """The files that may be removed, and their sizes."""
        timing = None if machine is None else _timing_name(machine)
        names = [name for name in self._folder.names() if not self._folder.is_folder(name)]  # no folder is ours
        found = find_leftovers(names, self.entries(verify=True), machine, timing, everything=everything)
        return tuple(Leftover(name, self._folder.size(name) or 0, why) for name, why in found.items())

    def _entry(self, name: str, verify: bool) -> Entry:
        """Read one sidecar, and check its plan."""
        info = None
        try:
            info = self._sidecar(name)
            if verify or self._folder.size(info.plan) != info.size:
                self._read(info)
        except BackendError as error:
            return Entry(name, info, str(error))
        return Entry(name, info, None)

    def _sidecar(self, name: str) -> PlanInfo:
        """Read and check a sidecar."""
        where = self.folder / name
        try:
            data = self._folder.read(name, MAX_SIDECAR_BYTES, exact=False)
        except FileNotFoundError:
            raise BackendError(f"{where}: expected the sidecar of a plan, got nothing there") from None
        try:
            return read_sidecar(name, data)
        except BackendError as error:
            raise BackendError(f"{where}: {error}") from None

    def _read(self, info: PlanInfo) -> bytes:
        """Read a plan; raise BackendError if it is not what the sidecar says."""
        where = self.folder / info.plan
        if info.plan != info.sha256[:32] + PLAN:
            raise BackendError(f"{self.folder}: expected a plan named after its hash, got {info.plan[:70]!r}")
        try:
            plan = self._folder.read(info.plan, info.size, exact=True)
        except FileNotFoundError:
            raise BackendError(f"{where}: expected the plan of {sidecar_name(info)}, got nothing there") from None
        if hashlib.sha256(plan).hexdigest() != info.sha256:
            raise BackendError(f"{where}: expected the plan that was stored, got other bytes: it was altered")
        return plan


def default_folder() -> Path:
    """Where plans are kept unless a folder is given."""
    import platformdirs

    return platformdirs.user_cache_path("ascstream") / "plans"


def _timing_name(machine: Machine) -> str:
    """File name of the timing cache for a device and a TensorRT version."""
    device = machine.device
    parts = (machine.tensorrt, device.name, device.compute_capability, device.multiprocessors)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32] + TIMING


def _timing_seal(name: str, data: bytes) -> bytes:
    """The hash stored in front of a timing cache: TensorRT parses the cache, so damaged data must not reach it."""
    return hashlib.sha256(name.encode() + data).digest()
