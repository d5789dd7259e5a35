"""Windows of long texts as data sets."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hiddenscape.data.arrays import TokenDataset
from hiddenscape.data.dataset import Span, check_ids, check_labels
from hiddenscape.data.limits import LIMITS, Limits, kind_of, read_text, title_of
from hiddenscape.data.text import TextDataset, text_dataset
from hiddenscape.errors import InputError

__all__ = ["WINDOW_UNITS", "window_dataset"]

WINDOW_UNITS = ("words", "chars", "lines", "paragraphs", "tokens")
_GAP = re.compile(r"\n[^\S\n]*\n\s*")


def window_dataset(
    source: str | Path | Sequence[str] | TextDataset,
    size: int,
    stride: int | None = None,
    *,
    unit: Literal["words", "chars", "lines", "paragraphs", "tokens"] = "words",
    tokenizer: Any = None,
    partial: Literal["keep", "drop"] = "keep",
    text: str = "text",
    label_columns: Sequence[str] | None = None,
    name: str | None = None,
    limit: int | None = None,
    limits: Limits = LIMITS,
) -> TextDataset | TokenDataset:
    """Windows of ``size`` units, one every ``stride`` units, of each text.

    Parameters
    ----------
    source : path, sequence of str, or TextDataset
        A ``.txt`` file is one text; each row of another file, or of a list, is a text of its own.
        No window reaches over the end of a text.
    size, stride : int
        In units. By default windows do not overlap.
    unit : {"words", "chars", "lines", "paragraphs", "tokens"}
        Words are separated by white space, paragraphs by empty lines; empty lines do not count.
        What stands between two units is kept as it is. ``tokens`` needs ``tokenizer`` and gives
        rows of token ids, of exactly ``size`` tokens beside the special ones.
    tokenizer : Hugging Face tokenizer, optional
        That of the network, for ``tokens``: ``network.tokenizer``.
    partial : {"keep", "drop"}
        The last window of a text, if it is shorter.
    text, label_columns : optional
        Columns of a file.
    name : str, optional
        Name for manifests.
    limit : int, optional
        Use the first windows only.
    limits : Limits
        Bounds on the file.

    Returns
    -------
    TextDataset, or TokenDataset for ``tokens``
        Ids are ``SOURCE:START``; labels are those of the texts, ``source`` (id of the text) and
        ``start`` (first unit). Spans that lie inside a window stay.

    Raises
    ------
    InputError
        If sizes make no sense, there is no window at all, or ``tokens`` lacks a tokenizer.

    Examples
    --------
    >>> data = window_dataset(["to be  or not to be"], 4, 2)
    >>> data.texts, data.ids
    (('to be  or not', 'or not to be'), ('0:0', '0:2'))
    """
    stride = size if stride is None else stride
    if size < 1 or stride < 1:
        raise InputError(f"size and stride must be at least 1, got {size} and {stride}")
    if unit not in WINDOW_UNITS or partial not in ("keep", "drop"):
        raise InputError(
            f"unit must be one of {', '.join(WINDOW_UNITS)} and partial 'keep' or 'drop', got "
            f"{unit!r} and {partial!r}"
        )
    whole = _texts(source, text, label_columns, name, limits)
    recipe = json.dumps({"from": whole.recipe, "windows": [size, stride, unit, partial]})
    if unit == "tokens":
        return _token_windows(whole, size, stride, tokenizer, partial, limit)
    cuts: list[tuple[int, int, int, int]] = []
    for row, body in enumerate(whole.texts):
        if unit == "chars":
            ranges = _ranges(len(body), size, stride, partial)
            cuts += [(row, at, at, stop) for at, stop in ranges]
            continue
        units = _units(body, unit)
        cuts += [
            (row, at, units[at][0], units[stop - 1][1])
            for at, stop in _ranges(len(units), size, stride, partial)
        ]
    cuts = _some(cuts, whole.name, limit)
    return TextDataset(
        texts=tuple(whole.texts[row][start:stop] for row, _, start, stop in cuts),
        name=whole.name,
        spans={
            mark: tuple(_inside(ranges[row], start, stop) for row, _, start, stop in cuts)
            for mark, ranges in whole.spans.items()
        },
        recipe=recipe,
        template_hash=whole.template_hash,
        origin=whole.origin,
        **_named(whole, [(row, at) for row, at, _, _ in cuts]),
    )


def _texts(
    source: str | Path | Sequence[str] | TextDataset,
    text: str,
    label_columns: Sequence[str] | None,
    name: str | None,
    limits: Limits,
) -> TextDataset:
    if isinstance(source, TextDataset):
        return source
    if isinstance(source, str | Path) and kind_of(Path(source)) == ".txt":
        path = Path(source)
        title = name or title_of(path)
        body = read_text(path, limits).replace("\r\n", "\n")
        return text_dataset([body], ids=[title], name=title, label_columns=label_columns)
    if not isinstance(source, str | Path):
        return text_dataset(source, name=name, label_columns=label_columns)
    return text_dataset(source, text=text, label_columns=label_columns, name=name, limits=limits)


def _units(text: str, unit: str) -> list[tuple[int, int]]:
    """Character range of each unit."""
    if unit == "words":
        return [m.span() for m in re.finditer(r"\S+", text)]
    pieces: list[tuple[int, int]] = []
    at = 0
    for gap in (re.compile("\n") if unit == "lines" else _GAP).finditer(text):
        pieces.append((at, gap.start()))
        at = gap.end()
    pieces.append((at, len(text)))
    return [(a, b) for a, b in pieces if a < b and not text[a:b].isspace()]


def _ranges(count: int, size: int, stride: int, partial: str) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for at in range(0, count, stride):
        stop = min(at + size, count)
        if stop - at == size or partial == "keep":
            out.append((at, stop))
        if stop == count:  # what follows is part of this window
            break
    return out


def _some(cuts: list[Any], name: str, limit: int | None) -> list[Any]:
    if not cuts:
        raise InputError(
            f"{name}: no window at all; the texts are empty, or shorter than size with "
            "partial='drop'"
        )
    return cuts[:limit]


def _inside(span: Span, start: int, stop: int) -> Span:
    if span is None or span[0] < start or span[1] > stop:
        return None
    return span[0] - start, span[1] - start


def _named(whole: TextDataset, cuts: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Ids and labels of windows, each given as (row of its text, first unit)."""
    rows = np.array([row for row, _ in cuts])
    own = {"source": [whole.ids[row] for row, _ in cuts], "start": [at for _, at in cuts]}
    for column in own:
        if column in whole.labels:
            raise InputError(f"{whole.name}: windows have a label {column!r} of their own; rename")
    inherited = {column: values[rows] for column, values in whole.labels.items()}
    ids = [f"{whole.ids[row]}:{at}" for row, at in cuts]
    return {
        "ids": check_ids(ids, len(cuts), where=whole.name),
        "labels": check_labels({**inherited, **own}, len(cuts), where=whole.name),
    }


