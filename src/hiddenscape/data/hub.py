"""Data sets of the Hugging Face hub, and what the ``datasets`` package saved on disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hiddenscape.data.arrow import columns_of
from hiddenscape.data.dataset import check_ids, check_labels
from hiddenscape.data.images import ImageDataset, per_channel
from hiddenscape.data.labelmap import chosen_labels
from hiddenscape.data.limits import LIMITS, Limits, title_of
from hiddenscape.data.tables import Columns, read_table
from hiddenscape.data.text import TextDataset, table_texts
from hiddenscape.errors import ConfigError, InputError, MissingDependency

__all__ = ["HUB", "HubName", "hub_dataset", "is_saved", "table_dataset"]

HUB = "hf:"
_NAME = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)?")
_COLON = re.compile(r":(?![^\[]*\])")


@dataclass(frozen=True, slots=True)
class HubName:
    """``hf:NAME[@REVISION][:CONFIG][:SPLIT]`` taken apart; one part after the name is the split.

    Examples
    --------
    >>> HubName.parse("hf:stanfordnlp/imdb@main:train[:100]")
    HubName(name='stanfordnlp/imdb', revision='main', config=None, split='train[:100]')
    >>> HubName.parse("hf:glue:sst2:").config
    'sst2'
    """

    name: str
    revision: str | None
    config: str | None
    split: str | None

    @classmethod
    def parse(cls, source: str) -> HubName:
        """Parts of a name.

        Raises
        ------
        ConfigError
            If it is no such name.
        """
        head, *parts = _COLON.split(source.removeprefix(HUB))
        name, sign, revision = head.partition("@")
        if not _NAME.fullmatch(name) or len(parts) > 2 or (sign and not revision):
            raise ConfigError(
                f"data: got {source!r}, expected hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT, "
                "with NAME@REVISION for a branch, tag or commit"
            )
        config = parts[0] if len(parts) == 2 else ""
        split = parts[-1] if parts else ""
        return cls(name, revision or None, config or None, split or None)


def hub_dataset(
    source: str | Path,
    *,
    text: str = "text",
    input: str | None = None,
    limits: Limits = LIMITS,
    **more: Any,
) -> TextDataset | ImageDataset:
    """A data set of the hub, or a folder written by ``save_to_disk``.

    Parameters
    ----------
    source : str or path
        ``hf:NAME[@REVISION][:CONFIG][:SPLIT]``; or a folder. Of a folder with several splits name
        one: ``FOLDER/train``.
    text : str
        Column of texts.
    input : str, optional
        Column of inputs, texts or images; by default ``text``, else the only column of images.
    limits : Limits
        Bounds on rows and bytes.
    **more
        ``label_columns``, ``label_map``, ``id_column``, ``limit``, ``spans`` and so on as in
        :func:`text_dataset`; ``size``, ``channels``, ``mean``, ``std``, ``alpha``, ``orient`` as in
        :func:`image_dataset`. Columns of class numbers become the names of their classes.

    Returns
    -------
    TextDataset or ImageDataset
        ``origin`` holds name, config, split, the commit that the revision stood for, and the
        fingerprint of ``datasets``.

    Raises
    ------
    MissingDependency
        If ``datasets`` is not installed.
    InputError, ConfigError
        If there is no such data set, config, split or column.

    Notes
    -----
    Code that comes with a data set is never run. Whether the network is used follows
    ``HF_HUB_OFFLINE`` and ``HF_HOME``; without the network the commit stays unknown (None).
    """
    package = _datasets()
    if str(source).startswith(HUB):
        wanted = HubName.parse(str(source))
        found, origin = _load(package, wanted)
        title, fetch = wanted.name, _reader(_cache_roots(package))
    else:
        folder = Path(source)
        found = _saved(package, folder)
        origin = {"folder": folder.name}
        title, fetch = folder.name, _reader([folder])
    origin |= {"datasets_fingerprint": getattr(found, "_fingerprint", None)}
    where = str(source)
    if len(found) > limits.rows:
        raise limits.refuse("rows", f"{where}: {len(found):,} rows")
    table = _whole(found, where)
    if table.nbytes > limits.bytes:
        raise limits.refuse("bytes", f"{where}: {table.nbytes:,} bytes")
    columns = columns_of(table, where, found.features.to_dict(), fetch, limits)
    more.setdefault("name", title)
    return table_dataset(columns, text=text, input=input, limits=limits, origin=origin, **more)


def table_dataset(
    source: Columns | str | Path,
    *,
    text: str = "text",
    input: str | None = None,
    name: str | None = None,
    limits: Limits = LIMITS,
    **more: Any,
) -> TextDataset | ImageDataset:
    """Texts or images of a table, whichever its columns hold; parameters as :func:`hub_dataset`."""
    if isinstance(source, Columns):
        table, title = source, name or "table"
    else:
        table, title = read_table(Path(source), limits), name or title_of(Path(source))
    column = input or text
    if input is None and text not in table.columns and len(table.images) == 1:
        column = table.images[0]
    if column in table.images:
        return _images(table, column, title, limits, **more)
    defaults: dict[str, Any] = {
        "ids": None, "labels": None, "label_columns": None, "label_map": None, "missing": "error",
        "spans": None, "rules": None, "limit": None, "id_column": None,
    }  # fmt: skip
    if odd := sorted(set(more) - {*defaults, "origin"}):
        raise ConfigError(f"{table.where}: {odd[0]} is for images, these are texts")
    return table_texts(table, text=column, name=title, limits=limits, **{**defaults, **more})


def _images(
    table: Columns,
    column: str,
    name: str,
    limits: Limits,
    *,
    id_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    label_map: str | Path | None = None,
    missing: str = "error",
    limit: int | None = None,
    channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **more: Any,
) -> ImageDataset:
    where = table.where
    ids = check_ids(table.ids(id_column), table.rows, where=where)
    but = (id_column or "id", *table.images)
    wanted = label_columns
    if wanted is not None and label_map is not None:
        wanted = [c for c in wanted if c in table.columns or c.rpartition(":")[0] in table.columns]
    labels = chosen_labels(
        check_labels(table.labels(wanted, but=but), table.rows, where=where), ids, where=where,
        label_map=label_map, missing=missing, wanted=label_columns, limits=limits,
    )  # fmt: skip
    return ImageDataset(
        files=table.columns[column][:limit],
        name=name,
        ids=ids[:limit],
        labels={title: values[:limit] for title, values in labels.items()},
        size=more.pop("size", None),
        channels=channels,
        mean=per_channel(mean, channels, 0.0, "mean"),
        std=per_channel(std, channels, 1.0, "std"),
        limits=limits,
        **more,
    )


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by ``save_to_disk``."""
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def _saved(package: Any, folder: Path) -> Any:
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(p.name for p in folder.iterdir() if is_saved(p))
        shown = ", ".join(str(folder / s) for s in splits)
        raise ConfigError(f"{folder}: holds several splits; name one of them: {shown}")
    try:
        return package.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: not a readable data set ({error})") from error


