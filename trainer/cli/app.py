"""The `trainer` command group: its subcommands and the text of `trainer --help`."""

from __future__ import annotations

import click

from ascstream import __version__
from trainer.cli.build_engine import build_engine
from trainer.cli.evaluate import evaluate
from trainer.cli.export import export
from trainer.cli.fetch import fetch
from trainer.cli.fit import fit
from trainer.cli.fuse import fuse
from trainer.cli.import_ import import_
from trainer.cli.models import models
from trainer.cli.prepare import prepare
from trainer.cli.synth import synth

_EPILOG = """\b
From recordings to a bundle:
  trainer prepare CORPUS FOLDER/tau --config configs/slim_av.toml
  trainer fit configs/slim_av.toml --data FOLDER
  trainer export runs/slim-av --data FOLDER --out bundles/slim-av
  trainer build-engine bundles/slim-av --fp16

\b
Exit codes: 0 done · 1 run-time · 2 a configuration or argument · 3 recordings or a run · 4 a bundle, an engine, or a
package that is not installed · 130 stopped with Ctrl-C, 143 with SIGTERM, 129 with SIGHUP (go on with fit's --resume;
fetch and prepare go on by themselves)."""


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="trainer", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def app(debug: bool) -> None:
    """Train scene classifiers from recordings, and export them as bundles."""


for command in (build_engine, evaluate, export, fetch, fit, fuse, import_, models, prepare, synth):
    app.add_command(command)
