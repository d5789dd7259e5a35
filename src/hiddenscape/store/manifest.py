"""The manifest of a store: what every shard must agree with, fixed before the first is written."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape._version import __version__
from hiddenscape.errors import InputError, StoreError
from hiddenscape.store.canonical import canonical_json, describe, frozen
from hiddenscape.types import Site

__all__ = [
    "SCHEMA",
    "Manifest",
    "hash_environment",
    "is_ragged",
    "read_manifest",
    "row_edges",
    "row_tensors",
    "shard_name",
    "site_entry",
    "token_tensors",
    "versions",
]

SCHEMA = "hiddenscape-store/1"
_SCHEMA = re.compile(r"hiddenscape-store/(\d+)(?:\.\d+)?")
_POINT_DTYPES = ("float32", "float64", "float16", "bfloat16")
_MAX_ROWS = 999_999_999  # nine digits in the names of shards
_ABSOLUTE = re.compile(r"(/[^/\s]+/|[A-Za-z]:[\\/]|\\\\|file://)")
_DEFAULT_SHARD_BYTES = 128 * 2**20
_MAX_BYTES = 256 * 2**20
_LEAVES = re.compile(r"(^|[/\\])\.\.([/\\]|$)|[\x00-\x1f\x7f]")


def versions(*packages: str) -> dict[str, str | None]:
    """Versions of Python, numpy, hiddenscape and ``packages``; null where not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in dict.fromkeys(("numpy", *packages)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found | {"hiddenscape": __version__}  # right also when run from a source tree


def site_entry(
    site: Site,
    shape: Sequence[int],
    dtype: str = "float32",
    *,
    path: str | None = None,
    io: str | None = None,
    index: int | None = None,
) -> dict[str, Any]:
    """One entry of ``identity["sites"]``.

    Parameters
    ----------
    site : Site
        Name, depth, block and pooling.
    shape : sequence of int
        Shape of one row: ``(d,)`` for points. Of one token where the pooling is ``tokens``.
    dtype : str
        ``float32``, ``float64``, ``float16`` or ``bfloat16``.
    path, io, index : optional
        Where a network was read: module path, ``in`` or ``out``, element of a tuple.
    """
    return {
        "key": site.key,
        "site": site.name,
        "block": site.block,
        "depth": float(site.depth),
        "pooling": site.pooling,
        "path": path,
        "io": io,
        "index": index,
        "shape": [int(s) for s in shape],
        "dtype": dtype,
    }


def row_edges(rows: int, shard_rows: int) -> list[int]:
    """Edges ``[0, shard_rows, ..., rows]`` of shards with ``shard_rows`` rows each."""
    if rows < 1 or shard_rows < 1:
        raise InputError(f"need at least 1 row and 1 row per shard, got {rows} and {shard_rows}")
    return [*range(0, rows, shard_rows), rows]


def shard_name(start: int, stop: int) -> str:
    """File name of the shard with rows start to stop - 1."""
    return f"rows-{start:09d}-{stop:09d}.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """What a store holds and how it was made.

    Parameters
    ----------
    identity : mapping
        Everything that must be equal for two runs to be the same run (S6): ``schema``, ``kind``,
        ``sites``, ``dataset``, ``shard_edges`` and what else the writer names (``model``,
        ``tokenizer``, ``input``, ...). Built most easily with :meth:`create`.
    recorded : mapping
        What is worth knowing but may differ (S7): ``versions``, ``device``, ``self_check``, ...
    extra : mapping
        Unknown top-level fields of a manifest written by another version, kept as they are.

    Raises
    ------
    InputError
        If a field is missing or impossible, names an absolute path, or asks for what this version
        does not store.

    Examples
    --------
    >>> site = Site("resid_post.0", depth=1, block=0, pooling="mean")
    >>> m = Manifest.create(sites=[site_entry(site, (8,))], rows=100, shard_rows=40)
    >>> m.ranges
    ((0, 40), (40, 80), (80, 100))
    >>> len(m.run_id)
    16
    """

    identity: Mapping[str, Any]
    recorded: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    manifest_hash: str = field(init=False)

    def __post_init__(self) -> None:
        for name in ("identity", "recorded", "extra"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        _check_schema(self.identity.get("schema"))
        _check_sites(self.identity.get("sites"))
        _check_rows(self.identity)
        _check_names(self.identity)
        _check_paths("identity", self.identity)
        _check_paths("recorded", self.recorded)
        digest = hashlib.blake2b(canonical_json(self.identity).encode(), digest_size=32)
        object.__setattr__(self, "manifest_hash", digest.hexdigest())

    @classmethod
    def create(
        cls,
        *,
        sites: Iterable[Mapping[str, Any]],
        rows: int,
        shard_rows: int | None = None,
        kind: str = "extracted",
        identity: Mapping[str, Any] | None = None,
        recorded: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """A manifest of ``rows`` rows in shards of ``shard_rows`` (default: about 128 MB each).

        ``sites`` are made by :func:`site_entry`; ``identity`` adds the fields of the network, the
        input and the data set (``dataset.rows`` is filled in). With ragged sites ``shard_rows``
        must be given: their rows have no size known here.
        """
        given = dict(identity or {})
        entries = [dict(s) for s in sites]
        if shard_rows is None:
            if any(is_ragged(s) for s in entries):
                raise InputError("rows of ragged sites have no known size: give shard_rows")
            sizes = [int(np.prod(s["shape"])) * _itemsize(s["dtype"]) for s in entries]
            shard_rows = max(1, min(int(rows), _DEFAULT_SHARD_BYTES // max(1, sum(sizes))))
        given |= {
            "schema": SCHEMA,
            "kind": kind,
            "sites": entries,
            "dataset": {**given.get("dataset", {}), "rows": int(rows)},
            "shard_edges": row_edges(int(rows), int(shard_rows)),
        }
        return cls(given, dict(recorded or {}))

    @property
    def run_id(self) -> str:
        """First 16 hex digits of :attr:`manifest_hash`."""
        return self.manifest_hash[:16]

    @property
    def rows(self) -> int:
        """Number of rows of every site."""
        return int(self.identity["dataset"]["rows"])

    @property
    def edges(self) -> tuple[int, ...]:
        """Row numbers at which shards begin, and the number of rows at the end."""
        return tuple(self.identity["shard_edges"])

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Half-open row range of every shard."""
        return tuple(zip(self.edges[:-1], self.edges[1:], strict=True))

    @property
    def entries(self) -> dict[str, Mapping[str, Any]]:
        """Site entries by key, in the order of the manifest."""
        return {entry["key"]: entry for entry in self.identity["sites"]}

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites ordered by depth; ties in the order of the manifest."""
        found = [
            Site(e["site"], depth=e["depth"], block=e["block"], pooling=e["pooling"])
            for e in self.identity["sites"]
        ]
        return tuple(sorted(found, key=lambda site: site.depth))

    @property
    def ragged(self) -> tuple[str, ...]:
        """Keys of the sites that hold every token, in the order of the manifest."""
        return tuple(e["key"] for e in self.identity["sites"] if is_ragged(e))

    @property
    def environment(self) -> Mapping[str, Any]:
        """The recorded fields that each shard carries: versions and device."""
        return {k: self.recorded[k] for k in ("versions", "device") if k in self.recorded}

    @property
    def env_hash(self) -> str:
        """Hash (16 hex digits) of :attr:`environment`."""
        return hash_environment(canonical_json(self.environment))

    def to_json(self) -> str:
        """The text of ``manifest.json``."""
        whole = {
            **self.extra,
            "schema": self.identity["schema"],
            "identity": self.identity,
            "recorded": self.recorded,
            "manifest_hash": self.manifest_hash,
            "run_id": self.run_id,
        }
        return (
            json.dumps(
                json.loads(canonical_json(whole)), sort_keys=True, indent=1, ensure_ascii=False
            )
            + "\n"
        )


def hash_environment(text: str) -> str:
    """Hash (16 hex digits) of the canonical JSON of an environment."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def read_manifest(path: Path) -> Manifest:
    """Read ``manifest.json``.

    Raises
    ------
    StoreError
        If the file is missing, is no manifest, was edited (its hash disagrees), or was written by
        a newer major version of the format.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise StoreError(f"{path}: {size:,} bytes are over the limit for a manifest")
        whole = json.loads(path.read_text(encoding="utf-8"))
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(whole, dict) or not isinstance(whole.get("identity"), dict):
        raise StoreError(f"{path}: not the manifest of a store")
    known = ("schema", "identity", "recorded", "manifest_hash", "run_id")
    extra = {k: v for k, v in whole.items() if k not in known}
    try:
        manifest = Manifest(whole["identity"], whole.get("recorded", {}), extra)
    except (InputError, TypeError, KeyError, AttributeError, IndexError, ValueError) as error:
        raise StoreError(f"{path}: not a valid manifest: {error}") from error
    except RecursionError as error:
        raise StoreError(f"{path}: nested too deeply for a manifest") from error
    if whole.get("manifest_hash") != manifest.manifest_hash:
        raise StoreError(
            f"{path}: its identity fields were changed after it was written (stored hash "
            f"{whole.get('manifest_hash')}, actual {manifest.manifest_hash}): restore the original"
        )
    return manifest


def _itemsize(dtype: str) -> int:
    return {"float64": 8, "float32": 4}.get(dtype, 2)


def _check_schema(schema: Any) -> None:
    found = _SCHEMA.fullmatch(schema) if isinstance(schema, str) else None
    if found is None:
        raise InputError(f"schema {schema!r} is not one of a hiddenscape store ({SCHEMA})")
    if int(found[1]) > 1:
        raise InputError(
            f"schema {schema!r} is newer than {SCHEMA}, the newest that this version reads: "
            "update hiddenscape"
        )


def _check_sites(entries: Any) -> None:
    if not isinstance(entries, tuple) or not entries:
        raise InputError("a store needs at least one site")
    for entry in entries:
        site = Site(entry["site"], depth=entry["depth"], pooling=entry["pooling"])
        if site.key != entry["key"]:
            raise InputError(f"site {entry['site']!r} has key {entry['key']!r}, not {site.key!r}")
        if entry["key"] in _ROW_TENSORS or entry["key"] in _TOKEN_TENSORS:
            raise InputError(f"site name {entry['key']!r} is reserved")
        if entry["dtype"] not in _POINT_DTYPES:
            raise InputError(f"site {site.key!r}: dtype {entry['dtype']!r}, not {_POINT_DTYPES}")
        if not entry["shape"] or any(type(s) is not int or s < 1 for s in entry["shape"]):
            raise InputError(f"site {site.key!r}: shape of a row is {entry['shape']}, not (d,)")
        if is_ragged(entry) and len(entry["shape"]) != 1:
            raise InputError(f"site {site.key!r}: a token has shape {entry['shape']}, not (d,)")
    keys = [entry["key"] for entry in entries]
    if len(set(keys)) < len(keys):
        twice = next(k for k in keys if keys.count(k) > 1)
        raise InputError(f"site {twice!r} occurs twice")


_ROW_TENSORS = {"row": "int64", "n_tokens": "int32", "n_content": "int32", "status": "uint8"}


_TOKEN_TENSORS = {
    "offsets": "int64",
    "token_id": "int32",
    "token_pos": "int32",
    "token_content": "uint8",
}


def row_tensors() -> dict[str, str]:
    """Names and dtypes of the tensors (n,) that describe the rows of a shard (S3)."""
    return dict(_ROW_TENSORS)


def token_tensors() -> dict[str, str]:
    """Names and dtypes of the tensors that describe the tokens of a shard (S4)."""
    return dict(_TOKEN_TENSORS)


def is_ragged(entry: Mapping[str, Any]) -> bool:
    """Whether a site entry holds every token of a row."""
    return bool(entry["pooling"] == "tokens")


def _check_rows(identity: Mapping[str, Any]) -> None:
    rows, edges = identity["dataset"]["rows"], identity["shard_edges"]
    if not 1 <= rows <= _MAX_ROWS:
        raise InputError(f"a store holds 1 to {_MAX_ROWS:,} rows, got {rows:,}")
    if edges[0] != 0 or edges[-1] != rows or any(a >= b for a, b in pairwise(edges)):
        raise InputError(f"shard edges must rise from 0 to {rows}, got {describe(edges)}")


def _check_names(identity: Mapping[str, Any]) -> None:
    """Names of files and of places in a network: nothing in a manifest may lead out of the run."""
    named = [(f"site {e['key']!r}", e[field]) for e in identity["sites"] for field in _PLACES]
    named += [("sources", source.get("name")) for source in identity.get("sources", ())]
    # What follows the colon is a name inside a foreign file, and leads nowhere.
    origins = identity.get("origins", {}).values()
    named += [("origins", str(origin).partition(":")[0]) for origin in origins]
    for where, value in named:
        if isinstance(value, str) and _LEAVES.search(value):
            raise InputError(
                f"{where}: the name {value!r} leads out of its folder or holds control characters"
            )
    for entry in identity["sites"]:
        if _CONTROL.search(entry["key"]):
            raise InputError(f"site {entry['key']!r}: a name may not hold control characters")


_PLACES = ("path", "io")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _check_paths(name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_paths(f"{name}.{key}", inner)
    elif isinstance(value, tuple):
        for inner in value:
            _check_paths(name, inner)
    elif isinstance(value, str) and _ABSOLUTE.match(value):
        raise InputError(
            f"{name} holds the absolute path {value!r}: a store may be moved, record a name or a "
            "hash"
        )
