"""Reading a store: every site is a virtual array over mapped shards; opening reads no tensor."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.errors import IncompleteStore, InputError, SiteError, StoreError
from hiddenscape.store.arrays import SiteArray, name_ranges
from hiddenscape.store.joining import added_folders, agree_with
from hiddenscape.store.manifest import Manifest, read_manifest
from hiddenscape.store.ragged import RaggedArray, TokenTable
from hiddenscape.store.rows import label_columns, read_rows, rows_path
from hiddenscape.store.shards import MappedFile
from hiddenscape.store.writer import check_shard, shard_files
from hiddenscape.types import Mask, Site

__all__ = ["RaggedArray", "RepresentationSet", "SiteArray", "open_store", "store_folder"]


def store_folder(path: str | Path) -> Path:
    """The folder with the manifest: ``path`` itself or ``path/acts``.

    Raises
    ------
    StoreError
        If there is none; says what was looked for.
    """
    path = Path(path)
    for folder in (path, path / "acts"):
        if (folder / "manifest.json").is_file():
            return folder
    if not path.exists():
        raise StoreError(f"{path}: no such folder: give a run folder or a store")
    raise StoreError(
        f"{path}: no store here (neither manifest.json nor acts/manifest.json): give a folder made "
        "by extract or import"
    )


def open_store(path: str | Path, *, partial: bool = False) -> RepresentationSet:
    """Open the store of a run for reading.

    Parameters
    ----------
    path : path
        A run folder, or one store inside it (``RUN/acts``). A run is opened with the sites that
        were added to it later (``RUN/acts.NAME``).
    partial : bool
        Open also where rows are still missing. Row numbers stay what they will be; touching a
        missing row raises.

    Returns
    -------
    RepresentationSet

    Raises
    ------
    StoreError
        If there is no store, its manifest cannot be read, or two stores of a run hold one site.
    ManifestMismatch
        If added sites belong to other rows or another network; names the field.
    ShardError
        If a shard is damaged or belongs to another store; names the file.
    IncompleteStore
        If rows are missing and ``partial`` is false; names the ranges.
    """
    folder = store_folder(path)
    first = _open_shards(folder, partial)
    added: list[Shards] = []
    if folder != Path(path):  # a run was given, not one of its stores
        for other in added_folders(folder.parent):
            one = _open_shards(other, partial)
            for known in (first, *added):
                agree_with(one.manifest, known.manifest, f"{other} and {known.folder}")
            added.append(one)
    return RepresentationSet(first, tuple(added))


@dataclass(frozen=True, slots=True, eq=False)
class Shards:
    """One store: its folder, its manifest, the shards that are there, and the rows that are not."""

    folder: Path
    manifest: Manifest
    parts: tuple[tuple[int, int, MappedFile], ...]
    missing: tuple[tuple[int, int], ...]
    tokens: TokenTable


def _open_shards(folder: Path, partial: bool) -> Shards:
    manifest = read_manifest(folder / "manifest.json")
    parts = tuple(
        (span[0], span[1], MappedFile(file, check_shard(file, span, manifest)))
        for span, file in shard_files(folder).items()
    )
    have = {(start, stop) for start, stop, _ in parts}
    missing = tuple(span for span in manifest.ranges if span not in have)
    if missing and not partial:
        raise IncompleteStore(
            f"{folder}: {name_ranges(missing)} of {manifest.rows} are missing: run the same "
            "command again to finish it, or open what is there with partial=True",
            missing,
        )
    return Shards(folder, manifest, parts, missing, TokenTable(manifest.rows, parts, missing))


def _read_only(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for column in columns.values():
        column.flags.writeable = False
    return columns


class RepresentationSet:
    """All sites of a store over the same rows in the same order. Made by :func:`open_store`.

    ``rs["resid_post.7@mean"]`` is a :class:`SiteArray`; ``rs["resid_post.7"]`` suffices where the
    site was stored with one pooling only. A site that holds every token (pooling ``tokens``) is a
    :class:`RaggedArray`. ``len(rs)`` is the number of rows.

    Attributes
    ----------
    path : Path
        The store's folder.
    manifest : Manifest
        Of ``acts``; :attr:`manifests` has those of added sites too.
    sites : tuple of Site
        Ordered by depth.
    keys : tuple of str
        ``NAME@POOLING`` of each site, in that order.
    point_sites, ragged_sites : tuple of Site
        The sites with one point per row, and those with every token.
    partial : bool
        Whether rows are missing.
    missing : tuple of (start, stop)
        Which.
    """

    __iter__ = None  # len counts rows, a loop would run over sites: say which with .items()

    def __init__(self, first: Shards, added: tuple[Shards, ...] = ()) -> None:
        self.path = first.folder
        self.manifest = first.manifest
        self._stores = (first, *added)
        self._home = {key: one for one in self._stores for key in one.manifest.entries}
        sites = [site for one in self._stores for site in one.manifest.sites]
        self.sites = tuple(sorted(sites, key=lambda site: site.depth))
        self.keys = tuple(site.key for site in self.sites)
        self.missing = tuple(sorted({span for one in self._stores for span in one.missing}))
        self.point_sites = tuple(s for s in self.sites if s.pooling != "tokens")
        self.ragged_sites = tuple(s for s in self.sites if s.pooling == "tokens")

    @property
    def partial(self) -> bool:
        return bool(self.missing)

    @property
    def run_path(self) -> Path:
        """The folder with ``rows.csv``: the run folder, where the store is its ``acts``."""
        return rows_path(self.path).parent

    def __len__(self) -> int:
        return self.manifest.rows

    def __repr__(self) -> str:
        gap = f", {name_ranges(self.missing)} missing" if self.missing else ""
        return f"<RepresentationSet {self.path}: {len(self.sites)} sites, {len(self)} rows{gap}>"

    def __contains__(self, key: object) -> bool:
        return key in self.keys

    def __getitem__(self, key: str | Site) -> SiteArray | RaggedArray:
        site = self.sites[self.keys.index(self.find(key))]
        home = self._home[site.key]
        entry = home.manifest.entries[site.key]
        if site.pooling == "tokens":
            return RaggedArray(site, entry["shape"][0], entry["dtype"], home.tokens)
        shape = (len(self), *entry["shape"])
        return SiteArray(site, shape, entry["dtype"], home.parts, home.missing)

    def points(self, key: str | Site) -> SiteArray:
        """The points of a site that has one per row.

        Raises
        ------
        SiteError
            If the site is unknown, or holds every token.
        """
        found = self[key]
        if isinstance(found, RaggedArray):
            raise SiteError(
                f"site {found.site.key!r} holds every token and no single point per row: pick a "
                "pooled site, or extract it with a pooling such as mean"
            )
        return found

    def find(self, key: str | Site) -> str:
        """The full key of a site given by full key, or by name where it has one pooling only.

        Raises
        ------
        SiteError
            If the name is unknown (names the nearest ones) or stands for several poolings.
        """
        wanted = key.key if isinstance(key, Site) else key
        if not isinstance(wanted, str):
            raise InputError(f"sites are picked by name, got {key!r}: rows are picked in a site")
        if wanted in self.keys:
            return wanted
        same = [site.key for site in self.sites if site.name == wanted]
        if len(same) == 1:
            return same[0]
        if same:
            raise SiteError(f"site {wanted!r} was stored with several poolings: say one of {same}")
        names = [*self.keys, *dict.fromkeys(site.name for site in self.sites)]
        near = difflib.get_close_matches(wanted, names, n=3) or list(self.keys[:6])
        raise SiteError(f"no site {wanted!r} in {self.path}: did you mean one of {near}?")

    @property
    def manifests(self) -> dict[str, Manifest]:
        """The manifest of each store that was joined, by the name of its folder."""
        return {one.folder.name: one.manifest for one in self._stores}

    @property
    def entries(self) -> dict[str, Mapping[str, Any]]:
        """What the manifest says of each site, by key."""
        return {key: home.manifest.entries[key] for key, home in self._home.items()}

    def items(self) -> Iterator[tuple[Site, SiteArray]]:
        """Sites with one point per row and their points, by depth."""
        return ((site, self.points(site.key)) for site in self.point_sites)

    @cached_property
    def _table(self) -> dict[str, np.ndarray]:
        path = rows_path(self.path)
        if not path.exists():
            return _read_only({"row": np.arange(len(self))})
        return _read_only(read_rows(path, n=len(self), skip=("text",)))

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """Every column of ``rows.csv``, typed; the column ``row`` alone where there is no file."""
        path = rows_path(self.path)
        return _read_only(read_rows(path, n=len(self))) if path.exists() else dict(self._table)

    @property
    def ids(self) -> np.ndarray:
        """Row ids of the data set; row numbers where there are none."""
        return self._table.get("id", self._table["row"])

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """Label columns by name."""
        return label_columns(self._table)

    @cached_property
    def status(self) -> np.ndarray:
        """uint8 (n,): 0 ok, 1 empty, 2 skipped, 3 failed; 255 where a row is not written yet.

        A row that is ok in ``acts`` has the status of the first added store in which it is not.
        """
        return self._row_tensor("status", 255, good=0)

    def not_offered(self, shown: int = 5) -> list[str]:
        """Sentences on sites that the network's self-check withdrew when the points were made."""
        withdrawn = dict(self.manifest.recorded.get("withdrawn") or {})
        lines = [f"site {name} was not offered: {why}" for name, why in withdrawn.items()][:shown]
        if len(withdrawn) > shown:
            more = len(withdrawn) - shown
            lines.append(f"{more} more sites were not offered: see acts/manifest.json")
        return lines

    @cached_property
    def n_tokens(self) -> np.ndarray:
        """int32 (n,): real tokens of each row; -1 = unknown."""
        return self._row_tensor("n_tokens", -1)

    @cached_property
    def n_content(self) -> np.ndarray:
        """int32 (n,): content tokens of each row; -1 = unknown."""
        return self._row_tensor("n_content", -1)

    def _row_tensor(self, name: str, fill: int, good: int = -1) -> np.ndarray:
        found: np.ndarray | None = None
        for one in self._stores:
            out = np.full(len(self), fill, dtype="uint8" if name == "status" else "int32")
            for start, stop, file in one.parts:
                out[start:stop] = file.raw(name)
            found = out if found is None else np.where(found == good, out, found)
        assert found is not None
        found.flags.writeable = False
        return found

    def nonfinite_rows(self) -> dict[str, np.ndarray]:
        """For each of :attr:`point_sites`, the numbers of the rows that hold NaN or infinity.

        Reads every value.
        """
        found = {}
        for site, points in self.items():
            bad = []
            start = 0
            for block in points.blocks():
                finite = np.isfinite(block).reshape(len(block), -1).all(axis=1)
                bad.append(np.flatnonzero(~finite) + start)
                start += len(block)
            found[site.key] = np.concatenate(bad)
            self.release()
        return found

    def release(self) -> None:
        """Give back the memory that mapped shards take; arrays read before stay valid."""
        for one in self._stores:
            for _, _, file in one.parts:
                file.release()

    def finite_rows(self) -> Mask:
        """Mask of the rows that are finite at each of :attr:`point_sites`.

        Rows never move: to leave rows out, use this mask in every site at once, labels included.
        """
        mask = np.ones(len(self), dtype=bool)
        for bad in self.nonfinite_rows().values():
            mask[bad] = False
        return mask
