"""Text as data sets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.data.dataset import Span, check_ids, check_labels, identify
from hiddenscape.data.labelmap import chosen_labels
from hiddenscape.data.limits import LIMITS, Limits, check_characters, title_of
from hiddenscape.data.sequences import SequenceRules
from hiddenscape.data.tables import Columns, read_table
from hiddenscape.errors import InputError

__all__ = ["TextDataset", "check_spans", "table_texts", "text_dataset"]

_SPAN_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TextDataset:
    """Rows of text. Made by :func:`text_dataset`, :func:`fasta_dataset` and their kin.

    Attributes
    ----------
    texts, ids : tuple of str
    labels : mapping
        One value per row, by name.
    spans : mapping
        Characters [start, stop) of each text, or None, by name: for ``span:NAME`` pooling.
    recipe : str
        How the texts were made of what the file holds (JSON; part of the fingerprint).
    template_hash : str or None
        Hash of the template of prompts.
    origin : mapping
        Where they came from, for the record: name and revision of a data set of a hub.
    """

    texts: tuple[str, ...]
    name: str
    ids: tuple[str, ...]
    labels: Mapping[str, np.ndarray]
    spans: Mapping[str, Sequence[Span]] = field(default_factory=dict)
    recipe: str = ""
    template_hash: str | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = field(init=False)
    identical: int = field(init=False)
    kind: str = "text"

    def __post_init__(self) -> None:
        found = identify(self.ids, self.texts, self.labels, spans=self.spans, recipe=self.recipe)
        object.__setattr__(self, "fingerprint", found[0])
        object.__setattr__(self, "identical", found[1])

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int]) -> list[str]:
        """Texts of some rows."""
        return [self.texts[i] for i in rows]


def text_dataset(
    source: str | Path | Sequence[str],
    *,
    text: str = "text",
    labels: Mapping[str, Any] | Sequence[Any] | None = None,
    label_columns: Sequence[str] | None = None,
    label_map: str | Path | None = None,
    missing: str = "error",
    id_column: str | None = None,
    ids: Sequence[object] | None = None,
    spans: Mapping[str, Sequence[Sequence[int] | None]] | None = None,
    rules: SequenceRules | None = None,
    name: str | None = None,
    limit: int | None = None,
    limits: Limits = LIMITS,
) -> TextDataset:
    """A data set of texts.

    Parameters
    ----------
    source : path or sequence of str
        A list of texts; or a file: ``.txt`` (one text per line), ``.jsonl`` (one JSON object per
        line), ``.csv`` or ``.tsv`` (with a header), each also ``.gz``, ``.parquet`` or ``.arrow``.
        UTF-8.
    text : str
        Column that holds the text.
    labels, ids
        Given from outside; for files they are added to, or replace, the columns of the file.
    label_columns : sequence of str, optional
        Columns that become labels. None: every column but the text and the id. ``NAME:text`` and
        ``NAME:number`` say how to take a column of a CSV file. A column whose name is reserved
        (``status``, ``row``, ...) becomes ``status_``.
    label_map : path, optional
        Table with more labels, joined by row id (see ``missing``).
    missing : {"error", "nan"}
        What to do with rows that the label map lacks.
    id_column : str, optional
        Column of row ids; ``id`` is used if there is one.
    spans : mapping, optional
        Name to one character range ``(start, stop)`` or None per row, counted in characters of the
        text from 0, ``stop`` excluded. In ``.jsonl`` files the field ``spans`` of a row, such as
        ``{"subject": [0, 4]}``.
    rules : SequenceRules, optional
        Texts are biological sequences: letters are checked, and changed where the rules say so.
    name : str, optional
        Name for manifests.
    limit : int, optional
        Use the first rows only; labels, ids and spans are those of all rows, and are cut alike.
    limits : Limits
        Bounds on size, rows and cells of a file.

    Raises
    ------
    InputError
        If the file cannot be read or exceeds the limits, a row lacks a field (the message names
        file, line and field), labels mix kinds, spans leave their text, or ids repeat.
    ConfigError
        If a column does not exist.

    Notes
    -----
    All texts are held in memory; activations, which are far larger, never are. Missing labels are
    NaN among numbers and the empty text among texts; in columns of numbers the cells ``NA``,
    ``null`` and the like are missing too.

    Examples
    --------
    >>> data = text_dataset(["one", "two", "three"], labels=[1, 2, 3])
    >>> len(data), data.labels["label"].tolist()
    (3, [1, 2, 3])
    """
    given = None if labels is None else labels if isinstance(labels, Mapping) else {"label": labels}
    more: dict[str, Any] = {
        "ids": ids, "labels": given, "label_columns": label_columns, "label_map": label_map,
        "missing": missing, "spans": spans, "rules": rules, "limit": limit, "limits": limits,
    }  # fmt: skip
    if isinstance(source, str | Path):
        path = Path(source)
        table = read_table(path, limits)
        title = name or title_of(path)
        return table_texts(table, text=text, id_column=id_column, name=title, **more)
    texts = list(source)
    title = name or "texts"
    for row, value in enumerate(texts):
        if not isinstance(value, str):
            raise InputError(f"{title}: row {row} is a {type(value).__name__}, expected text")
        check_characters(value, f"{title}: row {row}")
    return _built(texts, title, title, **more)


def table_texts(
    table: Columns,
    *,
    text: str,
    id_column: str | None,
    name: str,
    ids: Sequence[object] | None = None,
    labels: Mapping[str, Any] | None = None,
    label_columns: Sequence[str] | None = None,
    label_map: str | Path | None = None,
    spans: Mapping[str, Sequence[Sequence[int] | None]] | None = None,
    **more: Any,
) -> TextDataset:
    """Texts, ids, labels and spans of a table that has been read."""
    texts = table.texts(text)
    id_column = id_column or ("id" if "id" in table.columns and text != "id" else None)
    found = None if spans is not None else _span_field(table, text)
    but = (text, id_column, *(["spans"] if found is not None else []), *table.images)
    wanted = label_columns
    if wanted is not None and label_map is not None:  # the others are looked for in the map
        wanted = [c for c in wanted if c in table.columns or c.rpartition(":")[0] in table.columns]
    columns = table.labels(wanted, but=[c for c in but if c])
    if ids is None and id_column is not None:
        ids = table.ids(id_column)
    return _built(
        texts, name, table.where, ids=ids, own=columns, labels=labels,
        label_columns=label_columns, label_map=label_map,
        spans=found if spans is None else spans, **more,
    )  # fmt: skip


def _built(
    texts: Sequence[str],
    name: str,
    where: str,
    *,
    ids: Sequence[object] | None,
    labels: Mapping[str, Any] | None,
    label_columns: Sequence[str] | None,
    label_map: str | Path | None,
    missing: str,
    spans: Mapping[str, Sequence[Sequence[int] | None]] | None,
    rules: SequenceRules | None,
    limit: int | None,
    limits: Limits,
    own: Mapping[str, np.ndarray] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> TextDataset:
    named = check_ids(ids, len(texts), where=where)
    columns = chosen_labels(
        check_labels(own, len(texts), where=where), named, where=where, label_map=label_map,
        missing=missing, wanted=label_columns, limits=limits,
    )  # fmt: skip
    columns |= check_labels(labels, len(texts), where=where)
    marks = check_spans(spans, texts, where=where)
    if rules is not None:
        if marks:
            raise InputError(f"{where}: spans and sequence rules cannot be used together")
        texts = rules.apply(texts, lambda row: f"{where}: row {row} (id {named[row]!r})")
    return TextDataset(
        texts=tuple(texts[:limit]),
        name=name,
        ids=named[:limit],
        labels={column: values[:limit] for column, values in columns.items()},
        spans={mark: ranges[:limit] for mark, ranges in marks.items()},
        recipe="" if rules is None else rules.recipe(),
        origin=origin or {},
    )


def _span_field(table: Columns, text: str) -> dict[str, list[Sequence[int] | None]] | None:
    """The column ``spans`` as one column per name; None if there is no such column of objects."""
    cells = table.columns.get("spans") if table.typed and text != "spans" else None
    if cells is None or not any(isinstance(c, dict) for c in cells):
        return None
    names: dict[str, None] = {}
    for row, cell in enumerate(cells):
        if cell is not None and not isinstance(cell, dict):
            raise InputError(
                f"{table.at(row, 'spans')}: expected an object such as "
                f'{{"subject": [0, 4]}} or null, got {cell!r}'
            )
        names |= dict.fromkeys(cell or {})
    return {name: [(cell or {}).get(name) for cell in cells] for name in names}


def check_spans(
    spans: Mapping[str, Sequence[Sequence[int] | None]] | None, texts: Sequence[str], *, where: str
) -> dict[str, tuple[Span, ...]]:
    """Character ranges inside their texts.

    Raises
    ------
    InputError
        If there are not as many as texts, a name is not of letters, digits and ``_.-``, or a
        range is no pair of whole numbers with 0 <= start < stop <= characters of the text; names
        the row.

    Examples
    --------
    >>> check_spans({"subject": [[0, 3], None]}, ["the cat", "a"], where="x")
    {'subject': ((0, 3), None)}
    """
    checked: dict[str, tuple[Span, ...]] = {}
    for name, ranges in (spans or {}).items():
        if not isinstance(name, str) or not _SPAN_NAME.fullmatch(name):
            raise InputError(
                f"{where}: span name {name!r}; use letters, digits, '_', '.' and '-' only"
            )
        if len(ranges) != len(texts):
            raise InputError(f"{where}: {len(ranges)} spans {name!r} for {len(texts)} texts")
        checked[name] = tuple(
            _span(found, texts[row], f"{where}: row {row}, span {name!r}")
            for row, found in enumerate(ranges)
        )
    return checked


def _span(found: Sequence[int] | None, text: str, where: str) -> Span:
    if found is None:
        return None
    pair: Any = found.tolist() if hasattr(found, "tolist") else found
    if (
        not isinstance(pair, list | tuple)
        or len(pair) != 2
        or not all(isinstance(p, int | np.integer) and not isinstance(p, bool) for p in pair)
    ):
        raise InputError(f"{where}: expected [start, stop] in characters or null, got {found!r}")
    start, stop = map(int, pair)
    if not 0 <= start < stop <= len(text):
        raise InputError(
            f"{where}: [{start}, {stop}] is not inside the text of {len(text)} characters with "
            "start < stop"
        )
    return start, stop
