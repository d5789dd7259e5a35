"""Site maps of Hugging Face transformers that no family file serves, found by structure.

One forward pass over two short rows shows what every module takes and gives. The blocks are the
longest list of children of one class; the stream must pass through them unbroken; everything else
is proven from values (:mod:`hiddenscape.models.blockproof`). The map that comes out is marked
``discovered`` and goes through the same self-check as one written by hand.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from hiddenscape.errors import NetworkError
from hiddenscape.models.blockproof import BlockPlan, Seen, prove_block, same, still_holds
from hiddenscape.models.families import Family, FamilyMap, build_map
from hiddenscape.models.hooks import first_input, hooks_restored, unwrap
from hiddenscape.models.memory import out_of_memory
from hiddenscape.models.structure import constant_positions, head_count, patch_count

__all__ = ["discover", "looks_like_a_transformer"]

_KINDS = {"input_ids": "tokens", "pixel_values": "pixels"}
_ERRORS = (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError)


def looks_like_a_transformer(module: nn.Module) -> bool:
    """Whether ``module`` follows Hugging Face's conventions closely enough to be tried."""
    config = getattr(module, "config", None)
    if config is None or not hasattr(module, "get_output_embeddings"):
        return False
    if getattr(config, "is_encoder_decoder", False):
        return False
    return getattr(module, "main_input_name", None) in _KINDS and _block_list(module) is not None


def discover(module: nn.Module) -> tuple[FamilyMap | None, str]:
    """The site map of ``module`` by its structure, or None and the reason.

    Offered: ``embed``, ``resid_pre``, ``resid_post`` where the stream is unbroken; the terms of a
    block, norms, heads and hidden units where they are proven; ``final_norm`` and ``logits`` where
    they read what they should. Nothing is offered on the strength of a name.
    """
    if not looks_like_a_transformer(module):
        return None, "it is no transformer of Hugging Face's kind"
    blocks = cast(str, _block_list(module))
    inputs = _inputs(module)
    if inputs is None:
        return None, "its config does not say what it eats"
    try:
        with torch.inference_mode():
            return _discovered(module, blocks, inputs)
    except _ERRORS as error:
        if out_of_memory(error):
            raise
        return None, f"a pass over two short rows failed: {' '.join(str(error).split())[:160]}"


