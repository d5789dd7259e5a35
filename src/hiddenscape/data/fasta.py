"""FASTA files as texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from hiddenscape.data.dataset import check_ids, check_labels
from hiddenscape.data.labelmap import chosen_labels
from hiddenscape.data.limits import LIMITS, Limits, check_characters, kind_of, read_text, title_of
from hiddenscape.data.sequences import AMINO_ACIDS, SequenceRules
from hiddenscape.data.text import TextDataset
from hiddenscape.errors import InputError

__all__ = ["FASTA", "fasta_dataset"]

FASTA = (".fasta", ".fa", ".faa")
_SHOWN = 5


class _Record(NamedTuple):
    line: int
    id: str
    description: str
    sequence: str


def fasta_dataset(
    path: str | Path,
    *,
    label_map: str | Path | None = None,
    missing: str = "error",
    label_columns: Sequence[str] | None = None,
    description: bool = False,
    rules: SequenceRules | None = None,
    alphabet: str = AMINO_ACIDS,
    rare: Literal["keep", "X"] = "keep",
    upper: bool = False,
    drop: str = "",
    spaced: bool = False,
    empty: Literal["error", "keep"] = "error",
    name: str | None = None,
    limit: int | None = None,
    limits: Limits = LIMITS,
) -> TextDataset:
    """Sequences of a FASTA file (``.fasta``, ``.fa``, ``.faa``, each also ``.gz``).

    Parameters
    ----------
    path : path
        A row per record; its id is the first word of the header.
    label_map : path, optional
        Table (``.tsv``, ``.csv``, ...) with an id column and any number of label columns.
    missing : {"error", "nan"}
        What to do with records that the map lacks: refuse, or leave their labels missing.
    label_columns : sequence of str, optional
        Columns of the map to take; all by default. ``description`` is the rest of the header.
    description : bool
        Keep the rest of the header as the label ``description``.
    rules : SequenceRules, optional
        What may be done to the letters; or its fields one by one:
    alphabet, rare, upper, drop, spaced
        See :class:`SequenceRules`. By default nothing is changed: a lower-case letter, a stop
        ``*``, a gap ``-`` or an unknown letter is an error that names it. Nothing is ever changed
        unasked, and what was asked for enters the fingerprint.
    empty : {"error", "keep"}
        Records without a sequence: refuse, or keep them as empty texts (their points are NaN with
        status ``empty``).
    name : str, optional
        Name for manifests.
    limit : int, optional
        Use the first records only.
    limits : Limits
        Bounds on size, number of records, length of a sequence and packing.

    Raises
    ------
    InputError
        If the file cannot be read or exceeds the limits, two records have one id, a record has no
        id or no sequence, or a letter is not in the alphabet; names file and line.
    """
    path = Path(path)
    if kind_of(path) not in FASTA:
        raise InputError(f"{path}: expected {', '.join(FASTA)}, or one of them with .gz")
    records = _records(path, limits)
    _check_ids(path, records)
    rules = rules or SequenceRules(
        alphabet=alphabet, rare=rare, upper=upper, drop=drop, spaced=spaced
    )

    def at(row: int) -> str:
        return f"{path}: line {records[row].line}, {records[row].id!r}"

    texts = rules.apply([r.sequence for r in records], at)
    _check_empty(path, records, texts, empty)
    ids = check_ids([r.id for r in records], len(records), where=str(path))
    own: dict[str, np.ndarray] = {}
    if description or (label_columns is not None and "description" in label_columns):
        own = check_labels(
            {"description": [r.description for r in records]}, len(records), where=str(path)
        )
    columns = chosen_labels(
        own, ids, where=str(path), label_map=label_map, missing=missing, wanted=label_columns,
        limits=limits,
    )  # fmt: skip
    return TextDataset(
        texts=tuple(texts[:limit]),
        name=name or title_of(path),
        ids=ids[:limit],
        labels={column: values[:limit] for column, values in columns.items()},
        recipe=rules.recipe(),
    )


def _records(path: Path, limits: Limits) -> list[_Record]:
    records: list[_Record] = []
    header, parts, length, start = "", [""], 0, 0

    def finish() -> None:
        if not start:
            return
        identifier, _, rest = header.partition(" ")
        records.append(_Record(start, identifier, rest.strip(), "".join(parts)))

    for number, line in enumerate(read_text(path, limits).split("\n"), 1):
        if line.startswith(">"):
            finish()
            if len(records) == limits.rows:
                raise limits.refuse(
                    "rows", f"{path}: more than {limits.rows:,} records, at line {number}"
                )
            header, parts, length, start = line[1:].strip().replace("\t", " "), [], 0, number
            continue
        piece = line.strip()
        if piece and not start:
            raise InputError(
                f"{path}: line {number}: expected a header that begins with '>', got {piece[:40]!r}"
            )
        length += len(piece)
        if length > limits.cell:
            raise limits.refuse(
                "cell", f"{path}: line {number}: the sequence is longer than {limits.cell:,}"
            )
        parts.append(piece)
    finish()
    return records


def _check_ids(path: Path, records: Sequence[_Record]) -> None:
    if not records:
        raise InputError(f"{path}: holds no records")
    lines: dict[str, int] = {}
    for record in records:
        if not record.id:
            raise InputError(f"{path}: line {record.line}: a header without an id")
        check_characters(record.id, f"{path}: line {record.line}")
        if record.id in lines:
            raise InputError(
                f"{path}: lines {lines[record.id]} and {record.line} have the same id "
                f"{record.id!r}; the first word of each header must be unique"
            )
        lines[record.id] = record.line


def _check_empty(path: Path, records: Sequence[_Record], texts: Sequence[str], empty: str) -> None:
    if empty not in ("error", "keep"):
        raise InputError(f"empty must be 'error' or 'keep', got {empty!r}")
    bare = [r for r, text in zip(records, texts, strict=True) if not text]
    if bare and empty == "error":
        shown = ", ".join(f"{r.id!r} (line {r.line})" for r in bare[:_SHOWN])
        raise InputError(
            f"{path}: {len(bare)} of {len(records)} records have no sequence: {shown}; remove "
            "them, or take empty='keep'"
        )
