"""``hiddenscape measure``: the geometry of every site."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb
from hiddenscape.cli.finish import finish
from hiddenscape.cli.options import build_spec, spec_options
from hiddenscape.cli.progress import show_progress

_EXAMPLES = """
hiddenscape measure runs/gpt2
hiddenscape measure runs/gpt2 --analyses two_nn,gride --max-rank 64
hiddenscape measure runs/gpt2 --analyses default,dimension --dimension-k 10,20,40 --subsets 2,4
hiddenscape measure runs/gpt2 --analyses peaks --z 2.5 --density-rank 32
hiddenscape measure runs/gpt2 --table > numbers.csv
"""


@click.command("measure", cls=Verb, examples=_EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@spec_options("measure")
@click.option("--table", is_flag=True, help="Print every number of the run as CSV.")
@click.option("--strict", is_flag=True, help="Exit with 3 if the numbers come with warnings.")
def command(run: Path, table: bool, strict: bool, **flags: Any) -> int | None:
    """Measure the geometry of every site of RUN, and of its untrained twin if it has one.

    What is already measured with the same settings is kept. Prints the TwoNN dimension of every
    site as CSV, or every number if that was not asked for; all numbers lie in RUN/results.
    """
    spec = build_spec(None, flags)
    opened = hs.open_run(run)
    null = [opened.null] if opened.null else []
    with show_progress() as progress:
        # The twin first: the reading of the profile compares with it.
        for part in (*null, opened):
            name = "measure twin" if part is not opened else "measure"
            hs.measure(part, progress=partial(progress, name), **spec.arguments("measure"))
    rows = opened.table
    profile = rows.select(quantity="dimension", analysis="two_nn").sorted_by("depth")
    click.echo((rows if table or not len(profile) else profile).to_csv(), nl=False)
    return finish(opened, strict=strict)
