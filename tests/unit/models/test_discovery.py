"""Structure instead of a family file: the same numbers, or nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from hiddenscape.errors import SiteError
from hiddenscape.models.batching import array_batch, probe_batch, token_batch
from hiddenscape.models.discovery import discover, looks_like_a_transformer
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.selfcheck import self_check
from hiddenscape.models.wrapping import wrap_module

LOGITS_BY_MORE_THAN_ONE_MODULE = {
    "distilbert", "vit", "dinov2", "dinov2_registers", "opt_projected", "opt_post_norm",
}  # fmt: skip


def batch_of(network: TorchNetwork):
    rng = np.random.default_rng(5)
    if network.kind == "pixels":
        return array_batch(network, rng.normal(size=(2, 3, 16, 16)))
    rows = [rng.integers(3, 16, n).astype(np.int32) for n in (9, 5)]
    return token_batch(network, rows, [np.zeros(len(r), np.uint8) for r in rows])


def hidden(zoo, name: str, dtype: torch.dtype) -> tuple[TorchNetwork, TorchNetwork]:
    """A network with the map of its family file, and the same one with the discovered map."""
    known = wrap_module(zoo.tiny(name).to(dtype))
    found, why = discover(known.module)
    assert found is not None, why
    inputs = {n: p for n, p in known.places.items() if n == "input"}
    guessed = replace(
        known,
        map=found,
        places={**inputs, **found.places},
        aliases=found.aliases,
        withdrawn=found.withdrawn,
    )
    return known, guessed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_without_its_file_an_architecture_gives_the_same_numbers(zoo, architecture, dtype):
    if architecture == "umt5":
        pytest.skip("its config says encoder and decoder: not tried")
    known, guessed = hidden(zoo, architecture, dtype)
    probe = probe_batch(guessed)
    assert probe is not None
    guessed = self_check(guessed, probe)
    assert all(c.passed for c in guessed.checks), [str(c) for c in guessed.checks]
    batch = batch_of(known)
    ours = known.trace(batch, [p for p in known.places.values() if p.io != "input"])
    theirs = guessed.trace(batch, [p for p in guessed.places.values() if p.io != "input"])
    for name, value in theirs.items():
        assert torch.equal(value, ours[name]), name
    missing = {n.split(".")[0] for n in set(ours) - set(theirs)}
    allowed = {"module:model"}
    if architecture == "mamba" and dtype != torch.float32:
        allowed.add("logits")  # the network narrows the stream before its head
    if architecture in LOGITS_BY_MORE_THAN_ONE_MODULE:
        allowed.add("logits")
    assert missing <= allowed
    for alias in (a for a in guessed.aliases if a.startswith("hf.")):
        assert guessed.aliases[alias] == known.aliases[alias]
    assert guessed.map is not None
    assert known.map is not None
    assert guessed.map.prefix == known.map.prefix
    assert guessed.map.parallel == known.map.parallel


def test_strangers_are_read_by_structure(zoo, stranger):
    kind = zoo.STRANGERS[stranger]
    network = wrap_module(zoo.tiny(stranger))
    assert network.facts["discovered"] is True
    assert network.map is not None
    assert network.map.family.name == f"discovered ({type(network.module).__name__})"
    probe = probe_batch(network)
    assert probe is not None
    network = self_check(network, probe)
    assert all(c.passed for c in network.checks), [str(c) for c in network.checks]
    assert network.facts["causal"] is kind.causal
    assert network.map.prefix == kind.prefix
    stems = {n.split(".")[0] for n in network.places}
    every = {"embed", "resid_pre", "resid_post", "z", "attn_out", "mlp_out", "mlp_act", "ln1_out"}
    every |= {"resid_mid", "ln2_out", "final_norm"}
    assert every - kind.lacks <= stems
    assert not stems & (kind.lacks - {"final_norm"})
    assert network.aliases["hf.0"] == "resid_pre.0"
    last = {"final_norm": "final_norm", "resid_post": f"resid_post.{zoo.BLOCKS - 1}"}
    assert network.aliases[f"hf.{zoo.BLOCKS}"] == last[kind.last]


def test_heads_of_a_stranger_are_where_its_source_has_them(zoo):
    network = wrap_module(zoo.tiny("falcon_two_norms"))
    at = {n: (p.path, p.io) for n, p in network.places.items() if p.block == 1}
    base = "transformer.h.1"
    assert at == {
        "resid_pre.1": (base, "in"),
        "ln1_out.1": (f"{base}.ln_attn", "out"),
        "ln2_out.1": (f"{base}.ln_mlp", "out"),
        "z.1": (f"{base}.self_attention.dense", "in"),
        "attn_out.1": (f"{base}.self_attention.dense", "out"),
        "mlp_act.1": (f"{base}.mlp.dense_4h_to_h", "in"),
        "mlp_out.1": (f"{base}.mlp.dense_4h_to_h", "out"),
        "resid_post.1": (base, "out"),
    }


def test_a_user_path_overrides_a_discovered_one(zoo):
    network = wrap_module(zoo.tiny("phi"), {"mlp_act.0": "model.layers.0.mlp.activation_fn"})
    assert network.places["mlp_act.0"].path == "model.layers.0.mlp.activation_fn"
    assert network.places["mlp_act.1"].path == "model.layers.1.mlp.fc2"
    assert network.places["mlp_act.0"].depth == 1.0


def test_scaled_adds_are_not_taken_for_what_attention_adds(zoo):
    # The block adds 0.5 times what any module gives: no module's output may be called attn_out.
    options = {**zoo._LLAMA, "residual_multiplier": 0.5}
    model = transformers.GraniteForCausalLM(transformers.GraniteConfig(**options)).eval()
    found, why = discover(model)
    assert found is not None
    assert "no two modules add up" in why
    assert not [n for n in found.places if n.startswith(("attn_out", "mlp_out", "resid_mid"))]
    assert "attn_out.0" in found.withdrawn


def test_logits_that_are_scaled_after_the_head_are_not_offered(zoo):
    model = transformers.CohereForCausalLM(
        transformers.CohereConfig(**zoo._LLAMA, logit_scale=0.25)
    ).eval()
    network = wrap_module(model)
    with pytest.raises(SiteError, match="no single module reads the stream"):
        network.select("logits")


def test_hooks_are_the_same_before_and_after(zoo):
    model = zoo.tiny("phi")
    count = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    discover(model)
    assert count == sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    assert not any("_output_capturing_hooks_installed" in vars(m) for m in model.modules())


@pytest.mark.parametrize(
    ("build", "config", "options", "why"),
    [
        (
            "SwinModel",
            "SwinConfig",
            {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 2],
             "num_heads": [2, 2], "window_size": 2},
            "does not keep a shape",
        ),
        (
            "YolosModel",
            "YolosConfig",
            {"image_size": [16, 16], "patch_size": 4, "num_detection_tokens": 3,
             "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
             "intermediate_size": 64, "use_mid_position_embeddings": False},
            "do not stand in front",
        ),
        (
            "AlbertModel",
            "AlbertConfig",
            {"vocab_size": 99, "hidden_size": 32, "embedding_size": 16, "num_attention_heads": 4,
             "num_hidden_layers": 3, "intermediate_size": 64},
            "once per pass",
        ),
    ],
)  # fmt: skip
def test_what_has_no_single_stream_is_refused_with_the_reason(build, config, options, why):
    model = getattr(transformers, build)(getattr(transformers, config)(**options)).eval()
    found, reason = discover(model)
    assert found is None
    assert why in reason
    network = wrap_module(model)
    assert network.map is None
    with pytest.raises(SiteError, match=why):
        network.select("resid_post.0")


def test_encoder_decoder_pairs_and_plain_modules_are_not_tried():
    options = {"vocab_size": 99, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    bart = transformers.BartModel(transformers.BartConfig(**options, **heads))
    assert not looks_like_a_transformer(bart)
    assert not looks_like_a_transformer(nn.Sequential(nn.Linear(2, 2)))


# --- toys: what must not be believed ----------------------------------------------------------


class Mean(nn.Module):
    """The least that mixes positions."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x.mean(1, keepdim=True) + x)


