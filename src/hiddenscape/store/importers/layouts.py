"""Folders of a known kind: fair-esm's files per sequence, and one file per layer of doimo24."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.store.importers.gather import Gathered
from hiddenscape.store.importers.pt import load_content, plain_tensor
from hiddenscape.store.importers.sources import How, PointSource, open_file, sha256

__all__ = ["open_doimo24", "open_fair_esm"]

_SHARD_BYTES = 128 * 2**20
_KINDS = {"mean_representations": "mean", "bos_representations": "cls"}
_TOKENS = ("ragged", "mean", "skip")


# --- fair-esm ---------------------------------------------------------------------------------


def open_fair_esm(folder: Path, how: How) -> Gathered:
    """One ``.pt`` file per sequence, in the order of a FASTA file or list of labels.

    ``mean_representations`` become ``esm.LAYER@mean`` (the mean over residues that was stored),
    ``bos_representations`` ``esm.LAYER@cls``, and ``representations``, one point per residue,
    ``esm.LAYER@tokens``, or ``esm.LAYER@mean`` where ``how.tokens`` is ``mean``.

    Raises
    ------
    InputError
        If there is no order, a sequence has no file (named), a file holds another sequence, other
        layers or other widths than the first, or anything but tensors and text.
    """
    if how.tokens not in _TOKENS:
        raise InputError(f"tokens {how.tokens!r} is not one of {', '.join(_TOKENS)}")
    if how.order is None:
        raise InputError(
            f"{folder}: files of a folder have no order: give the FASTA file that the sequences "
            "came from, or a list of their labels (order, --order)"
        )
    labels, lengths = _labels(how.order)
    files = [_file_of(folder, label) for label in labels]
    lost = [label for label, file in zip(labels, files, strict=True) if not file.is_file()]
    if lost:
        shown = ", ".join(repr(label) for label in lost[:5]) + (", ..." if len(lost) > 5 else "")
        raise InputError(
            f"{folder}: {len(lost)} of {len(labels)} sequences of {how.order.name} have no file: "
            f"{shown}"
        )
    known = {file.resolve() for file in files}
    extra = sum(file.resolve() not in known for file in folder.rglob("*.pt"))
    dump = _Dump(labels, files)
    sources = list(_esm_sources(folder, dump, how.tokens))
    return Gathered(
        sources=sources,
        hashes=[(folder.name, sha256(folder)), (how.order.name, sha256(how.order))],
        in_order=True,
        columns={"id": labels},
        remarks=tuple(_esm_remarks(folder, how, extra, dump.missing_means(sources))),
        rows_per_shard=_rows_per_shard(sources, lengths, dump),
    )


def _esm_remarks(folder: Path, how: How, extra: int, pooled: list[str]) -> Iterator[str]:
    if extra and how.order is not None:
        yield f"{folder.name}: {extra} .pt files are not in {how.order.name} and were left out"
    for key in pooled:
        yield f"{key}: mean over every residue that the files hold, taken here in float32"


def _labels(path: Path) -> tuple[list[str], list[int] | None]:
    """Labels in order, and the lengths of their sequences where the file is FASTA."""
    labels: list[str] = []
    lengths: list[int] = []
    try:
        with path.open(encoding="utf-8-sig") as stream:
            fasta = None
            for line in map(str.strip, stream):
                if not line:
                    continue
                fasta = line.startswith(">") if fasta is None else fasta
                if line.startswith(">") or not fasta:
                    labels.append(line.removeprefix(">").strip() if fasta else line)
                    lengths.append(0)
                else:
                    lengths[-1] += len(line)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if not labels:
        raise InputError(f"{path}: holds no sequences")
    seen: set[str] = set()
    for label in labels:
        if label in seen:
            raise InputError(
                f"{path}: the label {label!r} occurs twice: files cannot be told apart"
            )
        seen.add(label)
    return labels, lengths if fasta else None


def _file_of(folder: Path, label: str) -> Path:
    # fair-esm names files after the whole header line, in which a slash makes folders.
    inner = PurePosixPath(f"{label}.pt")
    if inner.is_absolute() or ".." in inner.parts:
        raise InputError(f"label {label!r} leads out of the folder")
    return folder / inner


class _Dump:
    """The files of the sequences; those of one range of rows are held at a time."""

    def __init__(self, labels: list[str], files: list[Path]) -> None:
        self.labels, self.files = labels, files
        self._range = (0, 0)
        self._held: list[Mapping[str, Any]] = []

    def load(self, row: int) -> Mapping[str, Any]:
        """What the file of a row holds; its label must be that of the row."""
        path = self.files[row]
        content = load_content(path)
        if not isinstance(content, Mapping) or content.get("label") != self.labels[row]:
            label = content.get("label") if isinstance(content, Mapping) else None
            raise InputError(
                f"{path}: holds the sequence {label!r}, not {self.labels[row]!r}: not made by "
                "fair-esm, or renamed"
            )
        return content

    def rows(self, start: int, stop: int) -> list[Mapping[str, Any]]:
        """The contents of some rows."""
        if (start, stop) != self._range:
            self._held = [self.load(row) for row in range(start, stop)]
            self._range = (start, stop)
        return self._held

    def tensor(self, row: int, content: Mapping[str, Any], kind: str, layer: int) -> np.ndarray:
        """One stored array; the same layers must be in every file."""
        path = self.files[row]
        found = content.get(kind)
        if not isinstance(found, Mapping) or layer not in found:
            raise InputError(f"{path}: holds no {kind} of layer {layer}, other files do")
        return plain_tensor(path, f"{kind}[{layer}]", found[layer])

    @staticmethod
    def missing_means(sources: list[PointSource]) -> list[str]:
        """Keys whose mean is taken here."""
        return [s.name for s in sources if s.origin.endswith(":representations (mean)")]


def _esm_sources(folder: Path, dump: _Dump, tokens: str) -> Iterator[PointSource]:
    first = dump.load(0)
    for kind, pooling in _KINDS.items():
        for layer in _layers(dump, first, kind):
            values = dump.tensor(0, first, kind, layer)
            read = _stacked(dump, kind, layer, values.shape)
            yield _source(dump, f"esm.{layer}@{pooling}", f"{folder.name}:{kind}", layer, values,
                          len(values), read)  # fmt: skip
    if tokens == "skip":
        return
    for layer in _layers(dump, first, "representations"):
        values = dump.tensor(0, first, "representations", layer)
        if values.ndim != 2:
            raise InputError(f"{dump.files[0]}: representations[{layer}] has {values.ndim} axes")
        width = values.shape[1]
        ragged = _residues(dump, layer, width)
        origin = f"{folder.name}:representations"
        if tokens == "ragged":
            one = _source(dump, f"esm.{layer}@tokens", origin, layer, values, width, ragged)
            yield replace(one, ragged=True, first_token=1)  # position 0 was the class token
        else:
            yield _source(dump, f"esm.{layer}@mean", f"{origin} (mean)", layer, values, width,
                          _means(ragged))  # fmt: skip


def _source(
    dump: _Dump,
    name: str,
    origin: str,
    layer: int,
    values: np.ndarray,
    width: int,
    read: Callable[[int, int], Any],
) -> PointSource:
    return PointSource(name, origin, (len(dump.files), width), values.dtype.name, read, layer)


def _layers(dump: _Dump, content: Mapping[str, Any], kind: str) -> list[int]:
    found = content.get(kind, {})
    if not isinstance(found, Mapping) or not all(type(layer) is int for layer in found):
        raise InputError(f"{dump.files[0]}: {kind} is no mapping from layer numbers to tensors")
    return sorted(found)


def _stacked(
    dump: _Dump, kind: str, layer: int, shape: tuple[int, ...]
) -> Callable[[int, int], np.ndarray]:
    def read(start: int, stop: int) -> np.ndarray:
        found = []
        for row, content in enumerate(dump.rows(start, stop), start):
            values = dump.tensor(row, content, kind, layer)
            if values.shape != shape:
                raise InputError(
                    f"{dump.files[row]}: {kind}[{layer}] has shape {values.shape}, not {shape}"
                )
            found.append(values)
        return np.stack(found)

    return read


def _residues(dump: _Dump, layer: int, width: int) -> Callable[[int, int], list[np.ndarray]]:
    def read(start: int, stop: int) -> list[np.ndarray]:
        found = []
        for row, content in enumerate(dump.rows(start, stop), start):
            values = dump.tensor(row, content, "representations", layer)
            if values.ndim != 2 or values.shape[1] != width:
                raise InputError(
                    f"{dump.files[row]}: representations[{layer}] has shape {values.shape}, "
                    f"expected (T, {width})"
                )
            found.append(values)
        return found

    return read


def _means(
    ragged: Callable[[int, int], list[np.ndarray]],
) -> Callable[[int, int], np.ndarray]:
    def read(start: int, stop: int) -> np.ndarray:
        rows = ragged(start, stop)
        out = np.full((len(rows), rows[0].shape[1]), np.nan, dtype=np.float32)
        for i, values in enumerate(rows):
            if len(values):
                out[i] = values.astype(np.float64).mean(axis=0)
        return out

    return read


def _rows_per_shard(
    sources: list[PointSource], lengths: list[int] | None, dump: _Dump
) -> int | None:
    wide = [s for s in sources if s.ragged]
    if not wide:
        return None
    if lengths is None:
        first = wide[0].read(0, 1)[0]
        mean = float(len(first))
    else:
        mean = float(np.mean(lengths))
    row_bytes = max(1.0, mean) * sum(4 * s.shape[1] for s in wide)
    return int(max(1, min(len(dump.files), _SHARD_BYTES // row_bytes)))


# --- doimo24 ----------------------------------------------------------------------------------

_TARGET = re.compile(r"l(\d+)_target\.pt")


@dataclass(frozen=True, slots=True)
class _Layer:
    number: int
    source: PointSource
    file: Path


def open_doimo24(folder: Path, how: How) -> Gathered:
    """``l{layer}_target.pt``, last token: ``ln1_out.l`` for l < L, ``final_norm``, ``logits``.

    L, the number of blocks, is ``how.blocks``, or follows from the width of the last file where it
    differs from the others (logits).

    Raises
    ------
    InputError
        If layers are missing, N differs between layers (duplicates may have been removed from each
        layer on its own: then row i is not the same input everywhere), or L cannot be told.
    """
    layers = []
    for file in sorted(folder.iterdir()):
        if match := _TARGET.fullmatch(file.name):
            (only,) = open_file(file).sources or (None,)
            if only is None:
                raise InputError(f"{file}: needs one tensor")
            layers.append(_Layer(int(match[1]), only, file))
    layers.sort(key=lambda layer: layer.number)
    if not layers:
        raise InputError(f"{folder}: no file l0_target.pt, l1_target.pt, ... in it")
    first = layers[0]
    for layer in layers:
        if len(layer.source.shape) != 2:
            raise InputError(f"{layer.file}: shape {layer.source.shape}, expected (n, d)")
        if layer.source.shape[0] != first.source.shape[0]:
            raise InputError(
                f"{layer.file}: {layer.source.shape[0]} rows, but {first.file.name} has "
                f"{first.source.shape[0]}: duplicates may have been removed from each layer on its "
                "own, so that row i is not the same input everywhere: dump it without that"
            )
    blocks = _blocks(folder, layers, how.blocks)
    remarks = []
    if pickles := sorted(p.name for p in folder.iterdir() if p.suffix in (".pkl", ".pickle")):
        remarks.append(
            f"{folder.name}: {pickles[0]} is a pickle and was not read: convert its labels to JSON "
            "and give them as labels"
        )
    return Gathered(
        sources=[
            replace(one.source, name=_doimo_name(one.number, blocks), number=None) for one in layers
        ],
        hashes=[(one.file.name, sha256(one.file)) for one in layers],
        in_order=True,
        remarks=tuple(remarks),
    )


def _blocks(folder: Path, layers: list[_Layer], given: int | None) -> int:
    numbers = [layer.number for layer in layers]
    widths = [layer.source.shape[1] for layer in layers]
    if given is not None:
        if numbers[-1] > given + 1:
            raise InputError(
                f"{folder}: layer {numbers[-1]} is beyond the logits of {given} blocks "
                f"({given + 1})"
            )
        return given
    whole = numbers == list(range(len(numbers))) and len(numbers) > 2
    if whole and len(set(widths[:-1])) == 1 and widths[-1] != widths[0]:
        return numbers[-1] - 1
    raise InputError(
        f"{folder}: layers {numbers[0]} to {numbers[-1]} do not tell how many blocks the network "
        "has, and so which is the final norm: say it (blocks, --blocks)"
    )


def _doimo_name(number: int, blocks: int) -> str:
    if number < blocks:
        return f"ln1_out.{number}@last"
    return "final_norm@last" if number == blocks else "logits@last"
