"""``hiddenscape extract``: the torch half alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb
from hiddenscape.cli.exits import PARTIAL
from hiddenscape.cli.finish import say
from hiddenscape.cli.options import build_spec, spec_options
from hiddenscape.cli.progress import show_progress

_EXAMPLES = """
hiddenscape extract --network gpt2 --data sentences.txt --out runs/gpt2
hiddenscape extract --network gpt2 --data sentences.txt --out runs/gpt2 --dry-run
hiddenscape extract --network ./checkpoint --data rows.csv --text prompt --labels topic --out runs/a
hiddenscape extract run.toml --shard 0/4
hiddenscape extract run.toml --sites mlp_act.* --add mlp
"""


@click.command("extract", cls=Verb, examples=_EXAMPLES)
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@spec_options("network", "data", "extraction", "out")
@click.option("--dry-run", is_flag=True, help="Show the plan and its cost; do nothing.")
@click.option("--overwrite", is_flag=True, help="Delete what is stored at --out first.")
@click.option(
    "--shard",
    metavar="I/N",
    help="Only share I of N, 0 to N - 1; auto: from the variables of SLURM or torchrun.",
)
@click.option(
    "--add",
    metavar="NAME",
    help="Add the sites to the run that is at --out already, as acts.NAME.",
)
@click.option("--strict", is_flag=True, help="Refuse to go on with other versions or devices.")
@click.option("--clean", is_flag=True, help="Remove what dead writers on other machines left.")
def command(
    file: str | None,
    dry_run: bool,
    overwrite: bool,
    shard: str | None,
    add: str | None,
    strict: bool,
    clean: bool,
    **flags: Any,
) -> int | None:
    """Write the hidden representations of a network to a run directory.

    FILE is a run file as for `hiddenscape run`. An interrupted extraction goes on where it stopped.
    With --shard several processes fill one store; exit code 4 says that other shares are missing.
    Prints the run directory.
    """
    spec = build_spec(file, flags)
    if dry_run:
        click.echo(hs.run(spec, until="extract", dry_run=True))
        return None
    if shard is not None and overwrite:
        raise click.UsageError("--overwrite with --shard would delete what other shares have done")
    if add is not None:
        if shard is not None or overwrite:
            raise click.UsageError("--add goes neither with --shard nor with --overwrite")
        with show_progress() as progress:
            hs.add_sites(spec, add, progress=progress)
        click.echo(spec.out)
        return None
    with show_progress() as progress:
        run = hs.run(
            spec,
            until="extract",
            overwrite=overwrite,
            shard=shard,
            strict=strict,
            clean=clean,
            progress=progress,
            tell=say,
        )
    click.echo(run.path)
    if unfinished := run.unfinished:
        where = ", ".join(str(run.path) if name == "." else name for name in unfinished)
        say(f"this share is done; files of other shares are missing in {where}")
        return PARTIAL
    for line in _remarks(run.representations):
        say(f"warning: {line}")
    return None


def _remarks(found: hs.RepresentationSet) -> list[str]:
    """What is not among the points though it was asked for: rows without values, sites."""
    words = ("ok", "empty", "skipped", "failed")
    counts = Counter(int(code) for code in found.status)
    lines = []
    if told := ", ".join(f"{counts[i]} {w}" for i, w in enumerate(words) if i and counts[i]):
        lines.append(f"{told} of {len(found.status)} rows: see the column status of rows.csv")
    return [*lines, *found.not_offered()]
