"""``hiddenscape cite``: BibTeX of what a run used."""

from __future__ import annotations

from pathlib import Path

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb

_EXAMPLES = """
hiddenscape cite runs/gpt2 > references.bib
hiddenscape cite
"""


@click.command("cite", cls=Verb, examples=_EXAMPLES)
@click.argument("run", required=False, type=click.Path(path_type=Path))
def command(run: Path | None) -> None:
    """Print BibTeX for the methods and data that RUN used, or all that hiddenscape knows."""
    click.echo(hs.cite(None if run is None else hs.open_run(run)), nl=False)
