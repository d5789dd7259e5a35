"""Compiled loops over neighbour lists: who stands highest around, and where two clusters touch.

``place`` is the position of a row in an order that has no ties, 0 for the highest: comparing places
instead of heights makes every answer independent of how ties are sorted.
"""

from __future__ import annotations

import numpy as np

from hiddenscape.kernels.compiled import jit

__all__ = ["border_rows", "find_modes", "first_higher", "spread_labels", "touches_other"]


@jit
def find_modes(
    indices: np.ndarray, k: np.ndarray, place: np.ndarray, mode: np.ndarray, remover: np.ndarray
) -> None:
    """Rows that stand before all of their first k neighbours, and who takes that away again.

    ``mode`` (n, bool) and ``remover`` (n) are filled: the remover of a mode is the first row, by
    place, that stands before it and has it among its first k neighbours; -1 where there is none.
    """
    n = len(k)
    for i in range(n):
        mode[i] = True
        remover[i] = -1
        for l in range(k[i]):  # noqa: E741
            if place[indices[i, l]] < place[i]:
                mode[i] = False
                break
    for j in range(n):
        for l in range(k[j]):  # noqa: E741
            i = indices[j, l]
            if not mode[i] or place[j] > place[i]:
                continue
            if remover[i] < 0 or place[j] < place[remover[i]]:
                remover[i] = j


@jit
def first_higher(indices: np.ndarray, place: np.ndarray, column: np.ndarray) -> None:
    """Column of the nearest stored neighbour that stands before the row; -1 if none does."""
    for i in range(len(place)):
        column[i] = -1
        for l in range(indices.shape[1]):  # noqa: E741
            if place[indices[i, l]] < place[i]:
                column[i] = l
                break


@jit
def spread_labels(
    indices: np.ndarray, order: np.ndarray, fallback: np.ndarray, labels: np.ndarray
) -> None:
    """In this order each row without a label takes that of its nearest stored one with a label.

    Where no stored neighbour has one, that of row ``fallback[i]``, which must come earlier.
    """
    for i in order:
        l = 0  # noqa: E741
        while labels[i] < 0 and l < indices.shape[1]:
            labels[i] = labels[indices[i, l]]
            l += 1  # noqa: E741
        if labels[i] < 0:
            labels[i] = labels[fallback[i]]


@jit
def border_rows(
    indices: np.ndarray, k: np.ndarray, labels: np.ndarray, center: np.ndarray, other: np.ndarray
) -> None:
    """Rows at a border, and the cluster beyond it.

    Row i of cluster c is at the border of the cluster of j, its nearest foreign row among its first
    k, if no other member of c stands before i in the list of j. Centres are left out. ``other``
    (n) is filled with the label of j; -1 elsewhere.
    """
    for i in range(len(k)):
        other[i] = -1
        if center[i]:
            continue
        own = labels[i]
        foreign = -1
        for l in range(k[i]):  # noqa: E741
            if labels[indices[i, l]] != own:
                foreign = indices[i, l]
                break
        if foreign < 0:
            continue
        first = True
        for l in range(indices.shape[1]):  # noqa: E741
            p = indices[foreign, l]
            if p == i:
                break
            if labels[p] == own:
                first = False
                break
        if first:
            other[i] = labels[foreign]


@jit
def touches_other(
    indices: np.ndarray,
    distances: np.ndarray,
    k: np.ndarray,
    labels: np.ndarray,
    touching: np.ndarray,
) -> None:
    """Rows with a row of another label within the distance of their k-th neighbour."""
    for i in range(len(k)):
        touching[i] = False
        reach = distances[i, k[i] - 1]
        for l in range(indices.shape[1]):  # noqa: E741
            if distances[i, l] > reach:
                break
            if labels[indices[i, l]] != labels[i]:
                touching[i] = True
                break
