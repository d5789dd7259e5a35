"""``hiddenscape demo``: the embedded default."""

from __future__ import annotations

from pathlib import Path

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb
from hiddenscape.cli.finish import finish
from hiddenscape.cli.progress import show_progress

_EXAMPLES = """
hiddenscape demo
hiddenscape demo --out runs/demo
"""


@click.command("demo", cls=Verb, examples=_EXAMPLES)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Run directory to write.",
)
@click.option("--strict", is_flag=True, help="Exit with 3 if the numbers come with warnings.")
def command(out: Path, strict: bool) -> int | None:
    """Measure the network inside the package, its untrained twin and its training checkpoints.

    A small image transformer, trained on handwritten digits without their labels, is run on test
    digits; nothing is trained and nothing is downloaded. Takes about a minute on two cores; run it
    again to go on after a stop. Prints the path of the report.
    """
    with show_progress() as progress:
        run = hs.demo(out, progress=progress)
    click.echo(run.path / "report.html")
    return finish(run, strict=strict)
