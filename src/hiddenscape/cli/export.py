"""``hiddenscape export``: the points of a run for other programs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb
from hiddenscape.cli.progress import show_progress

_FORMATS = (
    "npy", "npz", "safetensors", "csv", "parquet", "zarr", "h5", "anndata", "xarray", "projector",
)  # fmt: skip
_EXAMPLES = """
hiddenscape export runs/gpt2 --format npz --out points
hiddenscape export runs/gpt2 --format anndata --sites "resid_post.*" --out for-scanpy
hiddenscape export runs/gpt2 --format csv --sites final_norm --rows 0:100,250 --out few
"""


@click.command("export", cls=Verb, examples=_EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "kind", type=click.Choice(_FORMATS), default="npz", show_default=True)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option("--sites", help="Sites by key, name or pattern, separated by commas; all by default.")
@click.option("--rows", help="Row numbers and ranges, such as 0:100,250; all by default.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export at --out.")
def command(
    run: Path, kind: str, out: Path, sites: str | None, rows: str | None, overwrite: bool
) -> None:
    """Write the points of RUN to a folder, with rows.csv and their origin (provenance.json).

    Row i of every array is line i of rows.csv. No value changes; rows with NaN are kept. Prints the
    folder.
    """
    with show_progress() as progress:
        made = hs.export_points(
            run,
            out,
            format=kind,
            sites=[name.strip() for name in sites.split(",")] if sites else None,
            rows=rows,
            overwrite=overwrite,
            progress=partial(progress, "export"),
        )
    click.echo(made)
