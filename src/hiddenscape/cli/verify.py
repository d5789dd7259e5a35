"""``hiddenscape verify``: is a store whole and unchanged."""

from __future__ import annotations

from pathlib import Path

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb
from hiddenscape.cli.exits import CHECKS_FAILED, FAILED
from hiddenscape.cli.progress import show_progress

_EXAMPLES = """
hiddenscape verify runs/gpt2
hiddenscape verify runs/gpt2 --full
hiddenscape verify runs/gpt2 --deep 32
"""


@click.command("verify", cls=Verb, examples=_EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--full", is_flag=True, help="Read every byte: hashes, NaN and infinity.")
@click.option(
    "--deep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run N rows through the network again, each alone, and compare.",
)
@click.option("--repair", is_flag=True, help="Move damaged files aside, to be made again.")
@click.option("--strict", is_flag=True, help="Exit with 3 at remarks that are not serious, too.")
def command(run: Path, full: bool, deep: int | None, repair: bool, strict: bool) -> int | None:
    """Check that the stored points of RUN are complete and undamaged.

    Prints one line per finding: file, tab, what is wrong. Exits with 1 if numbers made from the
    store could be wrong or missing, or if rows computed again differ by more than rounding.
    """
    found = hs.verify(run, full=full, repair=repair)
    for finding in found.findings:
        click.echo(f"{finding.file}\t{finding.problem}")
    for site, rows in (found.nonfinite or {}).items():
        if rows:
            click.echo(f"{site}\t{rows} rows hold NaN or infinity")
    word = "good" if found.ok else "NOT good"
    click.echo(f"{run}: {word}, {found.shards} files with {found.rows} rows", err=True)
    if not found.ok:
        return FAILED
    if deep is not None and _drifted(run, deep):
        return FAILED
    return CHECKS_FAILED if strict and found.findings else None


def _drifted(run: Path, rows: int) -> bool:
    """Show what computing rows again gives; whether it is more than rounding."""
    with show_progress() as progress:
        drift = hs.recompute_run(run, rows=rows, progress=progress)
    for line in drift.changed:
        click.echo(f"remark: {line}", err=True)
    click.echo("site\trelative difference\tfirst neighbours kept")
    for key, gap in drift.relative.items():
        kept = drift.neighbors.get(key)
        click.echo(f"{key}\t{gap:.3g}\t{'' if kept is None else format(kept, '.3g')}")
    if drift.within_rounding:
        return False
    key, gap = drift.worst
    click.echo(
        f"{run}: NOT good, {key} differs by {gap:.3g} when computed again (rounding explains "
        f"{drift.limit:.3g}): the network, the data or the machine changed, or the store is wrong",
        err=True,
    )
    return True
