"""The states of one training: which there are, in which order, at which step."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hiddenscape.errors import ConfigError, InputError, NetworkError
from hiddenscape.spec import RunSpec

__all__ = ["Checkpoint", "Found", "check_sweep", "find_checkpoints", "step_in"]

Tell = Callable[[str], None]
"""Called with one sentence that a user should see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One state of a training.

    Attributes
    ----------
    name : str
        Name of its run directory below ``OUT/checkpoints``.
    kind : {"folder", "revision", "adapter"}
    source : str
        Folder, or the repository on the hub.
    revision, commit : str or None
        What was asked for, and what it meant when the run began.
    step : int or None
        Training step, where it is given or can be read without doubt.
    """

    name: str
    kind: str
    source: str
    revision: str | None = None
    commit: str | None = None
    step: int | None = None

    @property
    def record(self) -> dict[str, Any]:
        """What ``run.json`` says of it; a folder by its name, since runs are moved about."""
        source = self.source if self.kind == "revision" else Path(self.source).name
        return {
            "name": self.name,
            "kind": self.kind,
            "source": source,
            "revision": self.revision,
            "commit": self.commit,
            "step": self.step,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Checkpoints in order, and those that are missing, by name with the reason."""

    checkpoints: tuple[Checkpoint, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()


_GIVEN = re.compile(r"^(.+)=(\d+)$")
_NAMED = re.compile(
    r"(?:step|checkpoint|ckpt|iter|iteration|epoch)s?[-_=.]?(\d+)([kKmM]?)(?![A-Za-z0-9])"
)
_ALONE = re.compile(r"^[A-Za-z_.-]*?(\d+)([kKmM]?)$")
_COMMIT = re.compile(r"^[0-9a-f]{7,40}$")


def step_in(name: str) -> int | None:
    """The training step that a name speaks of; None where that is in doubt.

    A number after *step*, *checkpoint*, *ckpt*, *iter* or *epoch* wins, *step* before the others;
    else the name must hold one number only. Commit hashes hold no step.

    Examples
    --------
    >>> [step_in(n) for n in ("checkpoint-2000", "stage1-step5000-tokens21B", "step20k", "main")]
    [2000, 5000, 20000, None]
    >>> [step_in(n) for n in ("a1b2c3d4e5", "v1.5-run3", "0400")]
    [None, None, 400]
    """
    if _COMMIT.match(name) and not name.isdigit():
        return None
    named = list(_NAMED.finditer(name))
    steps = [m for m in named if m[0].startswith("step")]
    found = steps[-1] if steps else named[-1] if len(named) == 1 else None
    if found is None and not named:
        found = _ALONE.match(name)
    if found is None:
        return None
    return int(found[1]) * {"": 1, "k": 1_000, "m": 1_000_000}[found[2].lower()]


def find_checkpoints(spec: RunSpec) -> Found:
    """The checkpoints of a spec, by training step; none where it asks for one network.

    They are ordered by step where all have one, else as they were given.

    Raises
    ------
    ConfigError
        If the options contradict each other, nothing matches, or two have one name.
    NetworkError
        If a revision is missing and ``keep_going`` is off.
    """
    check_sweep(spec)
    if spec.checkpoints:
        found = Found(checkpoints=tuple(_folders(spec)))
    elif len(spec.revision) > 1:
        found = _revisions(spec)
    else:
        return Found()
    names = [c.name for c in found.checkpoints]
    if double := sorted({n for n in names if names.count(n) > 1}):
        raise ConfigError(
            f"two checkpoints are called {double[0]!r}; their runs would share a directory, "
            "give them other names"
        )
    if not names:
        raise NetworkError(
            f"{spec.network}: none of the revisions is there; the first: {found.missing[0][1]}"
        )
    ordered = list(found.checkpoints)
    if all(c.step is not None for c in ordered):
        ordered.sort(key=lambda c: c.step or 0)
    return replace(found, checkpoints=tuple(ordered))


def check_sweep(spec: RunSpec) -> None:
    """Refuse options that contradict each other."""
    many = bool(spec.checkpoints) or len(spec.revision) > 1
    if spec.checkpoints and spec.revision:
        raise ConfigError("checkpoints are folders and take no revision; leave one of them out")
    if many and spec.adapter is not None:
        raise ConfigError(
            "an adapter goes with one network; to follow an adapter over its training, give its "
            "folders as checkpoints and the base as the network"
        )
    if spec.main_checkpoint is not None and not many:
        raise ConfigError("main_checkpoint chooses among checkpoints or revisions; none are given")
    if spec.drop_cache and len(spec.revision) < 2:
        raise ConfigError("drop_cache deletes revisions of a sweep; give two or more revisions")
    if spec.with_base and spec.adapter is None and not spec.checkpoints:
        raise ConfigError("with_base runs the base of an adapter; none is given")


def _folders(spec: RunSpec) -> Iterable[Checkpoint]:
    for item in spec.checkpoints:
        path, step = _given(item, exists=Path(item).expanduser().exists())
        folders = _expand(path)
        if step is not None and len(folders) > 1:
            raise ConfigError(
                f"checkpoints: {path} stands for {len(folders)} folders, not one step"
            )
        for folder in folders:
            adapter = not (folder / "config.json").is_file()
            if adapter and not spec.network:
                raise ConfigError(
                    f"checkpoints: {folder} holds an adapter; give its base as the network"
                )
            yield Checkpoint(
                name=_safe(folder.resolve().name),
                kind="adapter" if adapter else "folder",
                source=str(folder),
                step=step if step is not None else _step_of(folder),
            )


def _given(item: str, *, exists: bool) -> tuple[str, int | None]:
    match = None if exists else _GIVEN.match(item)
    return (item, None) if match is None else (match[1], int(match[2]))


def _expand(text: str) -> list[Path]:
    """The checkpoints that a folder or pattern stands for, numbers in their order."""
    path = Path(text).expanduser()
    if any(c in text for c in "*?[") and not path.exists():
        root = Path(path.anchor) if path.is_absolute() else Path()
        pattern = str(path.relative_to(path.anchor)) if path.is_absolute() else str(path)
        found = [p for p in root.glob(pattern) if _is_checkpoint(p)]
    elif _is_checkpoint(path):
        found = [path]
    elif path.is_dir():
        found = [p for p in path.iterdir() if _is_checkpoint(p)]
    else:
        raise ConfigError(f"checkpoints: there is no folder {path}")
    if not found:
        raise ConfigError(
            f"checkpoints: {path} holds no checkpoint; expected folders with config.json or "
            "adapter_config.json"
        )
    return sorted(found, key=lambda p: [int(x) if x.isdigit() else x for x in _pieces(p.name)])


def _pieces(name: str) -> list[str]:
    # Alternating text and number, so that the parts compare.
    return re.split(r"(\d+)", name)


def _is_checkpoint(path: Path) -> bool:
    files = ("config.json", "adapter_config.json")
    return path.is_dir() and any((path / f).is_file() for f in files)


def _step_of(folder: Path) -> int | None:
    state = folder / "trainer_state.json"
    if state.is_file():
        try:
            step = json.loads(state.read_text(encoding="utf-8")).get("global_step")
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"{state}: cannot be read ({error}); remove it") from error
        if isinstance(step, int) and not isinstance(step, bool):
            return step
    return step_in(folder.resolve().name)


def _revisions(spec: RunSpec) -> Found:
    from hiddenscape.models.hub import resolve_commit

    spec.require("network")
    if Path(spec.network).expanduser().is_dir():
        raise ConfigError(
            f"{spec.network}: a folder has no revisions; give folders with checkpoints instead"
        )
    found, missing = [], []
    for item in spec.revision:
        revision, step = _given(item, exists=False)
        try:
            commit = resolve_commit(spec.network, revision)
        except NetworkError as error:
            if not spec.keep_going:
                raise
            missing.append((revision, str(error)))
            continue
        found.append(
            Checkpoint(
                name=_safe(revision),
                kind="revision",
                source=spec.network,
                revision=revision,
                commit=commit,
                step=step if step is not None else step_in(revision),
            )
        )
    return Found(checkpoints=tuple(found), missing=tuple(missing))


def _safe(name: str) -> str:
    text = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".")
    return text or "_"
