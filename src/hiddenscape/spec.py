"""One run, described once: :class:`RunSpec` is the TOML file, the command line and the arguments.

Every option exists in exactly one place, as a field of :class:`RunSpec`. Its annotation gives the
type, its metadata the help text, the choices and the group; the command line and the check of a
TOML file are made from these. The file is flat, and its keys are the field names::

    network = "gpt2"
    data = "sentences.txt"
    sites = ["embed", "resid_post.*"]
    k = [10, 30]
    out = "runs/gpt2"

On the command line underscores become hyphens and lists are separated by commas:
``--batch-tokens 8192 --k 10,30``.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Self, get_type_hints

from hiddenscape.errors import ConfigError

__all__ = ["GROUPS", "Option", "RunSpec", "options"]

GROUPS = ("network", "data", "extraction", "measure", "output")
"""Groups of options, in the order in which they are shown."""


def _option(
    group: str,
    help: str,
    default: Any,
    *,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    below: float | None = None,
    pattern: str = "",
) -> Any:
    metadata = {
        "group": group,
        "help": help,
        "choices": choices,
        "minimum": minimum,
        "below": below,
        "pattern": pattern,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """Everything that fixes a run: a frozen value, checked when it is made.

    Parameters
    ----------
    network, data, out, ... :
        See ``hiddenscape run --help``, which is made from the fields of this class.

    Raises
    ------
    ConfigError
        For an unknown field, a value of another type, or one that is not among the choices. The
        message names the field.

    Examples
    --------
    >>> spec = RunSpec(network="demo", data="digits", out="runs/demo", k=[10, 30])
    >>> spec.k
    (10, 30)
    >>> RunSpec.from_dict(spec.to_dict()) == spec
    True
    >>> spec.replace(dtype="float23")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    hiddenscape.errors.ConfigError: dtype: got 'float23', expected one of auto, float32, ...
    """

    # network
    network: str = _option(
        "network",
        "Hugging Face id, folder of a checkpoint, python:FILE.py:FUNCTION for your own, or 'demo' "
        "for the network inside the package.",
        "",
    )
    task: str | None = _option(
        "network", "What the network was trained for, where its files do not tell.", None
    )
    revision: tuple[str, ...] = _option(
        "network",
        "Branch, tag or commit of a Hugging Face id. Several are states of one training: each is "
        "run, the last one is the run itself; NAME=STEP tells the step where the name does not.",
        (),
    )
    checkpoints: tuple[str, ...] = _option(
        "network",
        "Folders or patterns with states of one training (checkpoint-100, checkpoint-2000, ...) or "
        "of one adapter. Without --network the last one is the run itself.",
        (),
    )
    main_checkpoint: str | None = _option(
        "network", "Which checkpoint or revision is the run itself, if not the last.", None
    )
    keep_going: bool = _option(
        "network", "Leave out checkpoints that are missing or damaged, and say so.", False
    )
    drop_cache: bool = _option(
        "network",
        "Delete from the hub's cache what each revision of a sweep added, once its points are "
        "stored.",
        False,
    )
    adapter: str | None = _option(
        "network", "PEFT adapter, a folder or a Hugging Face id; never merged.", None
    )
    with_base: bool = _option(
        "network", "With an adapter: also run its base, from the same files.", False
    )
    tokenizer: str | None = _option(
        "network", "Where the tokenizer comes from, if not from the network's own files.", None
    )
    dtype: str = _option(
        "network",
        "Numbers the network computes with; auto keeps those of the checkpoint.",
        "auto",
        choices=("auto", "float32", "bfloat16", "float16", "float64"),
    )
    device: str = _option("network", "Where the network runs: cpu, cuda, cuda:1, mps.", "cpu")
    attn: str = _option(
        "network",
        "Attention implementation.",
        "sdpa",
        choices=("sdpa", "eager", "flash_attention_2"),
    )
    trust_remote_code: bool = _option(
        "network", "Run code that comes with a Hugging Face id. Off unless you trust it.", False
    )
    allow_bin: bool = _option(
        "network",
        "Where there are no safetensors, read old .bin files, as tensors only.",
        False,
    )
    quantization: str | None = _option(
        "network",
        "Quantise full weights while loading. Checkpoints that are quantised already need nothing.",
        None,
        choices=("bitsandbytes-8bit", "bitsandbytes-4bit", "torchao-int8", "torchao-int4"),
    )
    device_map: str | None = _option(
        "network", "Spread the network over devices by accelerate: auto, balanced, ...", None
    )
    offload_folder: str | None = _option(
        "network", "Where a device map may put weights that fit into no memory.", None
    )
    untrained_twin: bool = _option(
        "network",
        "Also run the same network with fresh random weights, the null of the run.",
        False,
    )
    twin_seed: int = _option("network", "Seed of the twin's random weights.", 0, minimum=0)

    # data
    data: str = _option(
        "data",
        "File of inputs (.txt .jsonl .csv .tsv .parquet .fasta .npy .npz), folder of images, "
        "hf:NAME of a data set on the hub, or 'digits'.",
        "",
    )
    text: str = _option("data", "Column that holds the text, in files with columns.", "text")
    input: str | None = _option(
        "data",
        "Array of an .npz file, or column of a data set, that holds the inputs, where its name "
        "does not tell.",
        None,
    )
    labels: tuple[str, ...] = _option(
        "data",
        "Columns that hold labels, as NAME, NAME:text or NAME:number; all but text and id if "
        "empty.",
        (),
    )
    label_map: str | None = _option(
        "data", "Table with more labels (.tsv .csv); its column id, or its first, is the row id.",
        None,
    )  # fmt: skip
    missing_labels: str = _option(
        "data", "Rows that the label map lacks: refuse, or a missing label.", "error",
        choices=("error", "nan"),
    )  # fmt: skip
    sequences: tuple[str, ...] = _option(
        "data",
        "The texts are sequences of amino acids, and this may be done to them: upper case, U Z O B "
        "as X, leave out stops (*) or gaps (-), blanks between letters.",
        (),
        choices=("upper", "rare_x", "drop_stop", "drop_gaps", "spaced"),
    )
    window: int | None = _option(
        "data", "Cut texts into windows of so many units.", None, minimum=1
    )
    stride: int | None = _option(
        "data", "Units from window to window; a whole window if not given.", None, minimum=1
    )
    window_unit: str = _option(
        "data", "Unit of windows; tokens are those of the network.", "words",
        choices=("words", "chars", "lines", "paragraphs", "tokens"),
    )  # fmt: skip
    template: str | None = _option(
        "data", "File with a prompt template: a question with {field}, or .toml with more.", None
    )
    shots: int = _option("data", "Solved examples in front of each question.", 0, minimum=0)
    shot_data: str | None = _option(
        "data", "Table of examples; the other rows of the data if not given.", None
    )
    shot_seed: int = _option("data", "Keys the draw of examples.", 0, minimum=0)
    image_size: int | None = _option(
        "data", "Side that images are resized to, for networks without an image processor.", None,
        minimum=1,
    )  # fmt: skip
    image_alpha: str = _option(
        "data", "Transparent pixels: refuse, their hidden color, or a background.", "error",
        choices=("error", "drop", "white", "black"),
    )  # fmt: skip
    limit: int | None = _option("data", "Use the first rows only.", None, minimum=3)
    input_limits: tuple[str, ...] = _option(
        "data",
        "Bounds on files, against damaged and hostile ones, as NAME=NUMBER: bytes, rows, cell, "
        "ratio (of packing), pixels.",
        (),
    )

    # extraction
    sites: tuple[str, ...] = _option(
        "extraction",
        "Sites to store: names, ranges, stars (resid_post.0-5, resid_post.*) or 'all'; see "
        "`hiddenscape sites`. SITE@POOLING brings its own pooling.",
        ("all",),
    )
    pooling: tuple[str, ...] = _option(
        "extraction",
        "How tokens become one point per row: mean, mean_all, last, cls, token:I, span:NAME, flat, "
        "gap, gmax; or tokens, to keep every one.",
        ("mean",),
        pattern=r"mean|mean_all|last|cls|token:-?\d+|span:[^,@:\s]+|flat|gap|gmax|tokens",
    )
    batch_tokens: int = _option("extraction", "Padded tokens per batch at most.", 4096, minimum=1)
    batch_size: int | None = _option(
        "extraction", "Rows per batch at most; what the token budget allows if not given.", None,
        minimum=1,
    )  # fmt: skip
    max_length: int | None = _option(
        "extraction",
        "Longest row of tokens; what the network allows if not given.",
        None,
        minimum=1,
    )
    overlength: str = _option(
        "extraction",
        "What to do with longer rows: error, truncate:head, truncate:tail, window:STRIDE, skip.",
        "error",
        pattern=r"error|truncate:head|truncate:tail|window:[1-9]\d*|skip",
    )
    shard_rows: int | None = _option(
        "extraction", "Rows per file of the store; chosen by size if not given.", None, minimum=1
    )
    store_dtype: str = _option(
        "extraction",
        "Numbers that are stored; auto: float32, save that every token of a bfloat16 network stays "
        "bfloat16.",
        "auto",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    on_oom: str = _option(
        "extraction",
        "What to do with a row that alone does not fit into the device's memory.",
        "fail",
        choices=("fail", "skip", "cpu"),
    )
    store_text: bool = _option("extraction", "Keep the texts in rows.csv.", True)

    # measure
    analyses: tuple[str, ...] = _option(
        "measure",
        "What to measure: names, groups (dimension, density, peaks, labels, rows, pairs), default "
        "or all; see `hiddenscape list analyses`. What is fast if empty.",
        (),
    )
    k: tuple[int, ...] = _option(
        "measure", "Neighborhood sizes of the overlaps.", (10, 30), minimum=1
    )
    max_rank: int | None = _option(
        "measure", "Largest neighbor rank of the GRIDE scan; by default min(n / 4, 256).", None,
        minimum=2,
    )  # fmt: skip
    imbalance_k: int = _option(
        "measure", "Neighbors averaged by the information imbalance.", 1, minimum=1
    )
    dimension_k: tuple[int, ...] = _option(
        "measure", "Neighborhood sizes of the local dimension estimators (mle, tle, ...).", (20,),
        minimum=3,
    )  # fmt: skip
    subsets: tuple[int, ...] = _option(
        "measure",
        "Measure every dimension also on so many disjoint parts of the rows (2,4,8: halves, "
        "quarters, eighths), at larger scales.",
        (),
        minimum=2,
    )
    density_rank: int = _option(
        "measure",
        "Densities use the dimension at neighbor ranks (half of this, this); 2 is TwoNN.",
        2,
        minimum=2,
    )
    density_dimension: float | None = _option(
        "measure", "Densities use this dimension at every site.", None, minimum=1
    )
    alpha: float = _option(
        "measure", "Level of the test behind k*, between 0 and 1.", 1e-6, minimum=0, below=1
    )
    kstar_depth: int = _option("measure", "Neighbors among which k* is sought.", 100, minimum=6)
    density: str = _option(
        "measure", "What peaks are sought in.", "pak", choices=("pak", "kstar", "knn", "bmti")
    )
    density_k: int = _option("measure", "Neighbors of the density knn.", 16, minimum=2)
    z: float = _option(
        "measure", "Errors by which a peak must rise above its saddles.", 1.65, minimum=0
    )
    z_scan: tuple[float, ...] = _option(
        "measure", "Other values of z to count the clusters at.", (1.0, 1.65, 2.5, 4.0), minimum=0
    )
    stability_draws: int = _option(
        "measure", "Subsamples on which adp_stability seeks the clusters again.", 20, minimum=0
    )
    seed: int = _option("measure", "Keys every random stream of the measures.", 0, minimum=0)

    # output
    out: str = _option("output", "Run directory to write.", "")
    title: str | None = _option("output", "Title of the report.", None)

    def __post_init__(self) -> None:
        for option in options():
            value = option.check(getattr(self, option.name))
            object.__setattr__(self, option.name, value)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed; unknown names raise :class:`ConfigError`."""
        return self.from_dict({**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Fields by name, in order; tuples as lists, so that it can be written as JSON."""
        values = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, source: str = "") -> Self:
        """Make a spec from a mapping; ``source`` (a file name) is named in errors.

        Raises
        ------
        ConfigError
            For an unknown key (with close matches), a table, or a value that does not fit.
        """
        where = f"{source}: " if source else ""
        known = [o.name for o in options()]
        for key, value in values.items():
            if key in known:
                continue
            hint = _similar(key, known)
            if isinstance(value, Mapping):
                hint = "; run files are flat, write its keys without a table"
            raise ConfigError(f"{where}unknown option {key!r}{hint}")
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(f"{where}{error}") from None

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Read a run file.

        Raises
        ------
        ConfigError
            If the file is missing, is not TOML, or holds an option that cannot be used.
        """
        path = Path(path)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"cannot read the run file {path}: {reason}") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path} is not valid TOML: {error}") from error
        return cls.from_dict(values, source=str(path))

    def to_toml(self) -> str:
        """The run file of this spec: every option that is set, grouped, with its help.

        Examples
        --------
        >>> print(RunSpec(network="gpt2", k=[5]).to_toml().splitlines()[0])
        # network
        """
        lines: list[str] = []
        for group in GROUPS:
            lines += ["", f"# {group}"] if lines else [f"# {group}"]
            for option in options(group):
                value = getattr(self, option.name)
                if value is not None:
                    lines.append(f"{option.name} = {_toml(value)}")
        return "\n".join(lines) + "\n"

    def arguments(self, group: str) -> dict[str, Any]:
        """The options of a group as keyword arguments; an empty list means "all", and is None.

        Examples
        --------
        >>> RunSpec(k=[5]).arguments("measure")["k"]
        (5,)
        """
        values = {o.name: getattr(self, o.name) for o in options(group)}
        return {name: None if value == () else value for name, value in values.items()}

    def require(self, *names: str) -> None:
        """Raise :class:`ConfigError` for the first of the named fields that is empty."""
        for name in names:
            if not getattr(self, name):
                flag = name.replace("_", "-")
                raise ConfigError(f"{name} is missing: give --{flag}, or {name} = ... in the file")