def _discovered(
    module: nn.Module, blocks: str, inputs: Mapping[str, torch.Tensor]
) -> tuple[FamilyMap | None, str]:
    count = len(cast(nn.ModuleList, module.get_submodule(blocks)))
    looked = sorted({0, count // 2, count - 1})
    seen, output = _watch(module, blocks, looked, inputs)
    stream = _stream(seen, blocks, count)
    if isinstance(stream, str):
        return None, stream
    prefix = _prefix(module, stream[0][0])
    if isinstance(prefix, str):
        return None, prefix
    plan, why = _plan(module, blocks, looked, inputs, seen, stream)
    family = Family(
        name=f"discovered ({type(module).__name__})",
        classes=type(module).__name__,
        blocks=(blocks,),
        reads=plan.reads,
        flat=plan.flat,
        norm_first=plan.norm_first,
        post_norms=plan.post_norms,
        parallel=lambda config: plan.parallel,
        kind=_KINDS[cast(str, module.main_input_name)],
        prefix=prefix,
        discovered=True,
        **_tail(module, blocks, seen, stream, output),
        **_hidden(module, inputs, seen, blocks, stream),
    )
    found = build_map(family, module)
    if found is None:
        return None, "its blocks were not found again"
    return replace(found, withdrawn={**found.withdrawn, **_left_out(found, why)}), why


def _left_out(found: FamilyMap, why: str) -> dict[str, str]:
    """Reasons for what people will ask for and do not get."""
    reasons: dict[str, str] = {}
    if why:
        missing = [f"{stem}.{b}" for stem in ("attn_out", "mlp_out") for b in range(found.n_blocks)]
        reasons = dict.fromkeys(missing, f"the structure of the blocks does not prove it: {why}")
    if found.final_norm is None:
        reasons["final_norm"] = "no norm after the last block reads the stream that leaves it"
    if found.head is None:
        reasons["logits"] = (
            "no single module reads the stream after the last block and gives the network's logits"
        )
    return reasons


# --- blocks and stream ------------------------------------------------------------------------


def _block_list(module: nn.Module) -> str | None:
    """Path of the longest list of children of one class that lies in no other such list."""
    lists = {
        path: m
        for path, m in module.named_modules()
        if isinstance(m, nn.ModuleList)
        and len(m) > 0
        and len({type(child) for child in m}) == 1
        and next(m[0].children(), None) is not None
    }
    outer = {p: m for p, m in lists.items() if not any(p.startswith(f"{q}.") for q in lists)}
    return max(outer, key=lambda path: len(outer[path]), default=None)


def _stream(
    seen: Mapping[str, Seen], blocks: str, count: int
) -> list[tuple[torch.Tensor, torch.Tensor]] | str:
    """(entering, leaving) for each block, or why there is no unbroken stream."""
    stream: list[tuple[torch.Tensor, torch.Tensor]] = []
    for b in range(count):
        s = seen.get(f"{blocks}.{b}")
        if s is None or s.calls != 1 or s.value_in is None or s.value_out is None:
            return f"module {blocks}.{b} does not take and give one tensor once per pass"
        if s.value_in.ndim != 3 or s.value_in.shape != s.value_out.shape:
            return f"module {blocks}.{b} does not keep a shape (rows, tokens, units)"
        if stream and not torch.equal(stream[-1][1], s.value_in):
            return f"module {blocks}.{b} does not read what the block before it gives"
        stream.append((s.value_in, s.value_out))
    return stream


def _plan(
    module: nn.Module,
    blocks: str,
    looked: list[int],
    inputs: Mapping[str, torch.Tensor],
    seen: Mapping[str, Seen],
    stream: list[tuple[torch.Tensor, torch.Tensor]],
) -> tuple[BlockPlan, str]:
    def inside(b: int, which: Mapping[str, Seen]) -> list[Seen]:
        start = f"{blocks}.{b}."
        return [
            Seen(
                path=p[len(start) :], module=s.module, value_in=s.value_in, value_out=s.value_out,
                order=s.order, calls=s.calls,
            )
            for p, s in which.items()
            if p.startswith(start)
        ]  # fmt: skip

    noise = torch.randn(
        stream[0][0].shape[-1], generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    pushed, _ = _watch(module, blocks, [0], inputs, push=noise)
    before, after = inside(0, seen), {s.path: s for s in inside(0, pushed)}
    mixes = {s.path: _mixes(s, after.get(s.path), stream[0][0]) for s in before}
    heads = head_count(getattr(module, "config", None))
    plan, why = prove_block(before, *stream[0], mixes, heads)
    for b in looked[1:]:
        if not still_holds(plan, inside(b, seen), *stream[b]):
            return BlockPlan(), f"what holds in block 0 does not hold in block {b}"
    return plan, why


def _mixes(before: Seen, after: Seen | None, stream: torch.Tensor) -> bool:
    """Whether positions after 0 of the first row changed."""
    old, new = before.value_out, None if after is None else after.value_out
    tokens = stream.shape[1]
    if old is None or new is None or old.shape != new.shape:
        return False
    if old.ndim == 2 and len(old) == stream.shape[0] * tokens:
        old, new = (x.reshape(*stream.shape[:2], -1) for x in (old, new))
    if old.ndim != 3 or old.shape[1] != tokens:
        return False
    return not torch.equal(old[0, 1:], new[0, 1:])


# --- one watched pass -------------------------------------------------------------------------


def _inputs(module: nn.Module) -> dict[str, torch.Tensor] | None:
    """Two short, different rows, the second shorter; or two images of noise."""
    config: Any = module.config
    device = _home(module)
    rng = np.random.default_rng([0, 21])
    if module.main_input_name == "input_ids":
        size = getattr(config, "vocab_size", None)
        if not isinstance(size, int):
            return None
        names = ("pad_token_id", "mask_token_id", "eos_token_id", "bos_token_id")
        said = [getattr(config, name, None) for name in names]
        avoid = {i for ids in said for i in (ids if isinstance(ids, list) else [ids])}
        allowed = np.array([i for i in range(min(size, 5000)) if i not in avoid] or [0])
        ids = torch.from_numpy(rng.choice(allowed, (2, 7)))
        mask = torch.ones_like(ids)
        mask[1, 4:] = 0
        rows = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
        takes = inspect.signature(module.forward).parameters
        return rows if "attention_mask" in takes else {"input_ids": rows["input_ids"]}
    size, channels = (getattr(config, n, None) for n in ("image_size", "num_channels"))
    if size is None or channels is None:
        return None
    shape = (2, channels, *((size, size) if isinstance(size, int) else size))
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    return {"pixel_values": torch.from_numpy(rng.normal(size=shape)).to(device, dtype)}


def _home(module: nn.Module) -> torch.device:
    """Where inputs go, also where accelerate moves parameters about."""
    home = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
    if home is not None:
        return torch.device(home)
    devices = (p.device for p in module.parameters() if p.device.type != "meta")
    return next(devices, torch.device("cpu"))


def _watch(
    module: nn.Module,
    blocks: str,
    looked: list[int],
    inputs: Mapping[str, torch.Tensor],
    push: torch.Tensor | None = None,
) -> tuple[dict[str, Seen], Any]:
    """What all blocks, the modules inside some of them and those outside took and gave."""
    seen: dict[str, Seen] = {}
    clock = iter(range(10**9))
    with ExitStack() as stack:
        for path, child in module.named_modules():
            number, _, below = path.removeprefix(f"{blocks}.").partition(".")
            if path.startswith(f"{blocks}.") and below and int(number) not in looked:
                continue
            record = seen[path] = Seen(path=path, module=child)
            pushed = push if path == f"{blocks}.0" else None

            def before(
                _m: nn.Module, args: Any, kwargs: Any, record: Seen = record, noise: Any = pushed
            ) -> Any:
                try:
                    value = first_input(args, kwargs, record.path)
                except NetworkError:
                    return None
                if noise is not None:
                    old, value = value, value.clone()
                    scale = float(value.float().std()) + 1.0
                    value[:, 0] += (noise * scale).to(value)
                    args = tuple(value if a is old else a for a in args)
                    kwargs = {k: value if v is old else v for k, v in kwargs.items()}
                record.value_in = value.detach().clone()
                return None if noise is None else (args, kwargs)

            def after(_m: nn.Module, _a: Any, _k: Any, output: Any, record: Seen = record) -> None:
                record.calls += 1
                record.order = next(clock)
                try:
                    record.value_out = unwrap(output).detach().clone()
                except NetworkError:
                    record.value_out = None

            stack.callback(child.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(child.register_forward_hook(after, with_kwargs=True).remove)
        return seen, module(**inputs, **_options(module))


def _options(module: nn.Module) -> dict[str, Any]:
    caches = module.main_input_name == "input_ids" and hasattr(module.config, "use_cache")
    return {"return_dict": True, **({"use_cache": False} if caches else {})}


# --- what follows the blocks ------------------------------------------------------------------


def _prefix(module: nn.Module, entering: torch.Tensor) -> int | str:
    """Positions in front of the patches, or why it is unknown."""
    if module.main_input_name != "pixel_values":
        return 0
    patches = patch_count(module.config)
    if patches is None:
        return "its config does not say how many positions are patches"
    prefix = entering.shape[1] - patches
    if constant_positions(entering) != list(range(prefix)):
        return "the positions that are no patches do not stand in front"
    return prefix


def _outside(seen: Mapping[str, Seen], blocks: str) -> list[Seen]:
    """Modules that lie in no block, contain none, and ran after the last one."""
    inner = [s for p, s in seen.items() if p.startswith(f"{blocks}.")]
    last = max(s.order for s in inner)
    return sorted(
        (
            s
            for p, s in seen.items()
            if s.calls == 1 and s.order > last and p and not f"{blocks}.".startswith(f"{p}.")
            and not p.startswith(f"{blocks}.")
        ),
        key=lambda s: s.order,
    )  # fmt: skip


def _tail(
    module: nn.Module,
    blocks: str,
    seen: Mapping[str, Seen],
    stream: list[tuple[torch.Tensor, torch.Tensor]],
    output: Any,
) -> dict[str, Any]:
    """Final norm and head, by what they read and by the logits of the network."""
    last, after = stream[-1][1], _outside(seen, blocks)
    norm = next((s for s in after if s.is_norm and same(s.value_in, last)), None)
    position = None
    if norm is None:
        norm = next((s for s in after if s.is_norm and same(s.value_in, last[:, 0])), None)
        position = None if norm is None else 0
    state = last if norm is None else norm.value_out
    found: dict[str, Any] = {
        "final_norm": None if norm is None else norm.path,
        "final_position": position,
    }
    logits = getattr(output, "logits", None)
    if not isinstance(logits, torch.Tensor):
        return found
    reading = [
        (s.path, s.value_out) for s in after if s.value_out is not None and same(s.value_in, state)
    ]
    cap = getattr(module.config, "final_logit_softcapping", None)
    for path, value in reading:
        if same(value, logits):
            return {**found, "heads": (path,)}
        if isinstance(cap, float) and torch.allclose(cap * torch.tanh(value / cap), logits):
            return {**found, "heads": (path,), "softcap": lambda config: cap}
    return found


def _hidden(
    module: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    seen: Mapping[str, Seen],
    blocks: str,
    stream: list[tuple[torch.Tensor, torch.Tensor]],
) -> dict[str, Any]:
    """What the library's own hidden states are; none where they match nothing."""
    none = {"last_hidden": "", "hidden_stem": "resid_pre"}
    with hooks_restored(module):
        out = module(**inputs, **_options(module), output_hidden_states=True)
    states = getattr(out, "hidden_states", None)
    if not isinstance(states, tuple) or len(states) != len(stream) + 1:
        return none
    for at, stem in enumerate(("resid_pre", "resid_post")):
        if not all(same(state, pair[at]) for state, pair in zip(states, stream, strict=False)):
            continue
        norm = next((s for s in _outside(seen, blocks) if s.is_norm), None)
        if norm is not None and same(states[-1], norm.value_out):
            return {"last_hidden": "final_norm", "hidden_stem": stem}
        if same(states[-1], stream[-1][1]):
            return {"last_hidden": "resid_post", "hidden_stem": stem}
    return none
