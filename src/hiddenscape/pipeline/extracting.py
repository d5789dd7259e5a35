"""The extraction of all parts of a run, one network at a time, each kept once it is finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from hiddenscape.errors import InputError, MissingDependency, NetworkError
from hiddenscape.pipeline.parts import Part
from hiddenscape.pipeline.provenance import identity, versions
from hiddenscape.pipeline.settled import adopt, complete_store, settings_key, settle, settled
from hiddenscape.runs import Run, write_json
from hiddenscape.spec import RunSpec

if TYPE_CHECKING:
    from hiddenscape.data.dataset import Dataset
    from hiddenscape.extraction import ExtractionPlan
    from hiddenscape.models.network import TorchNetwork
    from hiddenscape.store.reader import RepresentationSet

__all__ = ["Extracting"]


@dataclass(slots=True, eq=False)
class Extracting:
    """The extraction of a run: its data and settings, and what has been seen so far."""

    spec: RunSpec
    dataset: Dataset
    overwrite: bool = False
    shard: str | None = None
    strict: bool = False
    clean: bool = False
    progress: Callable[[str, int, int], None] | None = None
    tell: Callable[[str], None] = lambda _: None
    _tokenizers: dict[str, str | None] = field(default_factory=dict)

    def all(self, parts: Sequence[Part]) -> dict[str, str]:
        """Extract every part; those that were left out, with the reason."""
        left_out: dict[str, str] = {}
        finished: dict[str, Part] = {}
        for part in parts:
            key = self.key(part)
            reason = self._one(part, key, finished)
            if reason is not None:
                left_out[part.name] = reason
                continue
            if key is not None and self.complete(part):
                finished.setdefault(key, part)
            if part.series:
                self._compare(parts[0], part)
            if part.checkpoint is not None and part is not parts[0]:
                self._record(part)
            if part.after is not None and self.complete(part):
                part.after()
        return left_out

    def key(self, part: Part) -> str | None:
        """What decides the points of a part, or None."""
        return settings_key(part, self.dataset.fingerprint, self._arguments())

    def complete(self, part: Part) -> bool:
        """Whether all points of a part are there: with shares, others may be at work."""
        return complete_store(part.folder) is not None

    def plan(self, part: Part) -> ExtractionPlan:
        """What the extraction of a part would do."""
        from hiddenscape.extraction import extract

        network = self._opened(part)
        return extract(network, self.dataset, part.folder, dry_run=True, **self._arguments())

    def _one(self, part: Part, key: str | None, finished: Mapping[str, Part]) -> str | None:
        """Extract one part unless it is finished; the reason if it is left out."""
        if not self.overwrite and settled(part.folder, key) is not None:
            self._advance(part)
            return None
        twin = finished.get(key) if key is not None else None
        if twin is not None and not self.overwrite:
            adopt(twin.folder, part.folder)
            store = complete_store(part.folder)
            if store is not None and _hash(store) == _hash(complete_store(twin.folder)):
                settle(part.folder, key, store)
                self._advance(part)
                return None
        try:
            network = self._opened(part)
        except (NetworkError, InputError) as error:
            if part.optional and self.spec.keep_going and not isinstance(error, MissingDependency):
                return str(error)
            raise
        self._check_tokenizer(part, network)
        self._extract(part, network)
        store = complete_store(part.folder)
        if store is not None:
            settle(part.folder, key, store)
        return None

    def _opened(self, part: Part) -> TorchNetwork:
        network = part.network()
        for line in network.facts.get("remarks", ()):
            self.tell(line)
        return network

    def _extract(self, part: Part, network: TorchNetwork) -> None:
        from hiddenscape.extraction import extract

        extract(
            network,
            self.dataset,
            part.folder,
            overwrite=self.overwrite,
            shard=self.shard,
            strict=self.strict,
            clean=self.clean,
            progress=self._progress(part),
            **self._arguments(),
        )

    def _arguments(self) -> dict[str, Any]:
        return {n: v for n, v in self.spec.arguments("extraction").items() if v is not None}

    def _progress(self, part: Part) -> Callable[[int, int], None] | None:
        return None if self.progress is None else partial(self.progress, part.stage("extract"))

    def _advance(self, part: Part) -> None:
        if self.progress is not None:
            rows = len(self.dataset)
            self.progress(part.stage("extract"), rows, rows)

    def _check_tokenizer(self, part: Part, network: TorchNetwork) -> None:
        """States of one training read the same tokens, or their points are of different things."""
        if self.dataset.kind != "text" or not (part.series or not part.name):
            return
        own = _tokenizer_hash(network)
        for name, other in self._tokenizers.items():
            if own != other:
                raise NetworkError(
                    f"checkpoint {part.name!r}: its tokenizer is another than that of "
                    f"{name or 'the run itself'!r}; their points cannot be laid side by side. Give "
                    "both the same with --tokenizer, or run it by itself"
                )
        self._tokenizers[part.name] = own

    def _compare(self, main: Part, part: Part) -> None:
        """What is stored must be of the same rows, tokens and sites as the run itself."""
        stores = [complete_store(p.folder) for p in (main, part)]
        if stores[0] is None or stores[1] is None:
            return
        for what, (one, other) in _aspects(stores[0], stores[1]).items():
            if one != other:
                raise NetworkError(
                    f"checkpoint {part.name!r}: its {what} differs from that of the run itself "
                    f"({_short(other)}, not {_short(one)}); they cannot be laid side by side"
                )

    def _record(self, part: Part) -> None:
        """``run.json`` of a checkpoint, written once its points are complete."""
        path = part.folder / "run.json"
        if path.exists() or not self.complete(part):
            return
        content = {
            "schema": "hiddenscape-run/1",
            "checkpoint": part.checkpoint,
            "versions": versions(),
            **identity(Run(part.folder)),
        }
        write_json(path, content)


def _hash(store: RepresentationSet | None) -> str | None:
    return None if store is None else store.manifest.manifest_hash


def _aspects(a: RepresentationSet, b: RepresentationSet) -> dict[str, tuple[Any, Any]]:
    one, other = a.manifest.identity, b.manifest.identity

    def both(*path: str) -> tuple[Any, Any]:
        found: list[Any] = []
        for value in (one, other):
            step: Any = value
            for name in path:
                step = step.get(name) if isinstance(step, Mapping) else None
            found.append(step)
        return found[0], found[1]

    return {
        "data set": both("dataset", "fingerprint"),
        "class": both("model", "class"),
        "tokenizer": both("tokenizer", "hash"),
        "list of sites": tuple([s.key for s in x.manifest.sites] for x in (a, b)),
    }


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _tokenizer_hash(network: TorchNetwork) -> str | None:
    from hiddenscape.extraction.identity import tokenizer_hash

    return None if network.tokenizer is None else tokenizer_hash(network.tokenizer)
