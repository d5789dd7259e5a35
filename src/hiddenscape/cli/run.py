"""``hiddenscape run``: everything, from one file."""

from __future__ import annotations

from typing import Any

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb
from hiddenscape.cli.finish import finish, say
from hiddenscape.cli.options import build_spec, spec_options
from hiddenscape.cli.progress import show_progress
from hiddenscape.spec import GROUPS

_EXAMPLES = """
hiddenscape run run.toml
hiddenscape run run.toml --limit 500 --out runs/try
hiddenscape run --network gpt2 --data sentences.txt --untrained-twin --out runs/gpt2
hiddenscape run --network demo --data digits --out runs/digits
hiddenscape run --checkpoints training/ --data sentences.txt --out runs/training
hiddenscape run --network org/name --revision step1000,step2000 --data s.txt --out runs/hub
hiddenscape run --network ./base --adapter ./lora --with-base --data s.txt --out runs/tuned
"""


@click.command("run", cls=Verb, examples=_EXAMPLES)
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@spec_options(*GROUPS)
@click.option("--dry-run", is_flag=True, help="Show the plan and its cost; do nothing.")
@click.option("--overwrite", is_flag=True, help="Delete what is stored at --out first.")
@click.option("--strict", is_flag=True, help="Exit with 3 if the numbers come with warnings.")
def command(
    file: str | None, dry_run: bool, overwrite: bool, strict: bool, **flags: Any
) -> int | None:
    """From a network and a data set to a report: extract, measure, report.

    Several checkpoints or revisions are states of one training: each is run on the same data, and
    the report lays them side by side.

    FILE is a run file (TOML); its keys are the options below, written with underscores. Flags win
    over the file. Run the same command again to go on after a stop: what is finished is kept.
    Prints the path of the report.
    """
    spec = build_spec(file, flags)
    if dry_run:
        click.echo(hs.run(spec, dry_run=True))
        return None
    with show_progress() as progress:
        run = hs.run(spec, overwrite=overwrite, strict=strict, progress=progress, tell=say)
    click.echo(run.path / "report.html")
    return finish(run, strict=strict)
