"""One door to all data sets: by the kind of path."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from hiddenscape.data.arrays import ArrayDataset, array_dataset, plain_reason
from hiddenscape.data.dataset import Dataset
from hiddenscape.data.images import IMAGE_SUFFIXES, ImageDataset, image_dataset
from hiddenscape.data.text import text_dataset
from hiddenscape.errors import InputError

__all__ = ["open_dataset"]

_TEXT = (".txt", ".jsonl", ".ndjson", ".csv", ".tsv")
_INPUT_NAMES = ("inputs", "x", "X", "images", "data", "input_ids")
DIGITS_ROWS = 2160
DIGITS_SEED = 0


def open_dataset(
    source: str | Path,
    *,
    text: str = "text",
    label_columns: Sequence[str] | None = None,
    limit: int | None = None,
    **options: Any,
) -> Dataset:
    """Open a data set by the kind of its path.

    Parameters
    ----------
    source : path or str
        ``.txt``, ``.jsonl``, ``.csv``, ``.tsv``: text (:func:`text_dataset`). ``.npy``: one array.
        ``.npz``: the array called ``inputs``, ``x``, ``images`` or ``data`` (or the only one with
        more than one axis), the one called ``ids``, and every other one-dimensional array of that
        length as a label column. A folder: images (:func:`image_dataset`). ``digits``: the
        embedded digits.
    text : str
        Column that holds the text, in files with columns.
    label_columns : sequence of str, optional
        Label columns to keep; None keeps all there are.
    limit : int, optional
        Use the first rows only.
    **options
        Passed on to the function of the kind; for ``.npz`` files ``input`` names the array.
        ``labels`` may be the path of a ``.npy`` file.

    Raises
    ------
    InputError
        If the path does not exist or is of no known kind, its content cannot be read, or a label
        column is missing.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    labels = options.get("labels")
    if isinstance(labels, str | Path):
        options["labels"] = array_file(Path(labels))
    if str(source) == "digits":
        return _chosen(_digits(limit=limit, **options), label_columns)
    path = Path(source).expanduser()
    if not path.exists():
        raise InputError(
            f"{path}: no such file or folder; expected text ({', '.join(_TEXT)}), .npy, .npz, a "
            "folder of images, or 'digits'"
        )
    suffix = path.suffix.lower()
    if path.is_dir():
        return _chosen(image_dataset(path, limit=limit, **options), label_columns)
    if suffix in _TEXT:
        return text_dataset(path, text=text, label_columns=label_columns, limit=limit, **options)
    if suffix == ".npy":
        return _chosen(array_dataset(path, limit=limit, **options), label_columns)
    if suffix == ".npz":
        return _chosen(_npz(path, limit=limit, **options), label_columns)
    hint = "give the folder that holds it" if suffix in IMAGE_SUFFIXES else "convert it"
    raise InputError(
        f"{path}: unknown kind of file {suffix!r}, {hint}; expected {', '.join(_TEXT)}, .npy or "
        ".npz"
    )


_Kind = TypeVar("_Kind", ArrayDataset, ImageDataset)


def _chosen(dataset: _Kind, columns: Sequence[str] | None) -> _Kind:
    """The same rows with some of the label columns."""
    if columns is None:
        return dataset
    for column in columns:
        if column not in dataset.labels:
            has = ", ".join(dataset.labels) or "none"
            raise InputError(f"{dataset.name}: no label column {column!r}; it has {has}")
    return replace(dataset, labels={c: dataset.labels[c] for c in columns})


def array_file(path: Path) -> np.ndarray:
    """One array of any dimension from a ``.npy`` file; nothing is unpickled."""
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: not a readable .npy file ({plain_reason(error)})") from error
    if not isinstance(found, np.ndarray):
        raise InputError(f"{path}: holds several arrays; expected one")
    return found


def _npz(
    path: Path,
    *,
    input: str | None = None,
    labels: Mapping[str, Any] | Sequence[Any] | np.ndarray | None = None,
    ids: Sequence[object] | None = None,
    name: str | None = None,
    limit: int | None = None,
) -> ArrayDataset:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile) as error:
        reason = plain_reason(error)
        raise InputError(f"{path}: not a readable .npz file of plain arrays ({reason})") from error
    candidates = [n for n in _INPUT_NAMES if n in arrays]
    if input is None:
        deep = [n for n, a in arrays.items() if a.ndim > 1]
        candidates = candidates or deep
        if len(candidates) != 1 and not (candidates and candidates[0] in _INPUT_NAMES):
            raise InputError(
                f"{path}: cannot tell which array holds the inputs among {', '.join(arrays)}; "
                "name it with input="
            )
        input = candidates[0]
    if input not in arrays:
        raise InputError(f"{path}: no array {input!r}; it has {', '.join(arrays)}")
    rows = len(arrays[input])
    if ids is None and "ids" in arrays:
        ids = arrays["ids"].tolist()
    columns: dict[str, Any] = {
        n: a for n, a in arrays.items() if n not in (input, "ids") and a.shape == (rows,)
    }
    if labels is not None:
        columns |= labels if isinstance(labels, Mapping) else {"label": labels}
    return array_dataset(
        arrays[input], labels=columns, ids=ids, name=name or path.stem, limit=limit
    )


def _digits(
    *,
    limit: int | None = None,
    seed: int = DIGITS_SEED,
    split: Literal["train", "test"] = "test",
    name: str = "digits",
) -> ArrayDataset:
    from hiddenscape.data.digits import nuisance_digits

    images, labels, digit = nuisance_digits(DIGITS_ROWS, seed=seed, split=split)
    # ``drawing`` tells how much of the overlap of ``digit`` is one drawing finding itself again.
    columns = {"digit": labels, "drawing": digit}
    return array_dataset(images, labels=columns, name=name, limit=limit)
