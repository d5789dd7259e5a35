"""From what the caller gave to arrays of points: files, folders, mappings, and known layouts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.store.importers.sources import (
    SUFFIXES,
    How,
    PointSource,
    open_file,
    sha256,
    suffix_of,
)

__all__ = ["LAYOUTS", "Gathered", "gather", "inner_sites"]

Source = str | Path | Mapping[str, Any] | Sequence[str | Path]
LAYOUTS = ("plain", "fair-esm", "doimo24")
"""How a folder is read; ``plain``: every file stands for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What is to be imported.

    Attributes
    ----------
    sources : list of PointSource
    hashes : list of (name, SHA-256)
        Of each file or folder.
    in_order : bool
        Whether the order of the sources means something.
    columns : mapping
        Row ids and labels that the source itself holds.
    remarks : tuple of str
        What deserves a look.
    rows_per_shard : int or None
        Where the size of a row cannot be told from the manifest.
    """

    sources: list[PointSource]
    hashes: list[tuple[str, str]]
    in_order: bool
    columns: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    rows_per_shard: int | None = None


def gather(source: Source, pattern: str | None, layout: str, how: How) -> Gathered:
    """Find the arrays; no values are read yet, but for their hashes.

    Raises
    ------
    InputError
        If something is missing, damaged, or not what the layout says; names the file.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r} is not one of {', '.join(LAYOUTS)}")
    if layout != "plain":
        from hiddenscape.store.importers.layouts import open_doimo24, open_fair_esm

        if not isinstance(source, (str, Path)) or not Path(source).is_dir():
            raise InputError(f"layout {layout!r} needs one folder, got {source}")
        opener = open_fair_esm if layout == "fair-esm" else open_doimo24
        return opener(Path(source), how)
    if how.order is not None:
        raise InputError("an order of sequences (order) belongs to layout 'fair-esm'")
    if isinstance(source, Mapping):
        return _from_mapping(source, how)
    if hasattr(source, "shape"):
        raise InputError("give arrays by name: import_points({'NAME': array}, out)")
    return _from_paths(source, pattern, how)


def _from_paths(
    source: str | Path | Sequence[str | Path], pattern: str | None, how: How
) -> Gathered:
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir() and suffix_of(path) is None:
            files, names = _folder(path, pattern)
            in_order = False
        elif pattern is not None:
            raise InputError(f"{path}: a pattern needs a folder")
        else:
            files, names = [path], [None]
            in_order = suffix_of(path) not in (".safetensors", ".zarr", ".h5", ".hdf5", ".h5ad")
    else:
        files, in_order = [Path(p) for p in source], True
        names = [None] * len(files)
    found: list[PointSource] = []
    columns: dict[str, Any] = {}
    for file, name in zip(files, names, strict=True):
        opened = open_file(file, how)
        inside = opened.sources
        columns |= opened.columns
        if name is not None and len(inside) == 1:
            inside = [replace(inside[0], name=name[0], number=name[1])]
        elif name is not None:
            raise InputError(f"{file}: a pattern needs files with one array, it has {len(inside)}")
        found += inside
    hashes = [(file.name, sha256(file)) for file in files]
    return Gathered(sources=found, hashes=hashes, in_order=in_order, columns=columns)


def _from_mapping(source: Mapping[str, Any], how: How) -> Gathered:
    found, hashes = [], []
    for name, value in source.items():
        if isinstance(value, (str, Path)):
            inside = open_file(Path(value), how).sources
            if len(inside) != 1:
                raise InputError(f"{value}: site {name!r} needs a file with one array")
            found.append(replace(inside[0], name=name))
            hashes.append((Path(value).name, sha256(Path(value))))
            continue
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise InputError(f"site {name!r}: an array of Python objects, expected numbers")
        found.append(PointSource(name, "memory", array.shape, array.dtype.name, _rows_of(array)))
        digest = hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        hashes.append((f"memory:{name}", digest.hexdigest()))
    return Gathered(sources=found, hashes=hashes, in_order=True)


def _rows_of(array: np.ndarray) -> Callable[[int, int], np.ndarray]:
    return lambda start, stop: array[start:stop]


def _folder(
    path: Path, pattern: str | None
) -> tuple[list[Path], list[tuple[str, int | None] | None]]:
    files = sorted(p for p in path.iterdir() if suffix_of(p) is not None)
    if pattern is None:
        # Tables of text beside arrays are labels more often than points: only when named.
        files = [p for p in files if suffix_of(p) not in (".csv", ".txt")]
        if not files:
            raise InputError(f"{path}: no {', '.join(SUFFIXES)} files in this folder")
        return files, [None] * len(files)
    match = _fill_pattern(pattern)
    everything = sorted(p for p in path.iterdir() if p.is_file() or suffix_of(p))
    matches = [(p, found) for p in everything if (found := match(p.name, p.stem))]
    if not matches:
        first = repr(everything[0].name) if everything else "none at all"
        raise InputError(f"{path}: no file matches {pattern!r}, the first is {first}")
    return [file for file, _ in matches], [found for _, found in matches]


def inner_sites(
    where: Path, names: Mapping[str, int], pattern: str | None
) -> dict[str, tuple[str, int | None]]:
    """Which arrays inside a file are sites: their (site name, number), by name.

    ``names`` gives the number of axes of each. Without a pattern those with two or more are taken.

    Raises
    ------
    InputError
        If nothing fits the pattern.
    """
    found: dict[str, tuple[str, int | None]] = {}
    if pattern is None:
        return {name: (name, None) for name, axes in names.items() if axes >= 2}
    if "{" in pattern:
        fill = _fill_pattern("/" + pattern.lstrip("/"))
        found = {name: filled for name in names if (filled := fill(f"/{name}", name))}
    elif pattern.strip("/") in names:
        found = {pattern.strip("/"): (pattern.strip("/"), None)}
    if not found:
        raise InputError(f"{where}: no array fits {pattern!r}, there are {sorted(names)[:6]}")
    return found


def _fill_pattern(pattern: str) -> Callable[[str, str], tuple[str, int | None] | None]:
    """A function of (text, name) that gives (site name, number) where the text fits.

    Raises
    ------
    InputError
        If the pattern has neither ``{block}`` nor ``{site}``, or one of them twice.
    """
    fields = re.findall(r"\{(.*?)\}", pattern)
    if sorted(fields) not in (["block"], ["site"], ["block", "site"]):
        raise InputError(f"pattern {pattern!r} needs {{block}} or {{site}}, each once")
    expression = re.escape(pattern)
    expression = expression.replace(r"\{block\}", r"(?P<block>\d+)")
    expression = expression.replace(r"\{site\}", r"(?P<site>.+?)")

    def fill(text: str, name: str) -> tuple[str, int | None] | None:
        found = re.fullmatch(expression, text)
        if found is None:
            return None
        groups = found.groupdict()
        block = int(groups["block"]) if "block" in groups else None
        site = groups.get("site")
        return (name if site is None else site if block is None else f"{site}.{block}"), block

    return fill
