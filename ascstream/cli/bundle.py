"""`ascstream bundle`: list bundles, show one, verify its integrity, compare two.

The output for one bundle is produced in `bundle_text.py`, for two in `bundle_compare.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ascstream.cli.exits import BUNDLE, OK
from ascstream.cli.options import Commands, Number, Subcommand, complete_bundle
from ascstream.wording import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines.bundle import Bundle

_EPILOG = """\b
Examples:
  ascstream bundle list
  ascstream bundle info slim-audio
  ascstream bundle info bundles/mine --card > CARD.md
  ascstream bundle verify bundles/mine
  ascstream bundle compare slim-audio bundles/mine --on clip.mp4"""


@click.group("bundle", cls=Commands, epilog=_EPILOG, short_help="List, show, verify and compare bundles.")
def command() -> None:
    """List, show, verify and compare bundles.

    A bundle is a folder that holds a trained classifier: its graphs, how their inputs are prepared and what their
    outputs mean. BUNDLE is the name of a bundle that ships with ascstream, or a folder.
    """


@command.command("list", cls=Subcommand)
@click.option(
    "--in",
    "folders",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    metavar="FOLDER",
    help="Also list the bundles in this folder. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_list(folders: tuple[Path, ...], as_json: bool) -> int:
    """List the bundles that ship with ascstream, and those in given folders."""
    from ascstream.bundles import DEFAULT, shipped
    from ascstream.cli.bundle_text import columns, list_row
    from engines.bundle import MANIFEST_NAME, open_bundle
    from engines.errors import EngineError

    paths = list(shipped().values())
    for folder in folders:
        paths += [place.parent for place in sorted(folder.glob(f"*/{MANIFEST_NAME}"))]
    entries: list[dict[str, Any]] = []
    failures: list[str] = []
    for path in paths:
        try:
            entries.append(list_row(open_bundle(path), is_default=path == shipped().get(DEFAULT)))
        except EngineError as error:
            failures.append(str(error))
    if as_json:
        click.echo(json.dumps({"schema": 1, "bundles": entries, "broken": failures}, indent=2, ensure_ascii=False))
    else:
        for line in columns(entries):
            click.echo(line)
        for failure in failures:
            click.echo(f"ascstream: {failure}", err=True)
    return BUNDLE if failures else OK


@command.command("info", cls=Subcommand)
@click.argument("bundle", required=False, shell_complete=complete_bundle)
@click.option("--card", is_flag=True, help="Print only the model card, as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def show_info(bundle: str | None, card: bool, as_json: bool) -> None:
    """Show a bundle's manifest and its model card. Without BUNDLE, show the default one."""
    from ascstream.cli.bundle_text import card_of, describe, print_card

    if card and as_json:
        raise click.UsageError("expected --card or --json, got both; leave one of them out")
    opened = _open(bundle)
    text = card_of(opened)
    if card:
        from engines.errors import BundleError

        if text is None:
            raise BundleError(f"{opened.path}: expected a bundle with a model card, got one without")
        click.echo(text, nl=not text.endswith("\n"))
        return
    if as_json:
        report = {"schema": 1, "path": str(opened.path), "manifest": json.loads(opened.manifest.to_json())}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    for line in describe(opened):
        click.echo(line)
    if text is not None:
        print_card(text)


@command.command("verify", cls=Subcommand)
@click.argument("bundles", nargs=-1, metavar="[BUNDLE]...", shell_complete=complete_bundle)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify_bundles(bundles: tuple[str, ...], as_json: bool) -> int:
    """Check that bundles are undamaged and still give their stored answers. Without BUNDLE, check all that ship.

    Every file is compared with its hash. Every graph is run on the bundle's golden cases in each precision, on ONNX
    Runtime, and compared with the answers stored with them. Exit code 4 if a check fails.
    """
    from ascstream.bundles import shipped

    reports: list[dict[str, Any]] = []
    for name in bundles or tuple(shipped()):
        checks: list[dict[str, Any]] = []
        for check in _checks(name):
            checks.append(check)
            if not as_json:
                click.echo(f"{'ok' if check['ok'] else 'failed':6}  {name}  {check['check']}: {check['message']}")
        reports.append({"bundle": name, "ok": all(check["ok"] for check in checks), "checks": checks})
    whole = all(report["ok"] for report in reports)
    if as_json:
        click.echo(json.dumps({"schema": 1, "ok": whole, "bundles": reports}, indent=2, ensure_ascii=False))
    return OK if whole else BUNDLE


@command.command(
    "compare", cls=Subcommand, short_help="Compare what two bundles perceive and predict, their size and speed."
)
@click.argument("first", metavar="A", shell_complete=complete_bundle)
@click.argument("second", metavar="B", shell_complete=complete_bundle)
@click.option(
    "--on", "inputs", multiple=True, metavar="FILE", help="Also compare their predictions on this. May be repeated."
)
@click.option(
    "--step",
    type=Number("a duration in seconds, above 0", above=0, maximum=3600),
    metavar="SECONDS",
    help="Time between two predictions of --on.  [default: the shorter of the two bundles']",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare_bundles(first: str, second: str, inputs: tuple[str, ...], step: float | None, as_json: bool) -> int:
    """Compare two bundles: their modalities, scenes, size and speed, and their predictions on media.

    Times are of single calls on ONNX Runtime with one thread, alternating between the bundles, without feature
    extraction. Predictions are made with each bundle's own smoothing and thresholds; Δp compares single windows'
    calibrated probabilities over the scenes that both know.
    """
    if step is not None and not inputs:
        raise click.UsageError("--step: expected --on FILE with it, got none")
    from ascstream.cli.bundle_compare import answers_on, print_comparison, side_by_side

    pair = _open(first), _open(second)
    report: dict[str, Any] = {"schema": 1, **side_by_side(*pair)}
    if inputs:
        report["answers"] = answers_on(*pair, inputs, step)
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print_comparison(report)
    return max((answer["exit_code"] for answer in report.get("answers", [])), default=OK)


def _open(name: str | None) -> Bundle:
    """Open the bundle with that name or in that folder."""
    from ascstream.bundles import find_bundle
    from engines.bundle import open_bundle

    return open_bundle(find_bundle(name))


def _checks(name: str) -> Iterator[dict[str, Any]]:
    """Check one bundle, yielding each check and its result; graphs are not run if the files are not intact."""
    from engines.backends import REFERENCE_BACKEND, load_engines
    from engines.bundle import verify
    from engines.check import check_parity, require_parity
    from engines.errors import EngineError

    try:
        bundle = _open(name)
        verify(bundle)
    except EngineError as error:
        yield {"check": "files", "ok": False, "message": str(error)}
        return
    sizes = [entry.size for entry in bundle.manifest.files.values()]
    yield {"check": "files", "ok": True, "message": f"{len(sizes)}, {size_text(sum(sizes))}, as hashed"}
    for precision in bundle.manifest.graphs[0].files:
        try:
            with load_engines(bundle, backend=REFERENCE_BACKEND, precision=precision) as engines:
                report = require_parity(check_parity(bundle, engines))
        except EngineError as error:
            yield {"check": precision, "ok": False, "message": str(error)}
            continue
        worst = max(report.outputs, key=lambda entry: (entry.max_difference or 0) / entry.tolerance)
        yield {
            "check": precision,
            "ok": True,
            "message": f"{report.n_cases} golden cases, at most {worst.max_difference:.2g} of {worst.tolerance:.2g} "
            f"off in {worst.output}",
        }
