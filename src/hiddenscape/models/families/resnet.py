"""ResNets: Hugging Face's, and plain torch ones with stages ``layer1``, ``layer2``, ...

Blocks of all stages are counted through, in order of firing. Sites are maps (B, C, H, W): ``embed``
is what the stem gives block 0, ``resid_post.b`` what block b gives; pool them with ``gap`` or
``flat``. Hugging Face's hidden states count stages, not blocks: entry 0 is the stem's output. Which
site each entry is, the load-time probe finds out by comparing values.

A plain network is recognised by its structure, not by its class: two or more children ``layerN``
that hold blocks with convolutions, beside a stem with a convolution; it may lie inside another
module. That its blocks add to a stream is for the self-check to prove.

He, Zhang, Ren, Sun 2015, arXiv:1512.03385.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import nn

from hiddenscape.models.families.family import Family, FamilyMap
from hiddenscape.models.sites import Place

__all__ = ["RESNET", "RESNET_TORCH"]

_STAGE = re.compile(r"^layer(\d+)$")
_HEADS = ("fc", "linear", "classifier", "head")
_CONTAINERS = (nn.Sequential, nn.ModuleList)


def _lay_hf(family: Family, module: nn.Module) -> FamilyMap | None:
    modules = dict(module.named_modules())
    base = "resnet." if "resnet.encoder.stages" in modules else ""
    stages = modules.get(f"{base}encoder.stages")
    if stages is None:
        return None
    blocks = [
        f"{base}encoder.stages.{i}.layers.{j}"
        for i, stage in stages.named_children()
        for j, _ in stage.get_submodule("layers").named_children()
    ]
    head = "classifier" if base and "classifier" in modules else None
    return _lay(family, blocks, head)


def _lay_torch(family: Family, module: nn.Module) -> FamilyMap | None:
    for path, inner in module.named_modules():
        children = dict(inner.named_children())
        stages = sorted((n for n in children if _STAGE.match(n)), key=lambda n: int(n[5:]))
        if len(stages) < 2 or not _has_stem(children, stages):
            continue
        base = f"{path}." if path else ""
        blocks = _stage_blocks(base, children, stages)
        if blocks is None:
            return None
        head = next((n for n in _HEADS if n in children), None)
        return _lay(family, blocks, None if head is None else base + head)
    return None


def _has_stem(children: Mapping[str, nn.Module], stages: Sequence[str]) -> bool:
    """Whether something with a convolution comes before the stages."""
    before = list(children)[: list(children).index(stages[0])]
    return any(_convolves(children[name]) for name in before)


def _convolves(module: nn.Module) -> bool:
    return any(isinstance(m, nn.Conv2d) for m in module.modules())


def _stage_blocks(
    base: str, children: Mapping[str, nn.Module], stages: Sequence[str]
) -> list[str] | None:
    """Paths of the blocks of all stages; None where a stage is no list of blocks."""
    blocks: list[str] = []
    for stage in stages:
        inside = dict(children[stage].named_children())
        lists = isinstance(children[stage], _CONTAINERS) and bool(inside)
        if not lists or not all(_convolves(b) and list(b.children()) for b in inside.values()):
            return None
        blocks += [f"{base}{stage}.{name}" for name in inside]
    return blocks


def _lay(family: Family, blocks: Sequence[str], head: str | None) -> FamilyMap:
    count = len(blocks)
    places = {"embed": Place(name="embed", path=blocks[0], io="in", depth=0.0)}
    for b, path in enumerate(blocks):
        for stem, io, depth in (("resid_pre", "in", b), ("resid_post", "out", b + 1)):
            name = f"{stem}.{b}"
            places[name] = Place(name=name, path=path, io=io, depth=float(depth), block=b)
    if head is not None:
        places["logits"] = Place(name="logits", path=head, depth=float(count))
    return FamilyMap(
        family=family,
        places=places,
        aliases={},
        withdrawn={},
        n_blocks=count,
        parallel=False,
        blocks="",
        final_norm=None,
        head=head,
    )


RESNET = Family(
    name="resnet",
    classes=r"ResNet(Model|ForImageClassification|Backbone)",
    blocks=(),
    reads={},
    final_norm=None,
    kind="pixels",
    last_hidden="resid_post",
    lay=_lay_hf,
    maps=True,
    row_shape=lambda config: (int(config.num_channels), 64, 64),
)

RESNET_TORCH = Family(
    name="resnet_torch",
    classes=r".*",
    blocks=(),
    reads={},
    final_norm=None,
    kind="arrays",
    last_hidden="",
    lay=_lay_torch,
    maps=True,
)
