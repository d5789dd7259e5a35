"""Sites of a module that no family serves: by the user's paths, or by its structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from hiddenscape.errors import SiteError
from hiddenscape.models.families import FamilyMap
from hiddenscape.models.hooks import module_at
from hiddenscape.models.sites import Place, parse_module_site

__all__ = [
    "INPUT",
    "constant_positions",
    "head_count",
    "longest_row",
    "patch_count",
    "user_places",
]

INPUT = Place(name="input", path="", io="input", depth=0.0)
_PASS_THROUGH = (
    nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
    nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def user_places(
    module: nn.Module,
    sites: Mapping[str, str] | Sequence[str] | None,
    family: Mapping[str, Place],
) -> dict[str, Place]:
    """Places of the paths a user gave, or of the children of ``module``."""
    if sites is None:
        return {
            f"module:{path}": Place(name=f"module:{path}", path=path) for path in _structure(module)
        }
    if isinstance(sites, str):
        sites = [sites]
    if not isinstance(sites, Mapping):
        sites = {_module_name(path): path for path in sites}
    places: dict[str, Place] = {}
    for title, path in sites.items():
        place = parse_module_site(_module_name(path))
        if place is None:
            raise SiteError(
                f"site {title!r}: {path!r} is no module path; expected PATH, PATH:in or PATH:out.K"
            )
        module_at(module, place.path)
        if title == "all" or "," in title or "@" in title or "*" in title:
            raise SiteError(
                f"{title!r} cannot be the name of a site (no '@', ',' or '*', not 'all')"
            )
        if title in family:
            place = replace(place, depth=family[title].depth, block=family[title].block)
        places[title] = replace(place, name=title)
    return places


def _module_name(path: str) -> str:
    return path if path.startswith("module:") else f"module:{path}"


def _structure(module: nn.Module, prefix: str = "") -> list[str]:
    """Paths of children, containers replaced by theirs, in order of registration."""
    children = list(module.named_children())
    if not prefix and len(children) == 1 and next(children[0][1].children(), None) is not None:
        name, child = children[0]
        inner = _structure(child, f"{name}.")
        if len(inner) > 1:
            return inner
    paths: list[str] = []
    for name, child in children:
        path = f"{prefix}{name}"
        if isinstance(child, _CONTAINERS):
            paths += _structure(child, f"{path}.")
        elif not isinstance(child, _PASS_THROUGH):
            paths.append(path)
    return paths


def longest_row(module: nn.Module, found: FamilyMap | None) -> int | None:
    """Longest row of tokens that the config allows; None where it does not say."""
    config = getattr(module, "config", None)
    if config is None:
        return None
    if found is not None and found.family.max_length is not None:
        return found.family.max_length(config)
    for name in ("max_position_embeddings", "n_positions"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def patch_count(config: object) -> int | None:
    """Number of patches of one image; None where the config does not say."""
    sizes = [getattr(config, name, None) for name in ("image_size", "patch_size")]
    pairs = [(s, s) if isinstance(s, int) else s for s in sizes]
    if not all(isinstance(p, tuple | list) and len(p) == 2 and min(p) > 0 for p in pairs):
        return None
    (height, width), (down, across) = pairs  # type: ignore[misc]
    return (height // down) * (width // across)


def head_count(config: object) -> int | None:
    """Number of attention heads; None where the config does not say."""
    for name in ("num_attention_heads", "n_head", "num_heads"):
        count = getattr(config, name, None)
        if isinstance(count, int) and count > 0:
            return count
    return None


def constant_positions(entering: torch.Tensor) -> list[int]:
    """Positions of (B, T, d) that hold the same in every row: no content, if the rows differ."""
    equal = (entering == entering[:1]).all(-1).all(0)
    return [i for i, same in enumerate(equal.tolist()) if same]
