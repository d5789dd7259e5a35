"""What fits: sizes of blocks, lists and panels within a stated amount of working memory."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from hiddenscape.errors import InputError

__all__ = ["DEFAULT_MEMORY", "Plan", "parse_memory", "plan_search"]

DEFAULT_MEMORY = 10**9
"""Bytes of working memory beside points and results."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SMALLEST_BLOCK = 64


def parse_memory(memory: int | str | None) -> int:
    """Bytes from a number or a text like ``"500MB"`` or ``"2 GiB"``.

    Raises
    ------
    InputError
        If the text cannot be read or the amount is not positive.

    Examples
    --------
    >>> parse_memory("500MB"), parse_memory("2 GiB"), parse_memory(None)
    (500000000, 2147483648, 1000000000)
    """
    if memory is None:
        return DEFAULT_MEMORY
    if isinstance(memory, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", memory.lower())
        if not found:
            raise InputError(f"memory must read like '500MB' or '2GiB', got {memory!r}")
        number, unit, binary = found.groups()
        base = 1024 if binary else 1000
        memory = int(float(number) * base ** list(_UNITS).index(unit))
    number = isinstance(memory, int | np.integer) and not isinstance(memory, bool)
    if not number or memory < 1:
        raise InputError(f"memory must be a positive number of bytes, got {memory!r}")
    return int(memory)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a search is cut up.

    Attributes
    ----------
    block : int
        Rows and columns of one block of products.
    capacity : int
        Entries of one short list.
    panel : int
        Rows whose lists are held at a time; n if all.
    keep : bool
        Whether the operands of all rows are held.
    """

    block: int
    capacity: int
    panel: int
    keep: bool


def plan_search(
    n: int,
    d: int,
    k: int,
    *,
    memory: int,
    block: int | None,
    itemsize: int,
    copies: int,
    workers: int,
    spare: int = 0,
) -> Plan:
    """Cut a search of n rows so that its working memory stays within ``memory`` bytes.

    ``copies`` operands of ``itemsize`` bytes an entry belong to each row; ``workers`` blocks run at
    a time. Counted are the operands (of all rows, or of the blocks that run), the blocks of
    products, the lists and the norms; not the points and the (n, k) results. Lists have room for
    ``spare`` entries beyond k, or for as many as exact arithmetic leaves in doubt.

    Raises
    ------
    InputError
        If the smallest search does not fit; the message says what would.

    Examples
    --------
    >>> form = {"itemsize": 4, "copies": 1, "workers": 2}
    >>> plan_search(20_000, 1024, 30, memory=10**9, block=None, **form)
    Plan(block=1024, capacity=94, panel=20000, keep=True)
    >>> plan_search(20_000, 1024, 30, memory=5 * 10**7, block=None, **form)
    Plan(block=512, capacity=94, panel=7168, keep=False)
    """
    # Room for what the bound cannot tell apart from the k nearest; a list of n is never full.
    capacity = min(k + max(spare, min(max(64, k // 2), 256)), n)
    per_row = capacity * (itemsize + 4) + 2 * itemsize
    norms = n * (16 + itemsize)
    everything = n * d * itemsize * copies
    # Few enough for products to be fast, many enough to keep all workers busy.
    size = block if block is not None else min(1024, max(128, n // (8 * workers)))
    size = max(1, min(size, n))
    while True:
        fixed = norms + workers * size * size * itemsize * (1 + (copies > 1))
        blocks = workers * 2 * size * d * (itemsize * copies + 16)
        if fixed + n * per_row + everything <= memory:
            return Plan(size, capacity, n, True)
        room = memory - fixed - blocks
        if room >= n * per_row:
            return Plan(size, capacity, n, False)
        panel = room // per_row
        if panel >= min(4 * size, n):
            return Plan(size, capacity, int(panel) // size * size, False)
        if size <= _SMALLEST_BLOCK or block is not None:
            need = fixed + blocks + min(4 * size, n) * per_row
            raise InputError(
                f"memory={memory} bytes are too few to search {n} rows of {d} columns for k = {k}: "
                f"at least {need} are needed"
            )
        size //= 2
