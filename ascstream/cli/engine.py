"""`ascstream engine`: lists the TensorRT plans built here, verifies them, and deletes those of no use."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ascstream.cli.exits import BUNDLE, OK
from ascstream.cli.options import Commands, Folder, Subcommand
from ascstream.wording import counted, size_text

if TYPE_CHECKING:
    from rich.table import Table

    from engines.trt.plans import PlanStore
    from engines.trt.proofs import Proof
    from engines.trt.records import Machine
    from engines.trt.sidecar import Entry

F = TypeVar("F", bound=Callable[..., Any])
_NOTHING_RUNS = "TensorRT runs no plan here: see ascstream doctor"
_LONGEST = 60
"""Longest name in the table, in characters."""

_EPILOG = """\b
A plan is code, made for one kind of device and one version of TensorRT. Plans are kept
in the user's cache, where nobody else may write, and may be deleted at any time:
  trainer build-engine --fp16            build a plan, verify it, measure its speed
  ascstream engine list                  list plans, and whether they fit this device
  ascstream engine prune --dry-run       show what can be deleted"""


@click.group("engine", cls=Commands, epilog=_EPILOG, short_help="List, verify and prune TensorRT plans.")
def command() -> None:
    """List, verify and prune the TensorRT plans built by `trainer build-engine`."""


def _options(function: F) -> F:
    """Add the options --plans and --json."""
    plans = click.option(
        "--plans",
        type=Folder(path_type=Path, file_okay=False),
        envvar="ASCSTREAM_PLANS",
        metavar="FOLDER",
        show_default="the user's cache",
        help="Folder with the plans.",
    )
    return plans(click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function))


@command.command("list", cls=Subcommand, short_help="List plans, and whether they fit this device.")
@_options
def list_plans(plans: Path | None, as_json: bool) -> None:
    """Show every plan: its origin, what it was built for, how fast it was, and whether it fits this machine."""
    store, machine = _open(plans), _machine()
    entries = sorted(store.entries(verify=True), key=_order)
    if as_json:
        _print_json(store, machine=_encoded(machine), plans=[_as_json(entry, machine) for entry in entries])
        return
    if entries:
        _print_table(entries, machine)
        click.echo()
    for entry in entries:
        reason = _reason(entry, machine)
        if reason is not None and (machine is not None or entry.problem is not None):
            click.echo(reason)
    if machine is None:
        click.echo(_NOTHING_RUNS)
    size = sum(entry.info.size for entry in entries if entry.info is not None)
    click.echo(f"{counted(len(entries), 'plan')} in {store.folder}{f', {size_text(size)}' if entries else ''}")
    if not entries and plans is None:
        click.echo("to make one, type: trainer build-engine --fp16")
    left = store.prune(dry_run=True)
    if left:
        size = sum(entry.size for entry in left)
        click.echo(f"{counted(len(left), 'file')} may go, {size_text(size)}; type: {_prune_command(plans)}")


@command.command("verify", cls=Subcommand, short_help="Check that plans are undamaged.")
@click.option(
    "--bundle",
    metavar="NAME|FOLDER",
    help="Also run this bundle's golden cases through its plans that fit this device; needs a GPU.",
)
@_options
def verify(plans: Path | None, as_json: bool, bundle: str | None) -> int:
    """Read every plan and compare it with the record made when it was built. Exit code 4 if one is damaged."""
    store = _open(plans)
    entries = sorted(store.entries(verify=True), key=_order)
    bad = sum(entry.problem is not None for entry in entries)
    if not as_json:
        for entry in entries:
            click.echo(f"{'ok':7}  {_title(entry)}" if entry.problem is None else f"{'damaged':7}  {_reason(entry)}")
        mend = f"; to remove what is damaged, type: {_prune_command(plans)}" if bad else ""
        click.echo(f"{counted(len(entries), 'plan')} in {store.folder}, {bad} damaged{mend}")
    proofs = []
    if bundle is not None:
        for proof in _run_golden(store, bundle):
            proofs.append(proof)
            if not as_json:
                click.echo(str(proof))
    ok = bad == 0 and all(proof.problem is None for proof in proofs)
    if as_json:
        found = [{"sidecar": entry.name, "ok": entry.problem is None, "problem": entry.problem} for entry in entries]
        golden = {} if bundle is None else {"golden": [proof.to_json() for proof in proofs]}
        _print_json(store, ok=ok, plans=found, **golden)
    return OK if ok else BUNDLE


@command.command(
    "prune", cls=Subcommand, short_help="Delete damaged plans, and plans for other devices or TensorRT versions."
)
@click.option("--all", "everything", is_flag=True, help="Delete all plans, including those that fit.")
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@_options
def prune(plans: Path | None, as_json: bool, everything: bool, dry_run: bool) -> None:
    """Delete damaged plans, unfinished files, and plans for other devices or TensorRT versions.

    Plans being built at the same time are left alone, and so are files of other kinds.
    """
    store, machine = _open(plans), _machine()
    removed = store.prune(machine, everything=everything, dry_run=dry_run)
    size = sum(entry.size for entry in removed)
    if as_json:
        _print_json(store, dry_run=dry_run, bytes=size, removed=[dataclasses.asdict(entry) for entry in removed])
        return
    for entry in removed:
        click.echo(f"{size_text(entry.size):>9}  {entry.name}  {entry.why}")
    verb = "would be removed" if dry_run else "removed"
    click.echo(f"{counted(len(removed), 'file')} {verb} from {store.folder}, {size_text(size)}")
    if machine is None and not everything:
        click.echo(f"plans of every device are kept ({_NOTHING_RUNS}); to remove all: --all", err=True)


def _open(folder: Path | None) -> PlanStore:
    """Open the plan store; a folder given explicitly must exist."""
    from engines.errors import BackendError
    from engines.trt.plans import PlanStore

    store = PlanStore(folder)
    if folder is not None and not store.exists():
        raise BackendError(f"{folder}: expected a folder of plans, got nothing there; type: ascstream engine list")
    return store


def _machine() -> Machine | None:
    """This machine if TensorRT runs here; otherwise None."""
    from engines.errors import BackendError
    from engines.trt.driver import find_machine

    try:
        return find_machine()
    except BackendError as error:
        click.echo(f"ascstream: {error}", err=True)
        return None


def _encoded(machine: Machine | None) -> Any:
    """A machine as JSON."""
    from engines.schema import encode

    return encode(machine)


def _run_golden(store: PlanStore, bundle: str) -> Iterator[Proof]:
    """Run a bundle's golden cases through its plans; raises BackendError if something is missing for that."""
    from ascstream.bundles import find_bundle
    from engines.bundle import open_bundle
    from engines.trt.driver import require_machine
    from engines.trt.proofs import prove_plans

    return prove_plans(open_bundle(find_bundle(bundle)), store, require_machine())


