"""Numbers as other packages and papers have them, next to the corrected ones.

A published number depends on conventions that its name does not tell: where a fit stops, what a
copy of a row counts, which mean is taken. Here every convention has a name,
``PACKAGE.function`` or ``PAPER.quantity``:

>>> from hiddenscape import compat
>>> compat.names("cheng25")
('cheng25.gride', 'cheng25.pca')
>>> print(compat.explain("cheng25.pca"))
cheng25.pca(points)
Number of principal components with 99 % of the variance.
Differs: the count stops below the threshold, one component short of holding it.
Here: pca_dimension(points, threshold=0.99, convention="published")
Source: Cheng, Doimo, Kervadec, Macocco, Yu, Laio, Baroni 2024, arXiv:2405.15471
>>> import numpy as np
>>> pair = compat.reproduce("cheng25.pca", np.random.default_rng(0).normal(size=(200, 5)))
>>> pair.published, pair.corrected, pair.difference
(4.0, 5.0, -1.0)
"""

from __future__ import annotations

import inspect
from typing import Any

from hiddenscape.compat import dadapy, papers, peers
from hiddenscape.compat.convention import Convention, Pair, number
from hiddenscape.errors import InputError

__all__ = ["CONVENTIONS", "Convention", "Pair", "explain", "names", "reproduce"]

CONVENTIONS: dict[str, Convention] = {
    c.name: c for module in (dadapy, peers, papers) for c in module.CONVENTIONS
}
"""Every convention by its name."""


def names(source: str = "") -> tuple[str, ...]:
    """Names of the conventions, of one source or of all.

    Parameters
    ----------
    source : str
        What stands before the point: ``dadapy``, ``skdim``, ``valeriani23``, ...

    Raises
    ------
    InputError
        For an unknown source; the message lists those known.

    Examples
    --------
    >>> names("doimo24")
    ('doimo24.gride', 'doimo24.label_overlap')
    """
    sources = sorted({name.split(".")[0] for name in CONVENTIONS})
    if source and source not in sources:
        raise InputError(f"source must be one of {', '.join(sources)}, got {source!r}")
    return tuple(sorted(n for n in CONVENTIONS if not source or n.startswith(f"{source}.")))


def explain(name: str) -> str:
    """What a convention is: what it takes, how it differs, how to have it here, where it is from.

    Raises
    ------
    InputError
        For an unknown name.

    Examples
    --------
    >>> print(explain("facco17.two_nn").splitlines()[0])
    facco17.two_nn(points)
    """
    found = _known(name)
    options = [
        f"{p.name}={p.default!r}"
        for p in inspect.signature(found.compute).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    ]
    return (
        f"{name}({', '.join([*found.takes, *options])})\n{found.what}\n"
        f"Differs: {found.why}\nHere: {found.call}\nSource: {found.source}"
    )


def reproduce(name: str, *data: Any, **options: Any) -> Pair:
    """The number by a convention, and the corrected one from the same data.

    Parameters
    ----------
    name : str
        One of :func:`names`.
    *data : arrays
        What :func:`explain` shows: mostly the points (n, d); labels or a second site follow.
    **options
        Settings of the convention, as :func:`explain` shows them with their published defaults.

    Returns
    -------
    Pair
        ``published``, ``corrected`` and ``difference`` are numbers, or arrays for a curve; the
        whole answers stand beside them. A published 0 or NaN is what the package says, not an
        answer of this one.

    Raises
    ------
    InputError
        For an unknown name, other data or options than the convention takes, and whatever the
        estimators refuse.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).normal(size=(500, 3))
    >>> twice = np.repeat(points, 2, axis=0)
    >>> pair = reproduce("dadapy.compute_id_2NN_ml", twice)
    >>> pair.published, round(pair.corrected, 2)
    (0.0, 2.95)
    """
    found = _known(name)
    if len(data) != len(found.takes):
        raise InputError(f"{name} takes {', '.join(found.takes)}; got {len(data)} of them")
    known = inspect.signature(found.compute).parameters
    unknown = [
        o for o in options if o not in known or known[o].kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    if unknown:
        raise InputError(f"{name} has no option {', '.join(unknown)}: see compat.explain({name!r})")
    published, corrected = found.compute(*data, **options)
    there, here = number(published), number(corrected)
    return Pair(
        name=name,
        published=there,
        corrected=here,
        difference=there - here,
        why=found.why,
        published_answer=published,
        corrected_answer=corrected,
    )


def _known(name: str) -> Convention:
    if name not in CONVENTIONS:
        raise InputError(f"no convention {name!r}; known are {', '.join(names())}")
    return CONVENTIONS[name]
