"""Flags made from the fields of :class:`hiddenscape.RunSpec`: an option exists once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from hiddenscape.spec import Option, RunSpec, options

__all__ = ["build_spec", "spec_options"]

_HEADINGS = {
    "network": "Network",
    "data": "Data",
    "extraction": "Extraction",
    "measure": "Measures",
    "output": "Output",
}


class _SpecOption(click.Option):
    """A flag that knows under which heading of the help it stands."""

    heading = "Options"


class _Listed(click.ParamType):  # type: ignore[type-arg]
    """Values separated by commas, as one tuple."""

    def __init__(self, item: Any, name: str) -> None:
        self.item, self.name = item, name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Split at commas; empty text is an empty list."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        return tuple(self.item.convert(part, param, ctx) for part in parts if part)


def spec_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command with the options of groups, or with single options by name."""
    chosen = [o for o in options() if o.group in names or o.name in names]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(chosen):
            function = _flag(option)(function)
        return function

    return decorate


def build_spec(file: str | Path | None, flags: Mapping[str, Any]) -> RunSpec:
    """The run file, if there is one, with the given flags laid over it."""
    spec = RunSpec.from_toml(file) if file else RunSpec()
    return spec.replace(**{name: value for name, value in flags.items() if value is not None})


def _flag(option: Option) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    name = option.name.replace("_", "-")
    names = [f"--{name}/--no-{name}"] if option.kind is bool else [f"--{name}"]
    short = {"out": "-o", "k": "-k"}.get(option.name)
    if short:
        names.insert(0, short)
    heading = _HEADINGS[option.group]
    cls = type("_SpecOption", (_SpecOption,), {"heading": heading})
    return click.option(
        *names,
        option.name,
        cls=cls,
        type=_type(option),
        # None means "not given", so that a flag overrides the file only where it was typed.
        default=None,
        help=option.help + _default(option),
    )


def _type(option: Option) -> Any:
    item: Any = click.STRING
    if option.kind is bool:
        return click.BOOL
    if option.choices:
        item = click.Choice(option.choices)
    elif option.kind is int:
        low = None if option.minimum is None else int(option.minimum)
        item = click.INT if low is None else click.IntRange(min=low)
    elif option.kind is float:
        item = click.FloatRange(option.minimum, option.below, max_open=option.below is not None)
    if option.many:
        return _Listed(item, "LIST" if option.kind is str else "NUMBERS")
    return item


def _default(option: Option) -> str:
    value = option.default
    if value is None or value == "" or value == ():
        return ""
    if isinstance(value, bool):
        return "  [default: no]" if not value else "  [default: yes]"
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"  [default: {text}]"