def _reason(entry: Entry, machine: Machine | None = None) -> str | None:
    """A sentence that says why a plan is of no use here; None if it is."""
    from engines.trt.fit import machine_misfits

    if entry.problem is not None or entry.info is None:
        return entry.problem if entry.info is None else f"{_title(entry)}: {entry.problem}"
    if machine is None:
        return _NOTHING_RUNS
    misfits = machine_misfits(entry.info.key, machine)
    return f"{_title(entry)} {' and '.join(misfits)}" if misfits else None


def _title(entry: Entry) -> str:
    """A plan's name for display: "slim-audio 1.0.0, scene float16"."""
    if entry.info is None:
        return entry.name
    return f"{entry.info.bundle}, {entry.info.key.graph} {entry.info.key.precision}"


def _order(entry: Entry) -> tuple[str, ...]:
    """Sort key: bundle, graph and precision, then what the plan was built for."""
    if entry.info is None:
        return ("\U0010ffff", entry.name)
    return (_title(entry), entry.info.key.device, entry.info.key.tensorrt, entry.info.built)


def _as_json(entry: Entry, machine: Machine | None) -> dict[str, Any]:
    """A plan as JSON."""
    from engines.schema import encode

    reason = _reason(entry, machine)
    return {"sidecar": entry.name, "fits": reason is None, "why": reason, "about": encode(entry.info)}


def _print_json(store: PlanStore, **fields: Any) -> None:
    click.echo(json.dumps({"schema": 1, "folder": str(store.folder), **fields}, indent=2, ensure_ascii=False))


def _print_table(entries: Sequence[Entry], machine: Machine | None) -> None:
    """Print one line per plan, or two or three if the terminal is too narrow."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 1000)
    table = _table(entries, machine, ", ")
    if console.measure(table, options=console.options.update(max_width=1000)).maximum > console.width:
        table = _table(entries, machine, "\n")
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _table(entries: Sequence[Entry], machine: Machine | None, join: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading, side in (("plan", "left"), ("built for", "left"), ("built", "left"), ("size", "right")):
        table.add_column(heading, justify=side, overflow="fold")  # type: ignore[arg-type]
    table.add_column("p50", justify="right", overflow="fold")
    table.add_column("fits", overflow="fold")
    for entry in entries:
        fits = "damaged" if entry.problem is not None else "yes" if _reason(entry, machine) is None else "no"
        table.add_row(*(Text(cell) for cell in (*_cells(entry, join), fits)))
    return table


def _cells(entry: Entry, join: str) -> tuple[str, ...]:
    """The cells of a row: plan, what it was built for, when, size, p50."""
    from engines.trt.sidecar import p50_seconds

    info = entry.info
    if info is None:
        return (f"{entry.name[:8]}….json", "", "", "", "")
    key = info.key
    versions = [f"TensorRT {key.tensorrt}", *([f"Jetson Linux {key.l4t}"] if key.l4t is not None else [])]
    p50 = f"{1e3 * p50_seconds(info):.3g} ms" if info.latency else ""
    built = info.built[:16].replace("T", " " if join != "\n" else "\n")
    plan = join.join((_short(info.bundle), f"{key.graph} {key.precision}"))
    return (plan, join.join(map(_short, (key.device, *versions))), built, size_text(info.size), p50)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _prune_command(plans: Path | None) -> str:
    return "ascstream engine prune" + (f" --plans {shlex.quote(str(plans))}" if plans is not None else "")
