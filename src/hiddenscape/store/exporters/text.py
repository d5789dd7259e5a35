"""Exports as text: CSV, and the tables that the embedding projector reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.store.exporters.progress import Ticker
from hiddenscape.store.exporters.selection import Field, Selection

__all__ = ["write_csv", "write_projector"]


def _put_table(path: Path, field: Field, separator: str, header: bool, ticker: Ticker) -> None:
    width = int(np.prod(field.shape[1:]))
    with path.open("w", encoding="ascii", newline="\n") as stream:
        if header:
            stream.write(separator.join(f"u{i}" for i in range(width)) + "\n")
        for block in ticker.blocks(field):
            # As Python floats: every digit, so that no second rounding happens on reading.
            for row in block.reshape(len(block), -1).astype(np.float64).tolist():
                stream.write(separator.join(map(repr, row)) + "\n")


def write_csv(
    folder: Path, selection: Selection, record: Mapping[str, Any], ticker: Ticker
) -> dict[str, str]:
    """One file per site: a header line u0, u1, ... and a line per row."""
    places = {f.name: f"{f.stem}.csv" for f in selection.points}
    for field in selection.points:
        _put_table(folder / places[field.name], field, ",", True, ticker)
    return places


def write_projector(
    folder: Path, selection: Selection, record: Mapping[str, Any], ticker: Ticker
) -> dict[str, str]:
    """``SITE.tsv`` without a header, and ``metadata.tsv`` with one."""
    places = {f.name: f"{f.stem}.tsv" for f in selection.points}
    for field in selection.points:
        _put_table(folder / places[field.name], field, "\t", False, ticker)
    table = selection.table()
    # The projector takes a single column for one without a header: there are always two here.
    columns = {"row": table.pop("row"), "id": table.pop("id", selection.rs.ids)} | table
    if selection.rows is not None and len(columns["id"]) != selection.n_rows:
        columns["id"] = columns["id"][selection.rows]
    with (folder / "metadata.tsv").open("w", encoding="utf-8", newline="\n") as stream:
        stream.write("\t".join(map(_cell, columns)) + "\n")
        for row in zip(*(values.tolist() for values in columns.values()), strict=True):
            stream.write("\t".join(map(_cell, row)) + "\n")
    return places


def _cell(value: Any) -> str:
    return " ".join(str(value).encode("utf-8", "replace").decode().split())