class Block(nn.Module):
    """Two terms side by side; the second is computed first where ``late`` says so."""

    def __init__(self, first: nn.Module, *, late: bool = False, scale: float = 1.0) -> None:
        super().__init__()
        self.attention, self.mlp = first, nn.Linear(8, 8)
        self.late, self.scale = late, scale

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if self.late:
            added = self.mlp(hidden_states)
            return hidden_states + self.attention(hidden_states) + added
        return hidden_states + self.attention(hidden_states) + self.scale * self.mlp(hidden_states)


class Add(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.value


class Twofold(nn.Module):
    """Another pair of modules gives the same sum, and nobody uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.mlp = Mean(), nn.Linear(8, 8)
        self.up, self.down = Add(0.5), Add(-0.5)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        a, b = self.attention(hidden_states), self.mlp(hidden_states)
        self.up(a)
        self.down(b)
        return hidden_states + a + b


class Toy(transformers.PreTrainedModel):
    """The least that looks like a transformer of the library."""

    config_class = transformers.GPT2Config
    main_input_name = "input_ids"

    def __init__(self, blocks: list[nn.Module], between: float = 1.0) -> None:
        ends = {"bos_token_id": None, "eos_token_id": None}
        super().__init__(transformers.GPT2Config(vocab_size=11, n_embd=8, **ends))
        self.wte = nn.Embedding(11, 8)
        self.blocks, self.between = nn.ModuleList(blocks), between
        self.eval()

    def forward(self, input_ids: torch.Tensor, **_: object) -> object:
        x = self.wte(input_ids)
        for block in self.blocks:
            x = block(x * self.between)
        return transformers.modeling_outputs.BaseModelOutput(last_hidden_state=x)


def test_attention_is_what_mixes_positions_whichever_comes_first():
    for late in (False, True):
        found, why = discover(Toy([Block(Mean(), late=late) for _ in range(2)]))
        assert found is not None
        assert not why
        assert found.parallel
        assert found.places["attn_out.1"].path == "blocks.1.attention.out"
        assert found.places["mlp_out.1"].path == "blocks.1.mlp"


def silent() -> nn.Module:
    linear = nn.Linear(8, 8)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


@pytest.mark.parametrize(
    ("blocks", "why"),
    [
        (lambda: [Block(silent()) for _ in range(2)], "no two modules add up"),
        (
            lambda: [Block(nn.Linear(8, 8)) for _ in range(2)],
            "nothing tells attention and MLP apart",
        ),
        (lambda: [Block(Mean(), scale=0.5) for _ in range(2)], "no two modules add up"),
        (
            lambda: [Block(Mean()), Block(Mean()), Block(Mean(), scale=0.5)],
            "does not hold in block 2",
        ),
        (lambda: [Twofold() for _ in range(2)], "more than one pair"),
    ],
)
def test_what_is_not_proven_is_not_named(blocks, why):
    found, reason = discover(Toy(blocks()))
    assert found is not None
    assert why in reason
    assert {n.split(".")[0] for n in found.places} == {"embed", "resid_pre", "resid_post"}
    assert why in found.withdrawn["attn_out.0"]


def test_a_stream_that_changes_between_blocks_is_no_stream():
    found, why = discover(Toy([Block(Mean()) for _ in range(2)], between=2.0))
    assert found is None
    assert "blocks.1 does not read what the block before it gives" in why


def test_a_network_that_fails_on_short_rows_is_left_to_its_paths():
    class Picky(Toy):
        def forward(self, input_ids: torch.Tensor, **_: object) -> object:
            raise ValueError("give me 512 tokens")

    network = wrap_module(Picky([Block(Mean()) for _ in range(2)]))
    assert network.map is None
    with pytest.raises(SiteError, match="give me 512 tokens"):
        network.select("embed")
    assert "module:blocks.0" in network.places
