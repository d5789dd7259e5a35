"""What a run was made of, opened once more: to check its points, or to add sites to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiddenscape.errors import InputError
from hiddenscape.pipeline.datasets import open_data
from hiddenscape.pipeline.parts import find_parts
from hiddenscape.runs import Run, open_run
from hiddenscape.spec import RunSpec

if TYPE_CHECKING:
    from hiddenscape.data.dataset import Dataset
    from hiddenscape.extraction import Drift
    from hiddenscape.models.network import TorchNetwork
    from hiddenscape.store.reader import RepresentationSet

__all__ = ["add_sites", "recompute_run"]

Progress = Callable[[str, int, int], None]


def recompute_run(
    run: Run | str | Path, *, rows: int = 32, seed: int = 0, progress: Progress | None = None
) -> Drift:
    """Run some rows of a run through its network again, each alone, and compare.

    Network and data are opened as ``RUN/run.json`` says; relative paths in it are relative to the
    working directory, as they were. See :func:`hiddenscape.recompute`, which takes network and data
    from you.

    Parameters
    ----------
    run : Run or path
        A run directory made by ``run`` or ``extract`` of the command line.
    rows : int
        How many rows, drawn with ``seed``.
    progress : callable, optional
        Called with (stage, rows done, rows in all).

    Returns
    -------
    Drift

    Raises
    ------
    InputError
        If ``run.json`` does not say what the run was made of.
    HiddenscapeError
        Whatever opening the network or the data raises, or a data set that has changed.

    Examples
    --------
    >>> import tempfile
    >>> spec = RunSpec(network="demo", data="digits", limit=40, out=tempfile.mkdtemp())
    >>> import hiddenscape as hs
    >>> _ = hs.run(spec, until="extract")
    >>> recompute_run(spec.out, rows=4).worst[1] < 1e-5
    True
    """
    from hiddenscape.extraction import recompute

    opened = run if isinstance(run, Run) else open_run(run)
    network, dataset = _made_of(opened)

    def tick(done: int, total: int) -> None:
        if progress is not None:
            progress("recompute", done, total)

    return recompute(network, dataset, opened.path, rows=rows, seed=seed, progress=tick)


def _made_of(run: Run) -> tuple[TorchNetwork, Dataset]:
    config: dict[str, Any] = run.info.get("config", {})
    if not config.get("network") and not config.get("checkpoints"):
        raise InputError(
            f"{run.path}: run.json does not say which network made it; open network and data "
            "yourself and call hiddenscape.recompute(network, data, run)"
        )
    spec = RunSpec.from_dict(config, source=str(run.path / "run.json"))
    parts, _ = find_parts(spec)
    return parts[0].network(), open_data(spec)


def add_sites(spec: RunSpec, name: str, *, progress: Progress | None = None) -> RepresentationSet:
    """Add sites to a run that is there already: ``spec.sites`` go to ``OUT/acts.NAME``.

    Rows, data and network must be those of ``OUT``. Opening the run then shows all its sites.

    Parameters
    ----------
    spec : RunSpec
        As for the run, with the sites and poolings to add.
    name : str
        Letters, digits, ``_``, ``-`` and ``.``.
    progress : callable, optional
        Called with (stage, rows done, rows in all).

    Returns
    -------
    RepresentationSet
        The sites that were added.

    Raises
    ------
    ManifestMismatch, StoreError
        If the run is of other rows or another network, holds one of the sites already, or is not
        there.

    Examples
    --------
    >>> import tempfile
    >>> import hiddenscape as hs
    >>> spec = RunSpec(network="demo", data="digits", limit=40, out=tempfile.mkdtemp())
    >>> _ = hs.run(spec, until="extract")
    >>> _ = add_sites(spec.replace(sites=["mlp_act.0"]), "mlp")
    >>> "mlp_act.0@mean" in hs.open_store(spec.out).keys
    True
    """
    from hiddenscape.extraction import extract

    spec.require("data", "out")
    parts, _ = find_parts(spec)
    arguments = {n: v for n, v in spec.arguments("extraction").items() if v is not None}

    def tick(done: int, total: int) -> None:
        if progress is not None:
            progress("extract", done, total)

    found: RepresentationSet = extract(
        parts[0].network(), open_data(spec), spec.out, add=name, progress=tick, **arguments
    )
    return found
