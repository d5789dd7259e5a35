"""Arrow and Parquet files as tables, with what the ``datasets`` package says of their columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

from hiddenscape.data.limits import LIMITS, Limits
from hiddenscape.data.tables import Columns
from hiddenscape.errors import InputError, MissingDependency

__all__ = ["columns_of", "read_arrow"]

_BATCH = 1024


def read_arrow(path: Path, limits: Limits = LIMITS) -> Columns:
    """Read a ``.parquet``, ``.arrow`` or ``.feather`` file within the limits.

    Raises
    ------
    MissingDependency
        If pyarrow is not installed.
    InputError
        If the file cannot be read or unpacks to more than the limits.
    """
    pa = _pyarrow()
    with _readable(path, pa):
        if path.suffix.lower() == ".parquet":
            from pyarrow import parquet

            with parquet.ParquetFile(path) as file:
                _check_rows(path, file.metadata.num_rows, limits)
                table = _gather(path, pa, file.schema_arrow, file.iter_batches(_BATCH), limits)
        else:
            table = _ipc(path, pa, limits)
        return columns_of(table, str(path), _features(table.schema.metadata), None, limits)


def _ipc(path: Path, pa: Any, limits: Limits) -> Any:
    with pa.memory_map(str(path)) as source:
        try:
            reader = pa.ipc.open_file(source)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        except pa.ArrowInvalid:
            source.seek(0)
            reader = pa.ipc.open_stream(source)
            batches = iter(reader)
        return _gather(path, pa, reader.schema, batches, limits)


def _gather(path: Path, pa: Any, schema: Any, batches: Iterator[Any], limits: Limits) -> Any:
    kept, size, rows = [], 0, 0
    # What a file says of its size may be false; what has been unpacked is counted.
    for batch in batches:
        batch.validate(full=True)  # false offsets of a damaged file would read foreign memory
        size += batch.nbytes
        rows += batch.num_rows
        if size > limits.bytes:
            raise limits.refuse("bytes", f"{path}: more than {size:,} bytes, at row {rows}")
        _check_rows(path, rows, limits)
        kept.append(batch)
    return pa.Table.from_batches(kept, schema=schema)


def _check_rows(path: Path, rows: int, limits: Limits) -> None:
    if rows > limits.rows:
        raise limits.refuse("rows", f"{path}: {rows:,} rows")


def _features(metadata: Mapping[bytes, bytes] | None) -> Mapping[str, Any]:
    """What ``datasets`` wrote about columns: names of classes, columns of images."""
    try:
        found = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def columns_of(
    table: Any,
    where: str,
    features: Mapping[str, Any],
    fetch: Callable[[str], bytes] | None,
    limits: Limits = LIMITS,
) -> Columns:
    """The columns of an Arrow table: class numbers become their names, images bytes read when
    they are needed.

    ``fetch`` reads an image that is not in the table but at a path; None refuses these.
    """
    columns: dict[str, Sequence[Any]] = {}
    images: list[str] = []
    if len(set(table.column_names)) < len(table.column_names):
        raise InputError(f"{where}: a column name occurs twice in {table.column_names}")
    for name in table.column_names:
        feature = features.get(name)
        kind = feature.get("_type") if isinstance(feature, dict) else None
        if kind == "Image":
            images.append(name)
            columns[name] = _Images(table[name], f"{where}: field {name!r}", fetch)
        elif kind == "ClassLabel" and feature is not None:
            columns[name] = _names(table[name].to_pylist(), feature["names"], where, name)
        else:
            columns[name] = table[name].to_pylist()
    return Columns(where=where, columns=columns, typed=True, images=tuple(images))


def _names(
    values: Sequence[int | None], names: Sequence[str], where: str, column: str
) -> list[str | None]:
    out: list[str | None] = []
    for row, value in enumerate(values):
        if value is None or value == -1:  # -1 is the mark of an absent class
            out.append(None)
        elif 0 <= value < len(names):
            out.append(str(names[value]))
        else:
            raise InputError(
                f"{where}: row {row}, field {column!r}: class {value} of {len(names)} classes"
            )
    return out


class _Images(Sequence[bytes]):
    """Bytes of image files, taken from an Arrow column one at a time."""

    def __init__(self, column: Any, where: str, fetch: Callable[[str], bytes] | None) -> None:
        self.column, self.where, self.fetch = column, where, fetch

    def __len__(self) -> int:
        return len(self.column)

    @overload
    def __getitem__(self, row: int) -> bytes: ...
    @overload
    def __getitem__(self, row: slice) -> _Images: ...
    def __getitem__(self, row: int | slice) -> bytes | _Images:
        if isinstance(row, slice):
            return _Images(self.column[row], self.where, self.fetch)
        value = self.column[row].as_py()
        if not isinstance(value, dict):
            raise InputError(f"{self.where}, row {row}: no image")
        if value.get("bytes"):
            return bytes(value["bytes"])
        if value.get("path") and self.fetch is not None:
            return self.fetch(str(value["path"]))
        raise InputError(
            f"{self.where}, row {row}: the image is not in the file but at "
            f"{value.get('path')!r}; save the data set with its images embedded"
        )


@contextmanager
def _readable(path: Path, pa: Any) -> Iterator[None]:
    try:
        yield
    except pa.ArrowException as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise MissingDependency(
            'reading Arrow and Parquet files needs pyarrow: pip install "hiddenscape[formats]"'
        ) from error
    return pyarrow
