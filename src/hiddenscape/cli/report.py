"""``hiddenscape report``: the page of a run."""

from __future__ import annotations

from pathlib import Path

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb

_EXAMPLES = """
hiddenscape report runs/gpt2
hiddenscape report runs/gpt2 --null runs/gpt2-untrained --title "GPT-2 on sentences"
"""


@click.command("report", cls=Verb, examples=_EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Where to write the page.")
@click.option(
    "--null",
    type=click.Path(path_type=Path),
    help="Run to compare with; by default the untrained twin of RUN, if it has one.",
)
@click.option("--title", help="Title of the page.")
def command(run: Path, out: Path | None, null: Path | None, title: str | None) -> None:
    """Write the report of RUN: one HTML file that needs no network, and figures as PNG and SVG.

    Needs no stored points: a run without acts/ is enough. Prints the path of the page.
    """
    opened = hs.open_run(run)
    other = hs.open_run(null) if null else None
    click.echo(hs.report(opened, out=out, null=other, title=title))
