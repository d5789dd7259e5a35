"""``hiddenscape neighbors``: the lists behind the numbers, for looking at."""

from __future__ import annotations

import csv
import sys
from functools import partial
from pathlib import Path

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb
from hiddenscape.cli.progress import show_progress

_EXAMPLES = """
hiddenscape neighbors runs/gpt2 --site resid_post.5 -k 5
hiddenscape neighbors runs/gpt2 --site resid_post.5 -k 10 --row 12 --row 40
hiddenscape neighbors runs/angles --metric periodic --period 360
"""


def _numbers(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> float | list[float] | None:
    if value is None:
        return None
    try:
        numbers = [float(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of numbers such as 360 or 1,inf") from None
    return numbers if len(numbers) > 1 else numbers[0]


@click.command("neighbors", cls=Verb, examples=_EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--site", "sites", multiple=True, help="Site to search at; all if not given.")
@click.option(
    "-k", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbors per row."
)
@click.option(
    "--metric",
    type=click.Choice(hs.METRICS),
    default="euclidean",
    show_default=True,
    help="Distance to search in.",
)
@click.option(
    "--period",
    callback=_numbers,
    metavar="NUMBERS",
    help="Period of the columns, for the metric periodic: one number, or one per column separated "
    "by commas (inf where a column does not repeat).",
)
@click.option(
    "--precision",
    default="auto",
    show_default=True,
    help="First arithmetic: bfloat16, bfloat16x3, float32 or float64. Changes time alone.",
)
@click.option("--memory", help="Working memory of a search, such as 500MB or 2GB.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--row", "rows", multiple=True, type=int, help="Show these rows only.")
def command(
    run: Path,
    sites: tuple[str, ...],
    k: int,
    metric: str,
    period: float | list[float] | None,
    precision: str,
    memory: str | None,
    device: str,
    rows: tuple[int, ...],
) -> None:
    """Print the nearest neighbors of every row of RUN as CSV: exact, nearest first.

    The row itself is never among its neighbors; ties are in the order of row numbers.
    """
    points = hs.open_run(run).representations
    wanted = [points.find(site) for site in sites] or [site.key for site in points.point_sites]
    if outside := [row for row in rows if not 0 <= row < len(points)]:
        raise click.UsageError(f"row {outside[0]} is not among 0 to {len(points) - 1}")
    ids = points.ids
    writer = csv.writer(sys.stdout, lineterminator="\n")
    header = ["site", "row", "id", "rank", "neighbor", "neighbor_id", "distance"]
    for key in wanted:
        with show_progress() as progress:
            graph = hs.find_neighbors(
                points.points(key),
                k=k,
                metric=metric,
                period=period,
                precision=precision,
                memory=memory,
                device=device,
                progress=partial(progress, key),
            )
        if header:  # a search that fails prints nothing
            writer.writerow(header)
            header = []
        for row in rows or range(graph.n):
            pairs = zip(graph.indices[row].tolist(), graph.distances[row].tolist(), strict=True)
            for rank, (other, distance) in enumerate(pairs, start=1):
                writer.writerow([key, row, ids[row], rank, other, ids[other], repr(distance)])
