"""A run directory: where the points, the numbers, the maps and the report of one network lie.

::

    RUN/  run.json  rows.csv  acts/  graph/  map/  results/*.csv  points/  measure.json
          profile.json
          figures/  report.html  log/  null/ (the untrained twin)  base/ (without the adapter)
          checkpoints/NAME/

``null``, ``base`` and every checkpoint are run directories themselves. Everything but ``acts/`` is
small and may be copied alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiddenscape.errors import InputError, StoreError
from hiddenscape.files import file_stem, write_atomic
from hiddenscape.pointwise import Pointwise, read_pointwise
from hiddenscape.store.reader import RepresentationSet, open_store
from hiddenscape.table import Table

if TYPE_CHECKING:
    from hiddenscape.clustering.result import Clusters

__all__ = ["Run", "open_run", "read_json", "write_json"]

_SIGNS = ("run.json", "acts", "results", "measure.json")


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write JSON atomically: UTF-8, sorted keys, no NaN.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    path = Path(path)
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomic(path, [text.encode("utf-8"), b"\n"])
    return path


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; an absent file is an empty one.

    Raises
    ------
    StoreError
        If the file exists and does not hold a JSON object.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"cannot read {path}: {error}; remove it and measure again") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path} does not hold a JSON object; remove it and measure again")
    return content


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A run directory, opened without reading a tensor.

    Attributes
    ----------
    path : Path
        The directory.

    Examples
    --------
    >>> import tempfile, hiddenscape, numpy as np
    >>> folder = tempfile.mkdtemp()
    >>> np.savez(folder + "/points.npz", a=np.eye(5), b=np.eye(5)[::-1])
    >>> _ = hiddenscape.import_points(folder + "/points.npz", folder + "/run")
    >>> [site.name for site in hiddenscape.open_run(folder + "/run").representations.sites]
    ['a', 'b']
    """

    path: Path

    @property
    def name(self) -> str:
        """The name of the directory."""
        return self.path.name

    @property
    def representations(self) -> RepresentationSet:
        """The stored points of every site.

        Raises
        ------
        StoreError
            If the run was copied without ``acts/`` or the store is incomplete or damaged.
        """
        return open_store(self.path)

    @property
    def info(self) -> dict[str, Any]:
        """``run.json``: configuration, versions, provenance. Empty if the run has none."""
        return read_json(self.path / "run.json")

    @property
    def measured(self) -> dict[str, Any]:
        """``measure.json``: settings, parameters by hash and the latest, dropped rows, warnings."""
        return read_json(self.path / "measure.json")

    @property
    def profile(self) -> dict[str, Any]:
        """``profile.json``: the reading of the dimension profile."""
        return read_json(self.path / "profile.json")

    @property
    def table(self) -> Table:
        """Every number measured so far, those of the latest settings of each analysis last."""
        latest = self.measured.get("latest", {})
        last = tuple(f"{analysis}-{settings}-" for analysis, settings in latest.items())
        return Table.read(self.path / "results", last=last)

    def pointwise(self, site: str, analysis: str = "adp") -> Pointwise:
        """What an analysis says of single rows of a site, by its latest settings.

        Parameters
        ----------
        site : str
            Name, or key ``NAME@POOLING`` where a site was read with several poolings.
        analysis : str
            ``adp`` (cluster of every row, peaks, saddles), ``k_star``, ``pak_density``, ...

        Raises
        ------
        InputError
            If there is nothing of that site, or of several poolings of it.
        StoreError
            If the file is damaged.

        Examples
        --------
        >>> import tempfile, hiddenscape, numpy as np
        >>> folder, rng = tempfile.mkdtemp(), np.random.default_rng(0)
        >>> x = np.vstack([rng.normal(size=(200, 2)) + c for c in (0, 9)])
        >>> np.savez(folder + "/p.npz", a=x)
        >>> _ = hiddenscape.import_points(folder + "/p.npz", folder + "/run")
        >>> _ = hiddenscape.measure(folder + "/run", ["adp"])
        >>> np.bincount(hiddenscape.open_run(folder + "/run").pointwise("a")["labels"]).tolist()
        [200, 200]
        """
        measured = self.measured
        latest = measured.get("latest", {}).get(analysis)
        found: dict[str, Path] = {}
        for key in measured.get("store", {}):
            stem = f"{analysis}-{latest}-{file_stem(key)}-*.safetensors"
            at = next(iter((self.path / "points").glob(stem)), None)
            if at is not None and site in (key, key.split("@")[0]):
                found[key] = at
        if len(found) > 1:
            raise InputError(f"{site} was measured with several poolings: {', '.join(found)}")
        if not found:
            raise InputError(
                f"{self.path}: no numbers of single rows by {analysis} at {site!r}: measure "
                f"{analysis} first, with `hiddenscape measure {self.path} --analyses {analysis}`"
            )
        return read_pointwise(next(iter(found.values())))

    def clusters(self, site: str) -> Clusters:
        """The clusters of a site, as ``adp`` gave them, over the rows that were measured.

        Row i of it is row ``pointwise(site).rows[i]`` of ``rows.csv``. With it go ``merge_tree``
        and ``label_agreement``.

        Raises
        ------
        InputError, StoreError
            As :meth:`pointwise`.
        """
        from hiddenscape.clustering.result import Clusters

        found = self.pointwise(site, "adp")
        return Clusters(
            labels=found["labels"],
            halo=found["halo"],
            centers=found["centers"],
            heights=found["heights"],
            height_errors=found["height_errors"],
            saddle_pairs=found["saddle_pairs"],
            saddle_rows=found["saddle_rows"],
            saddles=found["saddles"],
            saddle_errors=found["saddle_errors"],
            method="adp",
            n_used=len(found.rows),
            note=found.note,
            parameters=found.parameters,
        )

    @property
    def null(self) -> Run | None:
        """The run of the untrained twin, if there is one."""
        path = self.path / "null"
        return Run(path) if _is_run(path) else None

    @property
    def base(self) -> Run | None:
        """The run of the network without its adapter, if there is one."""
        path = self.path / "base"
        return Run(path) if _is_run(path) else None

    @property
    def missing(self) -> dict[str, Any]:
        """Checkpoints that the last invocation left out, with the reason."""
        return read_json(self.path / "checkpoints" / "missing.json")

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Names of the runs in here whose points are not all there; ``.`` is the run itself."""
        parts = {".": self, "null": self.null, "base": self.base}
        parts |= {f"checkpoints/{name}": part for name, part in self.checkpoints.items()}
        return tuple(n for n, part in parts.items() if part is not None and not _complete(part))

    @property
    def checkpoints(self) -> dict[str, Run]:
        """Runs over training time, by name, in the order of their names."""
        folder = self.path / "checkpoints"
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        return {p.name: Run(p) for p in found if _is_run(p)}


def _is_run(path: Path) -> bool:
    return path.is_dir() and any((path / sign).exists() for sign in _SIGNS)


def _complete(run: Run) -> bool:
    try:
        open_store(run.path)
    except StoreError:
        return False
    return True


def open_run(path: str | Path) -> Run:
    """Open a run directory.

    Parameters
    ----------
    path : path
        A directory that ``extract``, ``import_points`` or ``run`` made.

    Raises
    ------
    StoreError
        If there is no run at ``path``.
    """
    path = Path(path)
    if not path.exists():
        raise StoreError(f"there is no run at {path}: the directory does not exist")
    if not _is_run(path):
        raise StoreError(
            f"{path} is not a run directory (none of {', '.join(_SIGNS)} is in it); "
            "make one with `hiddenscape extract`, `import` or `run`"
        )
    return Run(path)
