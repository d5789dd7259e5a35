"""What the neighbour engine does on this machine, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass

from hiddenscape.kernels.machine import has_bfloat16_unit, ladder, measured_rates
from hiddenscape.kernels.threads import cores

__all__ = ["Engine", "describe_engine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """How large searches run here.

    Attributes
    ----------
    rungs : tuple of str
        Arithmetics in the order in which a search climbs them; the first is where it starts.
    rates : dict
        Measured multiply-adds per second of a matrix product in each arithmetic, all threads.
    bfloat16_unit : bool
        Whether the processor multiplies bfloat16 itself.
    threads : int
        Threads that a search uses.
    """

    rungs: tuple[str, ...]
    rates: dict[str, float]
    bfloat16_unit: bool
    threads: int


def describe_engine() -> Engine:
    """Where a large search starts on this machine, and the rates that decided it.

    The rates are measured at the first call (a fraction of a second) and kept in
    ``$XDG_CACHE_HOME/hiddenscape/machine.json``.

    Examples
    --------
    >>> describe_engine().rungs[-1]
    'float64'
    """
    return Engine(
        rungs=tuple(name for name, _ in ladder("auto", small=False)),
        rates=measured_rates(),
        bfloat16_unit=has_bfloat16_unit(),
        threads=cores(),
    )
