"""Which files of a store this process writes, where several processes share the work."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from hiddenscape.errors import InputError

__all__ = ["local_device", "mine", "parse_share"]

_SHARE = re.compile(r"(\d+)/(\d+)")
_PAIRS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))


def parse_share(text: str | None, env: Mapping[str, str] | None = None) -> tuple[int, int]:
    """``i/n`` as (i, n): this process takes every n-th file, from number i on.

    ``auto`` reads the variables of a SLURM array (``SLURM_ARRAY_TASK_ID``, ``_MIN``, ``_COUNT``,
    ``_STEP``), of torchrun (``RANK``, ``WORLD_SIZE``) and of SLURM tasks (``SLURM_PROCID``,
    ``SLURM_NTASKS``); tasks inside the elements of an array share the element's files.

    Raises
    ------
    InputError
        If the text has another form, i is not below n, or ``auto`` finds no variables.

    Examples
    --------
    >>> parse_share("2/8"), parse_share(None)
    ((2, 8), (0, 1))
    >>> parse_share("auto", {"RANK": "1", "WORLD_SIZE": "4"})
    (1, 4)
    """
    if text is None:
        return 0, 1
    if text == "auto":
        return _automatic(os.environ if env is None else env)
    match = _SHARE.fullmatch(text)
    if match is None or not int(match[1]) < int(match[2]):
        raise InputError(
            f"shard {text!r}: expected I/N with 0 <= I < N, such as 0/4 to 3/4, or 'auto'"
        )
    return int(match[1]), int(match[2])


def _automatic(env: Mapping[str, str]) -> tuple[int, int]:
    i, n, found = 0, 1, False
    if "SLURM_ARRAY_TASK_ID" in env:
        first = _number(env, "SLURM_ARRAY_TASK_MIN", "0")
        step = max(1, _number(env, "SLURM_ARRAY_TASK_STEP", "1"))
        i = (_number(env, "SLURM_ARRAY_TASK_ID") - first) // step
        n, found = _number(env, "SLURM_ARRAY_TASK_COUNT", "1"), True
    for rank, count in _PAIRS:
        if rank in env and count in env:
            i, n = i * _number(env, count) + _number(env, rank), n * _number(env, count)
            found = True
            break
    if not found:
        raise InputError(
            "shard 'auto': neither SLURM_ARRAY_TASK_ID, RANK nor SLURM_PROCID is set; start it "
            "from a SLURM job or torchrun, or give I/N"
        )
    if not 0 <= i < n:
        raise InputError(f"shard 'auto': the variables give share {i} of {n}")
    return i, n


def _number(env: Mapping[str, str], name: str, default: str | None = None) -> int:
    text = env.get(name, default)
    if text is None or not text.strip().lstrip("-").isdigit():
        raise InputError(f"shard 'auto': {name} is {text!r}, expected a whole number")
    return int(text)


def mine(
    todo: Sequence[tuple[int, int]], ranges: Sequence[tuple[int, int]], share: tuple[int, int]
) -> list[tuple[int, int]]:
    """The row ranges of ``todo`` that fall to a share.

    Examples
    --------
    >>> ranges = [(0, 4), (4, 8), (8, 10)]
    >>> mine([(4, 8), (8, 10)], ranges, (0, 2))
    [(8, 10)]
    """
    number = {span: j for j, span in enumerate(ranges)}
    return [span for span in todo if number[span] % share[1] == share[0]]


def local_device(device: str, env: Mapping[str, str] | None = None) -> str:
    """``cuda`` as the device of this process, where several run on one machine.

    Examples
    --------
    >>> local_device("cuda", {"LOCAL_RANK": "2"}), local_device("cpu", {"LOCAL_RANK": "2"})
    ('cuda:2', 'cpu')
    """
    rank = (os.environ if env is None else env).get("LOCAL_RANK", "")
    return f"cuda:{rank}" if device == "cuda" and rank.isdigit() else device
