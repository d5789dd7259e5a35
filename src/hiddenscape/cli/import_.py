"""``hiddenscape import``: points that were made elsewhere."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb
from hiddenscape.cli.progress import show_progress

_EXAMPLES = """
hiddenscape import layers.npz --out runs/mine
hiddenscape import folder/ --pattern "l{block}.npy" --labels labels.csv --out runs/mine
hiddenscape import a.npy b.npy c.npy --model resnet20 --data-name cifar10 --out runs/mine
hiddenscape import acts.h5 --dataset "/layers/{block}" --out runs/mine
hiddenscape import esm_out/ --layout fair-esm --order seqs.fasta --tokens skip --out runs/esm
"""


@click.command("import", cls=Verb, examples=_EXAMPLES)
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Run to make.")
@click.option("--pattern", help='Which files of a folder: "l{block}.npy" or "{site}.npy".')
@click.option("--key", "keys", multiple=True, help="Site to take, * allowed; all if not given.")
@click.option("--dataset", "within", help='Arrays in .h5 or .zarr: "/path" or "/path/{block}".')
@click.option(
    "--layout",
    type=click.Choice(["plain", "fair-esm", "doimo24"]),
    default="plain",
    show_default=True,
    help="Folders of a known kind: .pt per sequence, or l{layer}_target.pt.",
)
@click.option(
    "--order", type=click.Path(path_type=Path), help="fair-esm: FASTA or list of labels, row order."
)
@click.option(
    "--tokens",
    type=click.Choice(["ragged", "mean", "skip"]),
    default="ragged",
    show_default=True,
    help="fair-esm: what becomes of points per residue.",
)
@click.option("--blocks", type=click.IntRange(min=1), help="doimo24: blocks of the network.")
@click.option("--densify", is_flag=True, help="Store sparse matrices with all their zeros.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="CSV with a column per label (id and text are taken as such), .json or .npy, row order.",
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
    within: str | None,
    layout: str,
    order: Path | None,
    tokens: str,
    blocks: int | None,
    densify: bool,
    labels: Path | None,
    model: str | None,
    data_name: str | None,
    dtype: str,
    flatten: bool,
    shard_rows: int | None,
    overwrite: bool,
) -> None:
    """Make a run directory from arrays in SOURCES.

    SOURCES are .npy, .npz, .safetensors, .pt, .h5, .h5ad, .zarr, .csv, .txt, or a folder. Each
    array (n, d) is a site; all need the same rows in the same order. Nothing is unpickled. Prints
    the run directory; remarks on what was found go to stderr.
    """
    with show_progress() as progress:
        found = hs.import_points(
            sources[0] if len(sources) == 1 else list(sources),
            out,
            pattern=pattern,
            keys=keys or None,
            within=within,
            layout=layout,
            order=order,
            tokens=tokens,
            blocks=blocks,
            densify=densify,
            labels=labels,
            model=model,
            dataset=data_name,
            dtype=dtype,
            flatten=flatten,
            shard_rows=shard_rows,
            overwrite=overwrite,
            progress=partial(progress, "import"),
        )
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(found.path)
