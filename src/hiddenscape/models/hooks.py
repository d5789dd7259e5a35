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

__all__ = ["Sink", "module_at", "read_places", "record_events", "unwrap"]

Sink = Callable[[Place, torch.Tensor], None]

_INPUT_NAMES = ("hidden_states", "x", "input", "inputs", "input_ids", "pixel_values")


class _Stop(Exception):
    """Raised after the deepest requested place; never leaves :func:`read_places`."""


def module_at(root: nn.Module, path: str) -> nn.Module:
    """The submodule at a dotted path, the root for an empty path.

    Raises
    ------
    SiteError
        If there is none; the message names modules with similar paths.
    """
    if not path:
        return root
    modules: dict[str, nn.Module] = dict(root.named_modules())
    if path in modules:
        return modules[path]
    close = close_names(path, [name for name in modules if name])
    hint = f"did you mean {', '.join(close)}?" if close else f"the network has {len(modules)}."
    raise SiteError(
        f"no module at path {path!r}: {hint} List them with dict(module.named_modules())"
    )


def unwrap(value: Any, index: int = 0, *, where: str = "the module") -> torch.Tensor:
    """The tensor in what a module gave: itself, an element of a tuple, or ``last_hidden_state``.

    Raises
    ------
    NetworkError
        For anything else; the message names the type.
    """
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


def _first_input(args: tuple[Any, ...], kwargs: Mapping[str, Any], where: str) -> torch.Tensor:
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
            self.at[place.path, place.io].append(place)

    def fire(self, path: str, io: str, value: Any) -> None:
        number = self.fired[path, io]
        self.fired[path, io] += 1
        for place in self.at[path, io]:
            if number >= place.calls:
                raise NetworkError(_miscount(place, number + 1, more=True))
            if number != place.call:
                continue
            self.sink(place, unwrap(value, place.index, where=f"module {path!r}"))
            self.todo -= 1
        if self.stop_early and not self.todo:
            raise _Stop

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
        for path, io in list(reading.at):
            module = module_at(root, path)

            def out_hook(
                _m: nn.Module, _a: Any, _k: Any, output: Any, path: str = path, io: str = io
            ) -> None:
                reading.fire(path, io, output)

            def in_hook(
                _m: nn.Module, args: Any, kwargs: Any, path: str = path, io: str = io
            ) -> None:
                value = _first_input(args, kwargs, f"module {path!r}")
                reading.fire(path, io, value.flatten(1) if io == "input" else value)

            handle = (
                module.register_forward_hook(out_hook, with_kwargs=True)
                if io == "out"
                else module.register_forward_pre_hook(in_hook, with_kwargs=True)
            )
            stack.callback(handle.remove)
        yield


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
        except _Stop:
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