@dataclass(frozen=True, slots=True)
class Option:
    """One field of :class:`RunSpec` as the command line and the TOML check see it.

    Attributes
    ----------
    name, group, help : str
    kind : type
        ``str``, ``int``, ``float`` or ``bool``: the type of the value or of the items of a list.
    many, optional : bool
        Whether it holds a list; whether it may be absent.
    choices : tuple of str
        Allowed values; empty where anything goes.
    minimum, below : float or None
        Smallest allowed number; the number that all must stay below.
    pattern : str
        Regular expression that a text must match as a whole; empty where anything goes.
    default : object
    """

    name: str
    group: str
    help: str
    kind: Any
    many: bool
    optional: bool
    choices: tuple[str, ...]
    minimum: float | None
    below: float | None
    pattern: str
    default: Any

    @property
    def expected(self) -> str:
        """What the option takes, in words."""
        one = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
        many = {str: "a list of texts", int: "a list of whole numbers", float: "a list of numbers"}
        return many[self.kind] if self.many else one[self.kind]

    def check(self, value: Any) -> Any:
        """The value in its final form, or :class:`ConfigError` naming the field."""
        if value is None and self.optional:
            return None
        if not self.many:
            return self._check_one(value)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            value = (value,)
        if not isinstance(value, Iterable) or isinstance(value, str | Mapping):
            raise ConfigError(f"{self.name}: got {value!r}, expected {self.expected}")
        return tuple(self._check_one(item) for item in value)

    def _check_one(self, value: Any) -> Any:
        if isinstance(value, Path) and self.kind is str:
            value = str(value)
        # bool is an int in Python, and never a number here.
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.kind is float:
            fits = number and math.isfinite(value)
        else:
            fits = isinstance(value, self.kind) and (self.kind is not int or number)
        if not fits:
            raise ConfigError(f"{self.name}: got {value!r}, expected {self.expected}")
        if self.kind is float:
            value = float(value)
        if self.choices and value not in self.choices:
            allowed = ", ".join(self.choices)
            raise ConfigError(f"{self.name}: got {value!r}, expected one of {allowed}")
        if self.pattern and re.fullmatch(self.pattern, value) is None:
            raise ConfigError(f"{self.name}: got {value!r}, expected one of: {self.help}")
        if self.minimum is not None and value < self.minimum:
            raise ConfigError(f"{self.name}: got {value}, expected at least {self.minimum}")
        if self.below is not None and not value < self.below:
            raise ConfigError(f"{self.name}: got {value}, expected less than {self.below}")
        return value


