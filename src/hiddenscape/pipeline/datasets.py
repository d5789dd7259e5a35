"""The data set of a spec: opened by the kind of its path, its labels chosen, its first rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hiddenscape.errors import ConfigError, NetworkError
from hiddenscape.spec import RunSpec, options

if TYPE_CHECKING:
    from hiddenscape.data.dataset import Dataset
    from hiddenscape.data.limits import Limits
    from hiddenscape.data.sequences import SequenceRules

__all__ = ["open_data"]

_TEXTS = ("text", "table", "columnar", "fasta", "hub")
_FITS = {
    "text": ("table", "columnar", "hub"),
    "input": ("archive", "columnar", "hub"),
    "sequences": _TEXTS,
    "window": _TEXTS,
    "template": ("table", "columnar"),
    "image_size": ("images", "columnar", "hub"),
    "image_alpha": ("images", "columnar", "hub"),
}
"""Kinds of data that an option means something for."""
_BESIDE = {
    "stride": "window",
    "window_unit": "window",
    "shots": "template",
    "shot_data": "template",
    "shot_seed": "template",
    "missing_labels": "label_map",
}
"""Options that mean something only beside another."""
_APART = (("template", "window"), ("template", "label_map"), ("template", "sequences"))


def open_data(spec: RunSpec) -> Dataset:
    """The data set that a spec names.

    Raises
    ------
    ConfigError
        If a column does not exist, or an option means nothing for this kind of data.
    HiddenscapeError
        Whatever opening raises: a missing file, a damaged row.
    """
    from hiddenscape.data.limits import Limits
    from hiddenscape.data.open import data_kind, open_dataset

    limits = Limits.parse(spec.input_limits)
    kind = data_kind(spec.data)
    _check(spec, kind)
    if spec.template is not None:
        return _prompts(spec, limits)
    arguments = _arguments(spec, kind, limits)
    if spec.window is not None:
        return _windows(spec, spec.window, kind, arguments)
    return open_dataset(spec.data, limit=spec.limit, **arguments)


def _check(spec: RunSpec, kind: str) -> None:
    given = {o.name for o in options("data") if getattr(spec, o.name) != o.default}
    for name in sorted(given):
        if name in _FITS and kind not in _FITS[name]:
            raise ConfigError(f"{name}: means nothing for {spec.data!r} (taken as {kind})")
        if name in _BESIDE and _BESIDE[name] not in given:
            raise ConfigError(f"{name}: means nothing without {_BESIDE[name]}")
    for one, other in _APART:
        if one in given and other in given:
            raise ConfigError(f"{one} and {other} cannot be used together")


def _arguments(spec: RunSpec, kind: str, limits: Limits) -> dict[str, Any]:
    found: dict[str, Any] = {"limits": limits, "label_columns": spec.labels or None}
    if spec.label_map is not None:
        found |= {"label_map": spec.label_map, "missing": spec.missing_labels}
    if kind in ("table", "columnar", "hub"):
        found["text"] = spec.text
    if kind in _FITS["input"] and spec.input is not None:
        found["input"] = spec.input
    if kind == "array" and len(spec.labels) == 1 and spec.labels[0].lower().endswith(".npy"):
        # One array has no columns: its labels are another file.
        found |= {"labels": spec.labels[0], "label_columns": None}
    if spec.sequences or kind == "fasta":
        found["rules"] = _rules(spec)
    if spec.image_size is not None:
        found["size"] = (spec.image_size, spec.image_size)
    if kind == "images" or spec.image_alpha != "error":
        found["alpha"] = spec.image_alpha
    return found


def _rules(spec: RunSpec) -> SequenceRules:
    from hiddenscape.data.sequences import SequenceRules

    asked = spec.sequences
    return SequenceRules(
        rare="X" if "rare_x" in asked else "keep",
        upper="upper" in asked,
        drop=("*" if "drop_stop" in asked else "") + ("-" if "drop_gaps" in asked else ""),
        spaced="spaced" in asked,
    )


def _prompts(spec: RunSpec, limits: Limits) -> Dataset:
    from hiddenscape.data.prompts import Template, prompt_dataset

    assert spec.template is not None
    return prompt_dataset(
        spec.data,
        Template.read(spec.template, limits),
        shots=spec.shots,
        shot_table=spec.shot_data,
        seed=spec.shot_seed,
        label_columns=spec.labels or None,
        limit=spec.limit,
        limits=limits,
    )


def _windows(spec: RunSpec, size: int, kind: str, arguments: dict[str, Any]) -> Dataset:
    from hiddenscape.data.open import open_dataset
    from hiddenscape.data.text import TextDataset
    from hiddenscape.data.windows import window_dataset

    source: Any = spec.data
    if kind != "text":
        source = open_dataset(spec.data, **arguments)
        if not isinstance(source, TextDataset):
            raise ConfigError(f"window: {spec.data} holds {source.kind}, not texts")
    elif others := {"label_map", "rules", "label_columns"} & {k for k, v in arguments.items() if v}:
        raise ConfigError(f"window: a .txt file is one text and has no {', '.join(sorted(others))}")
    return window_dataset(
        source,
        size,
        spec.stride,
        unit=spec.window_unit,  # type: ignore[arg-type]
        tokenizer=_tokenizer(spec) if spec.window_unit == "tokens" else None,
        limit=spec.limit,
        limits=arguments["limits"],
    )


def _tokenizer(spec: RunSpec) -> Any:
    from hiddenscape.models.reading import open_tokenizer

    where = spec.tokenizer or spec.network
    if not where:
        raise ConfigError("window_unit: name the tokenizer that cuts tokens with --tokenizer")
    if where == "demo" or where.startswith("python:"):  # these are no names to ask the hub for
        raise ConfigError(
            f"window_unit: network {where!r} has no tokenizer to cut tokens with; name one with "
            "--tokenizer, or take another unit"
        )
    # Of a sweep any will do: all its tokenizers must be one and the same.
    revision = spec.revision[-1].partition("=")[0] if spec.revision and not spec.tokenizer else None
    try:
        return open_tokenizer(where, revision=revision, trust_remote_code=spec.trust_remote_code)
    except NetworkError as error:
        raise ConfigError(
            f"window_unit: network {where!r} has no tokenizer to cut tokens with ({error})"
        ) from error
