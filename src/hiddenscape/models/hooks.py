"""Forward hooks that read places and leave no trace.

A hook sees the value at the moment it exists and hands it to a sink, which pools or clones at once:
nothing here keeps a view, and a later in-place operation cannot change what was read. Hooks are
removed whatever happens, and the forward pass stops after the last place that was asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import nn

from hiddenscape.errors import NetworkError, SiteError
from hiddenscape.models.sites import Place, close_names

__all__ = [
    "Sink",
    "StopForward",
    "first_input",
    "hooks_restored",
    "module_at",
    "read_places",
    "record_events",
    "unwrap",
]

Sink = Callable[[Place, torch.Tensor], None]

_INPUT_NAMES = ("hidden_states", "x", "input", "inputs", "input_ids", "pixel_values")


class StopForward(Exception):
    """Raised after the deepest requested place; never leaves :func:`read_places`."""


def module_at(root: nn.Module, path: str) -> nn.Module:
    """The submodule at a dotted path, the root for an empty path.

    Raises
    ------
    SiteError
        If there is none; the message names modules with similar paths.
    """
    try:
        return root.get_submodule(path)
    except AttributeError:
        modules: dict[str, nn.Module] = dict(root.named_modules())
    close = close_names(path, [name for name in modules if name])
    hint = f"did you mean {', '.join(close)}?" if close else f"the network has {len(modules)}."
    raise SiteError(
        f"no module at path {path!r}: {hint} List them with dict(module.named_modules())"
    )


def unwrap(
    value: Any, index: int = 0, *, where: str = "the module", attribute: str = ""
) -> torch.Tensor:
    """The tensor in what a module gave: itself, an element of a tuple, or ``last_hidden_state``.

    With ``attribute``, that field of an output with named fields and nothing else.

    Raises
    ------
    NetworkError
        For anything else; the message names the type.
    """
    if attribute:
        named = getattr(value, attribute, None)
        if isinstance(named, torch.Tensor):
            return named
        raise NetworkError(f"{where} gives a {type(value).__name__} without tensor {attribute!r}")
    if isinstance(value, torch.Tensor):
        if index:
            raise NetworkError(f"{where} gives one tensor, there is no element {index}")
        return value
    hidden = getattr(value, "last_hidden_state", None)
    if isinstance(hidden, torch.Tensor) and not index:
        return hidden
    items = list(value.values()) if isinstance(value, Mapping) else value
    if isinstance(items, tuple | list) and index < len(items):
        element = items[index]
        if isinstance(element, torch.Tensor):
            return element
        raise NetworkError(
            f"element {index} of what {where} gives is a {type(element).__name__}, not a tensor; "
            "choose another with ':out.K'"
        )
    raise NetworkError(
        f"{where} gives a {type(value).__name__}; expected a tensor, a tuple with tensor {index}, "
        "or an output with last_hidden_state"
    )


def first_input(args: tuple[Any, ...], kwargs: Mapping[str, Any], where: str) -> torch.Tensor:
    """The first tensor that a module was given, by position or by name.

    Raises
    ------
    NetworkError
        If there is none.
    """
    if args and isinstance(args[0], torch.Tensor):
        return args[0]
    for name in (*_INPUT_NAMES, *kwargs):
        if isinstance(kwargs.get(name), torch.Tensor):
            return cast(torch.Tensor, kwargs[name])
    raise NetworkError(f"{where} got no tensor as its first argument; its input cannot be read")


class _Reading:
    """What one forward pass has still to deliver."""

    def __init__(self, places: Sequence[Place], sink: Sink, stop_early: bool) -> None:
        self.sink, self.stop_early = sink, stop_early
        self.todo = len(places)
        self.fired: Counter[tuple[str, str]] = Counter()
        self.at: defaultdict[tuple[str, str], list[Place]] = defaultdict(list)
        for place in places:
            if place.parts:
                raise NetworkError(f"site {place.name!r} is made of readings, it is none itself")
            self.at[place.path, place.io].append(place)
        self.leading: dict[str, tuple[int, ...]] = dict.fromkeys((p.like for p in places), ())
        self.leading.pop("", None)

    def fire(self, path: str, io: str, value: Any) -> None:
        number = self.fired[path, io]
        self.fired[path, io] += 1
        for place in self.at[path, io]:
            if number >= place.calls:
                raise NetworkError(_miscount(place, number + 1, more=True))
            if number != place.call:
                continue
            where = f"module {path!r}"
            tensor = unwrap(value, place.index, where=where, attribute=place.attribute)
            self.sink(place, self._shaped(place, tensor))
            self.todo -= 1
        if self.stop_early and not self.todo:
            raise StopForward

    def _shaped(self, place: Place, value: torch.Tensor) -> torch.Tensor:
        """Rows and tokens apart again, where the module sees them flattened."""
        if not place.like:
            return value
        leading = self.leading[place.like]
        if value.shape[:-1] == leading:
            return value
        if value.ndim != 2 or len(leading) != 2 or len(value) != leading[0] * leading[1]:
            raise NetworkError(
                f"site {place.name!r}: module {place.path!r} gave shape {tuple(value.shape)}, "
                f"expected rows and tokens {leading} in front, flattened or not"
            )
        return value.reshape(*leading, value.shape[-1])

    def check(self, stopped: bool) -> None:
        for (path, io), places in self.at.items():
            for place in places:
                count = self.fired[path, io]
                if count <= place.call or (not stopped and count != place.calls):
                    raise NetworkError(_miscount(place, count))


def _miscount(place: Place, count: int, *, more: bool = False) -> str:
    times = "never" if not count else f"{count} times or more" if more else f"{count} times"
    return (
        f"site {place.name!r}: module {place.path!r} fired {times} in one forward pass, expected "
        f"{place.calls}; it is not used once per pass, read the modules around it instead"
    )


@contextmanager
def _hooked(root: nn.Module, reading: _Reading) -> Iterator[None]:
    with ExitStack() as stack:
        for path in reading.leading:

            def shape_hook(_m: nn.Module, args: Any, kwargs: Any, path: str = path) -> None:
                value = first_input(args, kwargs, f"module {path!r}")
                reading.leading[path] = tuple(value.shape[:-1])

            handle = module_at(root, path).register_forward_pre_hook(shape_hook, with_kwargs=True)
            stack.callback(handle.remove)
        for path, io in list(reading.at):
            module = module_at(root, path)

            def out_hook(
                _m: nn.Module, _a: Any, _k: Any, output: Any, path: str = path, io: str = io
            ) -> None:
                reading.fire(path, io, output)

            def in_hook(
                _m: nn.Module, args: Any, kwargs: Any, path: str = path, io: str = io
            ) -> None:
                value = first_input(args, kwargs, f"module {path!r}")
                reading.fire(path, io, value.flatten(1) if io == "input" else value)

            handle = (
                module.register_forward_hook(out_hook, with_kwargs=True)
                if io == "out"
                else module.register_forward_pre_hook(in_hook, with_kwargs=True)
            )
            stack.callback(handle.remove)
        yield


@contextmanager
def hooks_restored(root: nn.Module) -> Iterator[None]:
    """Take away every hook that was added inside, and only those.

    Hugging Face leaves capture hooks on the blocks for good at the first call that asks for hidden
    states, and marks the network so that it does not add them twice; the mark goes with them.
    """
    before = [(m, tuple(set(getattr(m, name)) for name in _HOOKS)) for m in root.modules()]
    marked = [m for m in root.modules() if _MARK in vars(m)]
    try:
        yield
    finally:
        for module, known in before:
            for name, keys in zip(_HOOKS, known, strict=True):
                for key in set(getattr(module, name)) - keys:
                    _forget(module, name, key)
        kept = {id(m) for m in marked}
        for module, _ in before:
            if _MARK in vars(module) and id(module) not in kept:
                delattr(module, _MARK)


_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_MARK = "_output_capturing_hooks_installed"


def _forget(module: nn.Module, name: str, key: int) -> None:
    for table in (name, f"{name}_with_kwargs", f"{name}_always_called"):
        getattr(module, table, {}).pop(key, None)


def read_places(
    root: nn.Module,
    places: Sequence[Place],
    forward: Callable[[], Any],
    sink: Sink,
    *,
    stop_early: bool = True,
) -> Any:
    """Run ``forward`` once and hand each place's tensor to ``sink``.

    Parameters
    ----------
    root : Module
        The network that the paths of ``places`` refer to.
    places : sequence of Place
        What to read. Each module must fire exactly as often as its place declares.
    forward : callable
        Runs the network.
    sink : callable
        Gets (place, tensor); it must pool or clone, never keep the tensor itself.
    stop_early : bool
        Leave the forward pass after the last place has been read.

    Returns
    -------
    object
        What ``forward`` returned; None if it was left early.

    Raises
    ------
    NetworkError
        If a module fired another number of times than declared, or gave no tensor.
    """
    reading = _Reading(places, sink, stop_early)
    result, stopped = None, False
    with _hooked(root, reading):
        try:
            result = forward()
        except StopForward:
            stopped = True
    reading.check(stopped)
    return result


def record_events(
    root: nn.Module, forward: Callable[[], Any]
) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """The order in which modules start and finish during one full forward pass.

    Returns
    -------
    events : list of (path, io)
        ``in`` when a module starts, ``out`` when it has finished.
    opaque : dict
        Path to the reason, for modules that gave nothing with a tensor in the first place.
    """
    events: list[tuple[str, str]] = []
    opaque: dict[str, str] = {}
    with ExitStack() as stack:
        for path, module in root.named_modules(remove_duplicate=True):

            def before(_m: nn.Module, _a: Any, path: str = path) -> None:
                events.append((path, "in"))

            def after(_m: nn.Module, _a: Any, output: Any, path: str = path) -> None:
                events.append((path, "out"))
                try:
                    unwrap(output, where=f"module {path!r}")
                except NetworkError as error:
                    opaque[path] = str(error)

            stack.callback(module.register_forward_pre_hook(before).remove)
            stack.callback(module.register_forward_hook(after).remove)
        forward()
    return events, opaque
