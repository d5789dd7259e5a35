"""``hiddenscape extract``: the torch half alone."""

from __future__ import annotations

from typing import Any

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb
from hiddenscape.cli.finish import say
from hiddenscape.cli.options import build_spec, spec_options
from hiddenscape.cli.progress import show_progress

_EXAMPLES = """
hiddenscape extract --network gpt2 --data sentences.txt --out runs/gpt2
hiddenscape extract --network gpt2 --data sentences.txt --out runs/gpt2 --dry-run
hiddenscape extract --network ./checkpoint --data rows.csv --text prompt --labels topic --out runs/a
"""


@click.command("extract", cls=Verb, examples=_EXAMPLES)
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@spec_options("network", "data", "extraction", "out")
@click.option("--dry-run", is_flag=True, help="Show the plan and its cost; do nothing.")
@click.option("--overwrite", is_flag=True, help="Delete what is stored at --out first.")
def command(file: str | None, dry_run: bool, overwrite: bool, **flags: Any) -> None:
    """Write the hidden representations of a network to a run directory.

    FILE is a run file as for `hiddenscape run`. An interrupted extraction goes on where it stopped.
    Prints the run directory.
    """
    spec = build_spec(file, flags)
    if dry_run:
        click.echo(hs.run(spec, until="extract", dry_run=True))
        return
    with show_progress() as progress:
        run = hs.run(spec, until="extract", overwrite=overwrite, progress=progress, tell=say)
    click.echo(run.path)
