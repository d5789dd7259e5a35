"""Compiled loops: the one distance between two rows, in the order of numpy's pairwise sum.

The reference sums squared differences with ``numpy.add.reduce``: runs of at most 128 terms in 8
lanes, runs added in a binary tree (Higham 1993, doi:10.1137/0914050, on why that is accurate). The
code here keeps that order and never fuses a product with a sum, so its bits are numpy's, on every
machine; the lanes are vector registers because they are spelt as such.

Compiled code is kept beside this file, or in the user's cache folder, after the first call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["distances_from", "fill_distances", "fill_squares", "forks", "jit"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

_TINY = 2.0**-900
_LANES = 8
_ABREAST = 4  # pairs that are summed side by side
_Rows = tuple[int, int, int, int]
_RUN = 128
_DEPTH = 64


def jit(function: _Function) -> _Function:
    """Compile at the first call, keep the result on disk, release the interpreter.

    No fast-math: sums keep their order and products are never fused.
    """
    made: Any = numba.njit(nogil=True)(function)
    try:
        made.enable_caching()
        # numba asks only whether the file of this function changed. What it calls is compiled into
        # it, so code kept from an older kernel would run on in silence: ask for all files instead.
        made._cache._cache_file._source_stamp = _source()
    except (AttributeError, RuntimeError, OSError):
        # No place to keep anything, or another numba inside: compile in every process.
        made = numba.njit(nogil=True)(function)
    return cast(_Function, made)


@cache
def _source() -> str:
    """A digest of every file that compiled code may come from."""
    digest = blake2b(digest_size=16)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _lanes(typing: Any, x: Any, i: Any, j: Any, start: Any, steps: Any) -> Any:
    """Sums of squared differences of ``8 * steps`` columns from ``start``: lane by lane, then all.

    ``i`` and ``j`` are the rows of :data:`_ABREAST` pairs. They share nothing: each sum has the
    bits that it has alone, but while one waits for memory or its last addition the others go on.
    Returns the signature and what writes the code, as numba asks for.
    """
    index = types.intp
    tuple_of: Any = types.UniTuple
    rows = tuple_of(index, _ABREAST)
    signature = tuple_of(types.float64, _ABREAST)(x, rows, rows, index, index)
    aligned = x.dtype.bitwidth // 8

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, args[0])
        item = context.get_data_type(kind.dtype)
        wide = ir.VectorType(ir.DoubleType(), _LANES)
        narrow = ir.VectorType(item, _LANES).as_pointer()
        columns = builder.extract_value(array.shape, 1)

        def row(numbers: Any, pair: int) -> Any:
            number = builder.extract_value(numbers, pair)
            return builder.gep(array.data, [builder.add(builder.mul(number, columns), args[3])])

        pairs = [(row(args[1], pair), row(args[2], pair)) for pair in range(_ABREAST)]
        # In the entry block of the function: anywhere else a loop would grow the stack.
        with builder.goto_entry_block():
            totals = [builder.alloca(wide) for _ in pairs]
        for total in totals:
            builder.store(ir.Constant(wide, [0.0] * _LANES), total)
        with cgutils.for_range(builder, args[4]) as loop:
            offset = builder.mul(loop.index, ir.Constant(loop.index.type, _LANES))

            def load(pointer: Any) -> Any:
                at = builder.bitcast(builder.gep(pointer, [offset]), narrow)
                value = builder.load(at, align=aligned)
                return value if isinstance(item, ir.DoubleType) else builder.fpext(value, wide)

            for (left, right), total in zip(pairs, totals, strict=True):
                t = builder.fsub(load(left), load(right))
                builder.store(builder.fadd(builder.load(total), builder.fmul(t, t)), total)
        return context.make_tuple(
            builder, signature.return_type, [_folded(builder, total) for total in totals]
        )

    return signature, write


def _folded(builder: Any, total: Any) -> Any:
    """The sum of the lanes, halves by halves."""
    whole = builder.load(total)
    s = [builder.extract_element(whole, ir.Constant(ir.IntType(32), n)) for n in range(_LANES)]
    while len(s) > 1:
        s = [builder.fadd(a, b) for a, b in zip(s[::2], s[1::2], strict=True)]
    return s[0]


_sum_in_lanes: Callable[..., tuple[float, float, float, float]] = intrinsic(_lanes)


@jit
def _run(
    x: np.ndarray, i: _Rows, j: _Rows, start: int, stop: int
) -> tuple[float, float, float, float]:
    """Sums of squared differences of the pairs of rows over at most 128 columns."""
    n = stop - start
    a = b = c = d = 0.0
    rest = start
    if n >= _LANES:
        a, b, c, d = _sum_in_lanes(x, i, j, start, n // _LANES)
        rest = stop - n % _LANES
    for at in range(rest, stop):
        t = np.float64(x[i[0], at]) - np.float64(x[j[0], at])
        a += t * t
        t = np.float64(x[i[1], at]) - np.float64(x[j[1], at])
        b += t * t
        t = np.float64(x[i[2], at]) - np.float64(x[j[2], at])
        c += t * t
        t = np.float64(x[i[3], at]) - np.float64(x[j[3], at])
        d += t * t
    return a, b, c, d


@jit
def forks() -> np.ndarray:
    """Room to sum wide rows in; one for each thread."""
    return np.empty((_DEPTH, 2 + _ABREAST))


@jit
def _squares(
    x: np.ndarray, i: _Rows, j: _Rows, room: np.ndarray
) -> tuple[float, float, float, float]:
    """Sums of squared differences of the pairs: runs added in a binary tree, left to right."""
    start, stop = 0, x.shape[1]
    if stop <= _RUN:
        return _run(x, i, j, start, stop)
    # Compiled code that calls itself cannot be kept on disk, hence the stack: for each open fork
    # its right part, and the sums of its left part once they are known (-1 until then).
    depth = 0
    while True:
        while stop - start > _RUN:
            half = (stop - start) // 2
            half -= half % _LANES
            room[depth, 0] = start + half
            room[depth, 1] = stop
            room[depth, 2] = -1.0
            depth += 1
            stop = start + half
        a, b, c, d = _run(x, i, j, start, stop)
        while depth > 0 and room[depth - 1, 2] >= 0.0:
            depth -= 1
            left = room[depth]
            a, b, c, d = left[2] + a, left[3] + b, left[4] + c, left[5] + d
        if depth == 0:
            return a, b, c, d
        left = room[depth - 1]
        left[2], left[3], left[4], left[5] = a, b, c, d
        start, stop = int(left[0]), int(left[1])


@jit
def _tiny(x: np.ndarray, i: int, j: int, room: np.ndarray) -> float:
    """The distance where squares would underflow: scaled by the largest difference."""
    d = x.shape[1]
    scaled = np.zeros((2, d))
    largest = 0.0
    for c in range(d):
        scaled[0, c] = np.float64(x[i, c]) - np.float64(x[j, c])
        largest = max(largest, abs(scaled[0, c]))
    if largest == 0.0:
        return 0.0
    exponent = math.frexp(largest)[1]
    for c in range(d):
        scaled[0, c] = math.ldexp(scaled[0, c], -exponent)
    total = _squares(scaled, (0, 0, 0, 0), (1, 1, 1, 1), room)[0]
    return math.ldexp(math.sqrt(total), exponent)


@jit
def _length(
    total: float, original: np.ndarray, exponent: int, i: int, j: int, room: np.ndarray
) -> float:
    if total < _TINY:
        return _tiny(original, i, j, room)
    length = math.sqrt(total)
    return length if exponent == 0 else math.ldexp(length, exponent)


@jit
def distances_from(
    x: np.ndarray,
    original: np.ndarray,
    exponent: int,
    i: int,
    j: np.ndarray,
    count: int,
    room: np.ndarray,
    out: np.ndarray,
) -> None:
    """Euclidean distances of row i to the first ``count`` rows of ``j``, into ``out``.

    The arrays and the exponent are those of a ``Cloud``; ``room`` comes from :func:`forks`. A
    distance is infinite where it exceeds float64: the caller raises.
    """
    same = (i, i, i, i)
    last = count - 1
    for p in range(0, count, _ABREAST):
        # The last pairs stand in for those that are missing.
        q = (j[p], j[min(p + 1, last)], j[min(p + 2, last)], j[min(p + 3, last)])
        totals = _squares(x, same, q, room)
        for t in range(min(_ABREAST, count - p)):
            out[p + t] = _length(totals[t], original, exponent, i, q[t], room)


@jit
def fill_distances(
    x: np.ndarray,
    original: np.ndarray,
    exponent: int,
    i: np.ndarray,
    j: np.ndarray,
    out: np.ndarray,
) -> None:
    """Distances of the pairs (i[p], j[p]) into ``out``."""
    fill_squares(x, i, j, out)
    room = forks()
    for p in range(len(i)):
        out[p] = _length(out[p], original, exponent, i[p], j[p], room)


@jit
def fill_squares(x: np.ndarray, i: np.ndarray, j: np.ndarray, out: np.ndarray) -> None:
    """Sums of squared differences of the pairs (i[p], j[p]) into ``out``."""
    room = forks()
    last = len(i) - 1
    for p in range(0, len(i), _ABREAST):
        q, r, s = min(p + 1, last), min(p + 2, last), min(p + 3, last)
        totals = _squares(x, (i[p], i[q], i[r], i[s]), (j[p], j[q], j[r], j[s]), room)
        for t in range(min(_ABREAST, len(i) - p)):
            out[p + t] = totals[t]
