"""One door to all data sets: by the kind of path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hiddenscape.data.arrays import NPY_ERRORS, ArrayDataset, array_dataset, plain_reason
from hiddenscape.data.dataset import Dataset
from hiddenscape.data.fasta import FASTA, fasta_dataset
from hiddenscape.data.hub import HUB, hub_dataset, is_saved, table_dataset
from hiddenscape.data.images import IMAGE_SUFFIXES, image_dataset
from hiddenscape.data.limits import LIMITS, Limits, kind_of
from hiddenscape.data.npz import npz_dataset
from hiddenscape.data.tables import COLUMNAR, TABLES
from hiddenscape.data.text import text_dataset
from hiddenscape.errors import InputError

__all__ = ["data_kind", "open_dataset"]

DIGITS_ROWS = 2160
DIGITS_SEED = 0
_KNOWN = f".txt, {', '.join(TABLES)}, {', '.join(FASTA)} (texts also .gz), .npy, .npz"


def data_kind(source: str | Path) -> str:
    """What :func:`open_dataset` takes a source for: ``digits``, ``hub``, ``images``, ``fasta``,
    ``text`` (one text per line), ``table``, ``columnar``, ``array`` or ``archive``.

    Raises
    ------
    InputError
        If the path does not exist or is of no known kind.
    """
    if str(source) == "digits":
        return "digits"
    if str(source).startswith(HUB):
        return "hub"
    path = Path(source).expanduser()
    if path.is_dir():
        return "hub" if is_saved(path) else "images"
    if not path.exists():
        raise InputError(
            f"{path}: no such file or folder; expected {_KNOWN}, a folder of images, a folder "
            "saved by datasets, 'hf:NAME', or 'digits'"
        )
    suffix = kind_of(path)
    kinds = {".npy": "array", ".npz": "archive", ".txt": "text"}
    kinds |= dict.fromkeys(TABLES, "table") | dict.fromkeys(COLUMNAR, "columnar")
    kinds |= dict.fromkeys(FASTA, "fasta")
    packed = path.suffix.lower() == ".gz"
    if suffix in kinds and not (packed and kinds[suffix] in ("array", "archive", "columnar")):
        return kinds[suffix]
    hint = "give the folder that holds it" if suffix in IMAGE_SUFFIXES else "convert it"
    raise InputError(
        f"{path}: unknown kind of file {path.suffix.lower()!r}, {hint}; expected {_KNOWN}"
    )


def open_dataset(
    source: str | Path,
    *,
    text: str = "text",
    label_columns: Sequence[str] | None = None,
    limit: int | None = None,
    limits: Limits = LIMITS,
    **options: Any,
) -> Dataset:
    """Open a data set by the kind of its path.

    Parameters
    ----------
    source : path or str
        ``.txt``, ``.jsonl``, ``.csv``, ``.tsv``, ``.parquet``, ``.arrow``: text
        (:func:`text_dataset`). ``.fasta``, ``.fa``, ``.faa``: sequences (:func:`fasta_dataset`).
        ``.npy``: one array. ``.npz``: the array called ``inputs``, ``x``, ``images`` or ``data``
        (or the only one with more than one axis), the one called ``ids``, and every other
        one-dimensional array of that length as a label column. A folder: images
        (:func:`image_dataset`), or what ``datasets`` saved. ``hf:NAME``: a data set of the Hugging
        Face hub (:func:`hub_dataset`). ``digits``: the embedded digits.
    text : str
        Column that holds the text, in files with columns.
    label_columns : sequence of str, optional
        Label columns to keep, as ``NAME``, ``NAME:text`` or ``NAME:number``; None keeps all.
    limit : int, optional
        Use the first rows only.
    limits : Limits
        Bounds on what a file may unpack to.
    **options
        Passed on to the function of the kind. All know ``label_map`` (a table with more labels,
        joined by row id) and ``missing``. ``labels`` may be the path of a ``.npy`` file, or of a
        table, which is a label map. ``input`` names the array of an ``.npz`` file, or the column
        of inputs.

    Raises
    ------
    InputError
        If the path does not exist or is of no known kind, or its content cannot be read.
    ConfigError
        If a column is missing.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    labels = options.get("labels")
    if isinstance(labels, str | Path):
        if Path(labels).suffix.lower() == ".npy":
            options["labels"] = array_file(Path(labels))
        else:
            options["label_map"] = options.pop("labels")
    kind = data_kind(source)
    common: dict[str, Any] = {
        "label_columns": label_columns, "limit": limit, "limits": limits, **options,
    }  # fmt: skip
    if kind == "digits":
        return _digits(**common)
    if kind == "hub":
        named = str(source).startswith(HUB)
        return hub_dataset(source if named else Path(source).expanduser(), text=text, **common)
    path = Path(source).expanduser()
    match kind:
        case "columnar":
            return table_dataset(path, text=text, **common)
        case "text" | "table":
            return text_dataset(path, text=text, **common)
        case "fasta":
            return fasta_dataset(path, **common)
        case "images":
            return image_dataset(path, **common)
        case "array":
            return array_dataset(path, **common)
        case _:
            return npz_dataset(path, **common)


def array_file(path: Path) -> np.ndarray:
    """One array of any dimension from a ``.npy`` file; nothing is unpickled."""
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except NPY_ERRORS as error:
        raise InputError(f"{path}: not a readable .npy file ({plain_reason(error)})") from error
    if not isinstance(found, np.ndarray):
        raise InputError(f"{path}: holds several arrays; expected one")
    return found


def _digits(
    *,
    seed: int = DIGITS_SEED,
    split: Literal["train", "test"] = "test",
    name: str = "digits",
    labels: Mapping[str, Any] | None = None,
    **more: Any,
) -> ArrayDataset:
    from hiddenscape.data.digits import nuisance_digits

    images, digits, drawing = nuisance_digits(DIGITS_ROWS, seed=seed, split=split)
    # ``drawing`` tells how much of the overlap of ``digit`` is one drawing finding itself again.
    columns = {"digit": digits, "drawing": drawing, **(labels or {})}
    return array_dataset(images, labels=columns, name=name, **more)
