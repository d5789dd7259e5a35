"""``hiddenscape import``: points that were made elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb

_EXAMPLES = """
hiddenscape import layers.npz --out runs/mine
hiddenscape import folder/ --pattern "l{block}.npy" --labels labels.csv --out runs/mine
hiddenscape import a.npy b.npy c.npy --model resnet20 --data-name cifar10 --out runs/mine
"""


@click.command("import", cls=Verb, examples=_EXAMPLES)
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Run to make.")
@click.option("--pattern", help='Which files of a folder: "l{block}.npy" or "{site}.npy".')
@click.option("--key", "keys", multiple=True, help="Site to take, * allowed; all if not given.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="CSV with a column per label (id and text are taken as such), or .npy, in row order.",
)
@click.option("--model", help="Name of the network the points come from.")
@click.option("--data-name", help="Name of the data set the points come from.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "float64"]),
    default="auto",
    show_default=True,
    help="Numbers that are stored; auto changes none.",
)
@click.option("--flatten", is_flag=True, help="Make (n, a, b) into (n, a * b).")
@click.option("--shard-rows", type=click.IntRange(min=1), help="Rows per file of the store.")
@click.option("--overwrite", is_flag=True, help="Delete what is stored at --out first.")
def command(
    sources: tuple[Path, ...],
    out: Path,
    pattern: str | None,
    keys: tuple[str, ...],
    labels: Path | None,
    model: str | None,
    data_name: str | None,
    dtype: str,
    flatten: bool,
    shard_rows: int | None,
    overwrite: bool,
) -> None:
    """Make a run directory from arrays in SOURCES: .npy, .npz, .safetensors, .pt, or a folder.

    Each array (n, d) is a site; all need the same rows in the same order. Nothing is unpickled.
    Prints the run directory; remarks on what was found go to stderr.
    """
    found = hs.import_points(
        sources[0] if len(sources) == 1 else list(sources),
        out,
        pattern=pattern,
        keys=keys or None,
        labels=labels,
        model=model,
        dataset=data_name,
        dtype=dtype,
        flatten=flatten,
        shard_rows=shard_rows,
        overwrite=overwrite,
    )
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(found.path)
