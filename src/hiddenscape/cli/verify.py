"""``hiddenscape verify``: is a store whole and unchanged."""

from __future__ import annotations

from pathlib import Path

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb
from hiddenscape.cli.exits import CHECKS_FAILED, FAILED

_EXAMPLES = """
hiddenscape verify runs/gpt2
hiddenscape verify runs/gpt2 --full
"""


@click.command("verify", cls=Verb, examples=_EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--full", is_flag=True, help="Read every byte: hashes, NaN and infinity.")
@click.option("--repair", is_flag=True, help="Move damaged files aside, to be made again.")
@click.option("--strict", is_flag=True, help="Exit with 3 at remarks that are not serious, too.")
def command(run: Path, full: bool, repair: bool, strict: bool) -> int | None:
    """Check that the stored points of RUN are complete and undamaged.

    Prints one line per finding: file, tab, what is wrong. Exits with 1 if numbers made from the
    store could be wrong or missing.
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
    return CHECKS_FAILED if strict and found.findings else None