def _token_windows(
    whole: TextDataset, size: int, stride: int, tokenizer: Any, partial: str, limit: int | None
) -> TokenDataset:
    if tokenizer is None:
        raise InputError(
            "windows of tokens need the tokenizer of the network: tokenizer=network.tokenizer"
        )
    if whole.spans:
        raise InputError(f"{whole.name}: windows of tokens cannot carry spans of characters")
    front, back = _specials(tokenizer)
    cuts: list[tuple[int, int, np.ndarray, str]] = []
    offsets = bool(getattr(tokenizer, "is_fast", False))
    for row, body in enumerate(whole.texts):
        out = tokenizer(
            body, add_special_tokens=False, truncation=False, verbose=False,
            return_offsets_mapping=offsets, return_attention_mask=False,
        )  # fmt: skip
        ids = np.asarray(out["input_ids"], dtype=np.int32)
        for at, stop in _ranges(len(ids), size, stride, partial):
            if offsets:
                piece = body[out["offset_mapping"][at][0] : out["offset_mapping"][stop - 1][1]]
            else:
                piece = tokenizer.decode(ids[at:stop].tolist())
            cuts.append((row, at, ids[at:stop], piece))
    cuts = _some(cuts, whole.name, limit)
    kinds = np.array([1, 0, 1], dtype=np.uint8)
    return TokenDataset(
        rows=tuple(np.concatenate([front, ids, back]).astype(np.int32) for _, _, ids, _ in cuts),
        special=tuple(np.repeat(kinds, [len(front), len(c[2]), len(back)]) for c in cuts),
        name=whole.name,
        texts=tuple(piece for _, _, _, piece in cuts),
        **_named(whole, [(row, at) for row, at, _, _ in cuts]),
    )


def _specials(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Ids that the tokenizer puts in front of a text and behind it."""
    out = tokenizer(
        "a", add_special_tokens=True, return_special_tokens_mask=True, return_attention_mask=False
    )
    ids, mask = list(out["input_ids"]), list(out["special_tokens_mask"])
    content = [i for i, special in enumerate(mask) if not special]
    if not content:
        raise InputError("the tokenizer makes no token of the letter 'a'; cannot tell its specials")
    return ids[: content[0]], ids[content[-1] + 1 :]
