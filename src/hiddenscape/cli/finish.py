"""How a verb ends: the warnings of a run on stderr, and exit code 3 under ``--strict``."""

from __future__ import annotations

import math

import click

import hiddenscape as hs
from hiddenscape.cli.exits import CHECKS_FAILED

__all__ = ["finish", "say"]


def say(line: str) -> None:
    """A sentence for the user, on stderr."""
    click.echo(line, err=True)


def finish(run: hs.Run, *, strict: bool) -> int | None:
    """Show what the reader of the numbers must know; :data:`CHECKS_FAILED` if it is anything."""
    warnings = list(run.measured.get("warnings", []))
    undefined = [row for row in run.table if math.isnan(row.value)]
    if undefined:
        first = undefined[0]
        warnings.append(
            f"{len(undefined)} numbers are undefined, the first {first.analysis} at {first.site}: "
            f"{first.note}"
        )
    # These were told when they happened; they count all the same.
    missing = run.missing
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    return CHECKS_FAILED if strict and (warnings or missing) else None