def _whole(found: Any, where: str) -> Any:
    from pyarrow import ArrowException

    try:
        table = found.with_format("arrow")[:]
        table.validate(full=True)  # false offsets of a damaged file would read foreign memory
    except ArrowException as error:
        raise InputError(f"{where}: is damaged ({error})") from error
    return table


def _load(package: Any, wanted: HubName) -> tuple[Any, dict[str, Any]]:
    commit = _commit(wanted)
    pinned = replace(wanted, revision=commit or wanted.revision)
    try:
        found = package.load_dataset(
            pinned.name, pinned.config, split=pinned.split, revision=pinned.revision
        )
    except _unreachable() as error:
        raise InputError(f"{HUB}{wanted.name}: cannot be loaded ({error})") from error
    if hasattr(found, "keys"):  # a data set per split
        if len(found) > 1:
            raise ConfigError(
                f"{HUB}{wanted.name}: name a split: {', '.join(found)} (hf:NAME:SPLIT)"
            )
        [(split, found)] = found.items()
        pinned = replace(pinned, split=str(split))
    origin = {
        "hub": wanted.name, "config": pinned.config, "split": pinned.split,
        "revision": wanted.revision, "commit": commit,
    }  # fmt: skip
    return found, origin


def _commit(wanted: HubName) -> str | None:
    """The commit that a revision stands for now; None where it cannot be asked."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        found = HfApi().dataset_info(wanted.name, revision=wanted.revision).sha
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise InputError(
            f"{HUB}{wanted.name}: no such data set or revision on the hub; or it is private, then "
            "log in (hf auth login)"
        ) from error
    except _unreachable():
        return None
    return None if found is None else str(found)


def _unreachable() -> tuple[type[Exception], ...]:
    from huggingface_hub.errors import HfHubHTTPError

    # The HTTP client of the hub changed its name twice; its errors need not be OSErrors.
    client = [c for c in HfHubHTTPError.__mro__ if c.__name__ == "HTTPError"]
    return (OSError, ValueError, RuntimeError, KeyError, TypeError, *client)


def _reader(roots: Sequence[Path]) -> Callable[[str], bytes]:
    """Reads files inside ``roots`` only: a table may name any path or address."""
    places = [root.resolve() for root in roots]

    def read(name: str) -> bytes:
        path = Path(name).resolve()
        if not any(path.is_relative_to(place) for place in places):
            raise InputError(
                f"{name}: the image lies outside of its data set and is not opened; save the data "
                "set with its images embedded"
            )
        try:
            return path.read_bytes()
        except OSError as error:
            raise InputError(f"{name}: cannot be read ({error.strerror or error})") from error

    return read


def _cache_roots(package: Any) -> list[Path]:
    from huggingface_hub import constants

    config = package.config
    return [
        Path(config.HF_DATASETS_CACHE),
        Path(config.DOWNLOADED_DATASETS_PATH),
        Path(constants.HF_HUB_CACHE),
    ]


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency(
            'Hugging Face data sets need the package datasets: pip install "hiddenscape[datasets]"'
        ) from error
    return datasets
