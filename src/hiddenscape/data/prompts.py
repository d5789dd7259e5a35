"""Prompts from a template, with solved examples in front of the question."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from string import Formatter
from typing import Any, Literal

import numpy as np

from hiddenscape.data.dataset import check_ids
from hiddenscape.data.limits import LIMITS, Limits, read_text, title_of
from hiddenscape.data.tables import Columns, read_table
from hiddenscape.data.text import TextDataset
from hiddenscape.errors import ConfigError, InputError

__all__ = ["POOLS", "Template", "prompt_dataset"]

TableLike = str | Path | Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
POOLS = ("group", "others", "all")
"""Where examples come from: the group of the row, the other groups, everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """How prompts are written. ``{field}`` is a column; ``{field:A|B|C}`` the word that a whole
    number in the column counts from 0; ``{{`` a brace.

    A prompt is ``header``, then for each example ``question``, ``answer`` and ``separator``, then
    ``question``.

    Attributes
    ----------
    question : str
        Of the row, up to the point where the answer would begin.
    answer : str
        What follows the question in an example.
    header : str
        In front of everything, from the fields of the row.
    separator : str
        After each example.
    group : str
        Column within which examples are sought; empty for none.

    Examples
    --------
    >>> t = Template(question="{a} + 1 =", answer=" {b:one|two|three}", separator="; ")
    >>> t.fields("answer")
    ('b',)
    """

    question: str
    answer: str = " {answer}"
    header: str = ""
    separator: str = "\n\n"
    group: str = ""

    def __post_init__(self) -> None:
        for f in fields(self):
            if not isinstance(getattr(self, f.name), str):
                raise ConfigError(f"template: {f.name} must be text")
        if not self.question:
            raise ConfigError("template: question is empty")
        for name in ("question", "answer", "header"):
            _parse(getattr(self, name), name)

    @property
    def hash(self) -> str:
        """BLAKE2b (32 hex digits) over the parts."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def fields(self, *parts: str) -> tuple[str, ...]:
        """Columns that the named parts use."""
        found = [n for part in parts for _, n, _ in _parse(getattr(self, part), part) if n]
        return tuple(dict.fromkeys(found))

    @classmethod
    def read(cls, path: str | Path, limits: Limits = LIMITS) -> Template:
        """A ``.toml`` file with the parts as keys, or any other text file as the question alone.

        Raises
        ------
        InputError, ConfigError
            If the file cannot be read, is not TOML, or holds an unknown key.
        """
        path = Path(path)
        content = read_text(path, limits).replace("\r\n", "\n")
        if path.suffix.lower() != ".toml":
            return cls(question=content.removesuffix("\n"))
        try:
            values = tomllib.loads(content)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: is not valid TOML: {error}") from error
        known = [f.name for f in fields(cls)]
        if odd := sorted(set(values) - set(known)):
            raise ConfigError(f"{path}: unknown key {odd[0]!r}; there are: {', '.join(known)}")
        if "question" not in values:
            raise ConfigError(f"{path}: the key 'question' is missing")
        return cls(**values)


Piece = tuple[str, str, tuple[str, ...]]


def _parse(template: str, part: str) -> list[Piece]:
    """Literal text, field, words to choose from: for each field in order."""
    try:
        found = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"template: {part}: {error}; write a brace as {{{{ or }}}}") from error
    out: list[Piece] = []
    for literal, name, words, conversion in found:
        if name == "" or conversion:
            raise ConfigError(
                f"template: {part}: got {{{name or ''}{'!' + conversion if conversion else ''}}}, "
                "expected {field} or {field:A|B|C}; write a brace as {{ or }}"
            )
        out.append((literal, name or "", tuple(words.split("|")) if words else ()))
    return out


def prompt_dataset(
    table: TableLike,
    template: Template | str,
    *,
    shots: int = 0,
    shot_table: str
    | Path
    | Sequence[Mapping[str, Any]]
    | Mapping[str, Sequence[Any]]
    | None = None,
    shot_rows: Sequence[int] | None = None,
    pool: Literal["group", "others", "all"] = "group",
    seed: int = 0,
    label_columns: Sequence[str] | None = None,
    id_column: str | None = None,
    name: str | None = None,
    limit: int | None = None,
    limits: Limits = LIMITS,
) -> TextDataset:
    """Prompts made of the rows of a table, with ``shots`` solved examples each.

    Parameters
    ----------
    table : path, list of mappings, or mapping of columns
        The questions.
    template : Template or str
        A text is the question alone.
    shots : int
        Examples in front of each question.
    shot_table : as ``table``, optional
        Where examples come from; by default the other rows of ``table``. Never the row itself, nor
        one whose question reads the same.
    shot_rows : sequence of int, optional
        Rows of the shot table to take examples from, in this order, for every prompt. None: drawn.
    pool : {"group", "others", "all"}
        Draw from rows that agree with the row in ``template.group``, that do not, or from all.
    seed : int
        Examples and their order are drawn from (seed, row id) alone: neither the number of rows nor
        their order matters, and k examples are the first k of those for more.
    label_columns : sequence of str, optional
        Labels. By default the group, and columns that the question does not use.
    id_column, name, limit, limits
        As in :func:`text_dataset`.

    Returns
    -------
    TextDataset
        With ``template_hash``; template, shots, pool and seed enter the fingerprint.

    Raises
    ------
    ConfigError
        If the template uses a column that does not exist.
    InputError
        If there are fewer examples than shots for a row; the row is named.

    References
    ----------
    The few-shot protocol of Doimo et al. 2024, arXiv:2409.03662: development questions of the
    same subject in an order drawn for each question.

    Examples
    --------
    >>> rows = [{"a": 1, "answer": "two"}, {"a": 2, "answer": "three"}]
    >>> prompt_dataset(rows, "{a} + 1 =", shots=1).texts[0]
    '2 + 1 = three\\n\\n1 + 1 ='
    """
    if shots < 0 or pool not in POOLS:
        raise ConfigError(
            f"shots must be at least 0 and pool one of {', '.join(POOLS)}, got {shots}, {pool!r}"
        )
    template = Template(question=template) if isinstance(template, str) else template
    rows = _columns(table, "table", limits)
    given = rows if shot_table is None else _columns(shot_table, "shot_table", limits)
    ids = check_ids(rows.ids(id_column), rows.rows, where=rows.where)
    questions = [_filled(template.question, rows, row) for row in range(rows.rows)]
    named = [str(i) for i in ids[:limit]]
    prompts = [_filled(template.header, rows, row) for row in range(len(named))]
    if shots:
        examples = _Examples(template, given, shot_rows, pool, seed)
        for row, identifier in enumerate(named):
            prompts[row] += examples.of(rows, row, identifier, questions[row], shots)
    recipe = {
        "template": template.hash, "shots": shots, "pool": pool, "seed": seed,
        "shot_rows": None if shot_rows is None else list(map(int, shot_rows)),
    }  # fmt: skip
    labels = rows.labels(_wanted(template, rows, label_columns, id_column))
    return TextDataset(
        texts=tuple(p + q for p, q in zip(prompts, questions, strict=False)),
        name=name or (title_of(Path(table)) if isinstance(table, str | Path) else "prompts"),
        ids=tuple(named),
        labels={column: values[:limit] for column, values in labels.items()},
        recipe=json.dumps(recipe, sort_keys=True),
        template_hash=template.hash,
    )


def _wanted(
    template: Template, rows: Columns, wanted: Sequence[str] | None, id_column: str | None
) -> list[str]:
    if wanted is not None:
        return list(wanted)
    # The group stays a label although the header or the question may name it.
    used = set(template.fields("question")) - {template.group} | {id_column or "id"}
    return [c for c in rows.columns if c not in used]


def _columns(table: Any, where: str, limits: Limits) -> Columns:
    if isinstance(table, str | Path):
        return read_table(Path(table), limits)
    if isinstance(table, Mapping):
        columns = {str(n): np.asarray(v).tolist() for n, v in table.items()}
        if len({len(v) for v in columns.values()}) > 1:
            raise InputError(f"{where}: columns differ in length")
        found = Columns(where=where, columns=columns, typed=True)
    else:
        records = list(table)
        names = list(records[0]) if records else []
        for row, record in enumerate(records):
            if set(record) != set(names):
                odd = sorted(set(record) ^ set(names))[0]
                raise InputError(f"{where}: rows 0 and {row} differ in field {odd!r}")
        found = Columns(
            where=where, columns={n: [r[n] for r in records] for n in names}, typed=True
        )
    if not found.rows:
        raise InputError(f"{where}: holds no rows")
    return found


def _filled(template: str, table: Columns, row: int) -> str:
    out = []
    for literal, name, words in _parse(template, table.where):
        out.append(literal)
        if name:
            value = table.named(name)[row]
            out.append(_word(value, words, table.at(row, name)))
    return "".join(out)


def _word(value: Any, words: Sequence[str], where: str) -> str:
    if not words:
        if value is None or isinstance(value, list | dict):
            raise InputError(f"{where}: a prompt needs one value, got {value!r}")
        return str(value)
    try:
        index = int(value) if not isinstance(value, float | bool) else -1
    except (TypeError, ValueError):
        index = -1
    if not 0 <= index < len(words):
        raise InputError(
            f"{where}: got {value!r}, expected a whole number from 0 to {len(words) - 1}"
        )
    return words[index]


class _Examples:
    """Solved questions, ready to be put in front of others."""

    def __init__(
        self, template: Template, table: Columns, rows: Sequence[int] | None, pool: str, seed: int
    ) -> None:
        self.template, self.table, self.pool, self.seed = template, table, pool, seed
        self.questions = [_filled(template.question, table, r) for r in range(table.rows)]
        self.groups = table.named(template.group) if template.group else [""] * table.rows
        self.fixed = None if rows is None else [int(r) for r in rows]
        for row in self.fixed or ():
            if not 0 <= row < table.rows:
                raise InputError(f"shot_rows: there is no row {row} in {table.where}")
        self.members: dict[Any, list[int]] = {}
        for row, group in enumerate(self.groups):
            self.members.setdefault(group, []).append(row)

    def of(self, rows: Columns, row: int, identifier: str, question: str, shots: int) -> str:
        """The examples of one row, as text."""
        drawn = self._drawn(rows, row, identifier)
        order: Iterable[int] = drawn if self.fixed is None else self.fixed
        chosen: list[int] = []
        for candidate in order:
            if len(chosen) == shots:
                break
            itself = rows is self.table and candidate == row
            # A question that reads the same would give its answer away.
            if not itself and self.questions[candidate] != question:
                chosen.append(candidate)
        if len(chosen) < shots:
            raise InputError(
                f"{rows.where}: row {row} (id {identifier!r}): {len(chosen)} examples beside "
                f"itself, {shots} are needed; use fewer shots, another pool or a larger shot table"
            )
        answer, end = self.template.answer, self.template.separator
        return "".join(self.questions[c] + _filled(answer, self.table, c) + end for c in chosen)

    def _drawn(self, rows: Columns, row: int, identifier: str) -> Iterator[int]:
        group = rows.named(self.template.group)[row] if self.template.group else ""
        inside = self.pool == "group"
        candidates = self.members.get(group, []) if inside else range(self.table.rows)
        stream = hashlib.blake2b(identifier.encode(), digest_size=8).digest()
        rng = np.random.default_rng([self.seed, int.from_bytes(stream, "little")])
        # A shuffle that goes only as far as it is read.
        moved: dict[int, int] = {}
        for at in range(len(candidates)):
            other = int(rng.integers(at, len(candidates)))
            candidate = candidates[moved.get(other, other)]
            moved[other] = moved.get(at, at)
            if self.pool != "others" or self.groups[candidate] != group:
                yield candidate