def options(*groups: str) -> tuple[Option, ...]:
    """The options of the given groups, all if none is given, in the order of the fields.

    Examples
    --------
    >>> [o.name for o in options("output")]
    ['out', 'title']
    """
    return tuple(o for o in _all_options() if not groups or o.group in groups)


@cache
def _all_options() -> tuple[Option, ...]:
    hints = get_type_hints(RunSpec)
    return tuple(_describe(f, hints[f.name]) for f in fields(RunSpec))


def _describe(f: Field[Any], hint: Any) -> Option:
    inner = [a for a in getattr(hint, "__args__", ()) if a not in (type(None), Ellipsis)]
    assert f.default is not MISSING
    return Option(
        name=f.name,
        group=f.metadata["group"],
        help=f.metadata["help"],
        kind=inner[0] if inner else hint,
        many=getattr(hint, "__origin__", None) is tuple,
        optional=type(None) in getattr(hint, "__args__", ()),
        choices=f.metadata["choices"],
        minimum=f.metadata["minimum"],
        below=f.metadata["below"],
        pattern=f.metadata["pattern"],
        default=f.default,
    )


def _similar(key: str, known: list[str]) -> str:
    name = key.replace("-", "_")
    close = [name] if name in known else difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else f"; there are: {', '.join(known)}"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return _toml_text(value) if isinstance(value, str) else repr(value)


def _toml_text(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    body = "".join(
        escapes.get(c) or (f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c) for c in text
    )
    return f'"{body}"'
