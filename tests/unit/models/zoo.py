"""Tiny random networks of every architecture with a site map, and of some without.

Weights are of order 0.3, gains and biases random: at the default 0.02 a bug looks like rounding,
and at gain 1 and bias 0 a norm too many cannot be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers as t

BLOCKS = 3
_SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
_TEXT = {**_SIZE, "vocab_size": 99, "max_position_embeddings": 96}
_IDS = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_LLAMA = {**_TEXT, **_IDS, "num_key_value_heads": 2}
_HEAD = {**_LLAMA, "head_dim": 8}
_GPT = {
    "n_embd": 32, "n_layer": BLOCKS, "n_head": 4, "n_positions": 96, "vocab_size": 99,
    "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
_OPT = {
    "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": BLOCKS, "num_attention_heads": 4,
    "ffn_dim": 64, "max_position_embeddings": 96,
}  # fmt: skip
_T5 = {
    "vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": BLOCKS, "num_heads": 4,
}  # fmt: skip
_IMAGE = {**_SIZE, "image_size": 16, "patch_size": 4}
_DINO = {**{k: v for k, v in _IMAGE.items() if k != "intermediate_size"}, "mlp_ratio": 2}
_ESM = {**_TEXT, "vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32, "token_dropout": True}

NORMS = frozenset({"ln1_out", "ln2_out"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """An architecture, and what is known about it from its source, not from our map.

    ``last`` is what the library's last hidden state is; ``lacks`` are the stems of sites that do
    not exist there; ``stems`` are all of them where only few do.
    """

    build: Callable[[], Any]
    family: str
    last: str = "final_norm"
    lacks: frozenset[str] = frozenset()
    causal: bool = True
    pixels: bool = False
    first: str = "resid_pre"
    prefix: int = 0
    head: bool = True


def _made(model: str, config: str, **options: Any) -> Callable[[], Any]:
    return lambda: getattr(t, model)(getattr(t, config)(**options))


def _causal(stem: str, family: str, options: Mapping[str, Any], **more: Any) -> Kind:
    return Kind(
        build=_made(f"{stem}ForCausalLM", f"{stem}Config", **options), family=family, **more
    )


def _encoder(stem: str, family: str, options: Mapping[str, Any], **more: Any) -> Kind:
    known: dict[str, Any] = {"last": "resid_post", "lacks": NORMS | {"final_norm"}, "causal": False}
    build = _made(f"{stem}ForMaskedLM", f"{stem}Config", **options)
    return Kind(build=build, family=family, **{**known, **more})


def _image(model: str, config: str, family: str, options: Mapping[str, Any], **more: Any) -> Kind:
    known: dict[str, Any] = {"last": "resid_post", "causal": False, "pixels": True, "prefix": 1}
    return Kind(build=_made(model, config, **options), family=family, **{**known, **more})


_PARALLEL = frozenset({"resid_mid"})
_SHARED = frozenset({"resid_mid", "ln2_out"})
_STREAM_ONLY = NORMS | {"z", "attn_out", "resid_mid", "mlp_act", "mlp_out"}

FAMILIES: dict[str, Kind] = {
    "gpt2": Kind(build=_made("GPT2LMHeadModel", "GPT2Config", **_GPT), family="gpt2"),
    "imagegpt": Kind(
        build=_made(
            "ImageGPTForCausalImageModeling", "ImageGPTConfig", **{**_GPT, "vocab_size": 17}
        ),
        family="imagegpt",
    ),
    "gpt_neo": _causal("GPTNeo", "gpt_neo", {
        "vocab_size": 99, "hidden_size": 32, "num_layers": BLOCKS, "num_heads": 4,
        "attention_types": [[["global", "local", "global"], 1]], "window_size": 4,
        "max_position_embeddings": 96, "intermediate_size": 64,
        "bos_token_id": None, "eos_token_id": None,
    }),
    "gptj": _causal("GPTJ", "gptj", {**_GPT, "rotary_dim": 4}, lacks=_SHARED),
    "bloom": _causal("Bloom", "bloom", {
        "vocab_size": 99, "hidden_size": 32, "n_layer": BLOCKS, "n_head": 4,
    }),
    "gpt_neox": _causal("GPTNeoX", "gpt_neox", {**_TEXT, **_IDS}, lacks=_PARALLEL),
    "gpt_neox_sequential": _causal(
        "GPTNeoX", "gpt_neox", {**_TEXT, **_IDS, "use_parallel_residual": False}
    ),
    "llama": _causal("Llama", "llama", _LLAMA),
    "mistral": _causal("Mistral", "llama", {**_LLAMA, "sliding_window": 4}),
    "qwen2": _causal("Qwen2", "llama", _LLAMA),
    "qwen3": _causal("Qwen3", "llama", _HEAD),
    "olmo": _causal("Olmo", "llama", _LLAMA),
    "phi3": _causal("Phi3", "llama", _LLAMA),
    "olmo2": _causal("Olmo2", "olmo2", _LLAMA, lacks=NORMS),
    "opt": _causal("OPT", "opt", {**_OPT, "word_embed_proj_dim": 32}),
    "opt_projected": _causal("OPT", "opt", {**_OPT, "word_embed_proj_dim": 16}, last="project_out"),
    "opt_post_norm": _causal(
        "OPT", "opt_post_norm",
        {**_OPT, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
        last="project_out", lacks=NORMS | {"final_norm"},
    ),
    "gemma": _causal("Gemma", "gemma", _HEAD),
    "gemma2": _causal(
        "Gemma2", "gemma2", {**_HEAD, "sliding_window": 4, "final_logit_softcapping": 3.0}
    ),
    "gemma3": Kind(
        build=_made("Gemma3ForCausalLM", "Gemma3TextConfig", **{**_HEAD, "sliding_window": 4}),
        family="gemma3",
    ),
    "mamba": _causal("Mamba", "mamba", {
        "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": BLOCKS, "state_size": 4,
        "time_step_rank": 4, **_IDS,
    }, lacks=_STREAM_ONLY, first="resid_post"),
    "bert": _encoder("Bert", "bert", _TEXT),
    "roberta": _encoder("Roberta", "roberta", {**_TEXT, **_IDS}),
    "distilbert": _encoder("DistilBert", "distilbert", {
        "vocab_size": 99, "dim": 32, "n_layers": BLOCKS, "n_heads": 4, "hidden_dim": 64,
        "max_position_embeddings": 96,
    }),
    "esm": _encoder(
        "Esm", "esm", {**_ESM, "position_embedding_type": "rotary"},
        last="final_norm", lacks=frozenset(),
    ),
    "esm1b": _encoder(
        "Esm", "esm",
        {**_ESM, "position_embedding_type": "absolute", "emb_layer_norm_before": True},
        last="final_norm", lacks=frozenset(),
    ),
    "t5": Kind(build=_made("T5EncoderModel", "T5Config", **_T5), family="t5_encoder",
               causal=False, head=False),
    "t5_gated": Kind(
        build=_made("T5EncoderModel", "T5Config", **_T5, feed_forward_proj="gated-gelu"),
        family="t5_encoder", causal=False, head=False,
    ),
    "umt5": Kind(build=_made("UMT5EncoderModel", "UMT5Config", **_T5), family="t5_encoder",
                 causal=False, head=False),
    "vit": _image("ViTForImageClassification", "ViTConfig", "vit", {**_IMAGE, "num_labels": 5}),
    "dinov2": _image("Dinov2ForImageClassification", "Dinov2Config", "dinov2",
                     {**_DINO, "num_labels": 5}),
    "dinov2_registers": _image(
        "Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig", "dinov2",
        {**_DINO, "num_labels": 5, "num_register_tokens": 3}, prefix=4,
    ),
    "dinov2_swiglu": _image("Dinov2Model", "Dinov2Config", "dinov2_swiglu",
                            {**_DINO, "use_swiglu_ffn": True}, head=False),
    "clip_vision": _image("CLIPVisionModel", "CLIPVisionConfig", "clip_vision", _IMAGE, head=False),
    "clip_projected": _image("CLIPVisionModelWithProjection", "CLIPVisionConfig", "clip_vision",
                             _IMAGE, head=False),
}  # fmt: skip

STRANGERS: dict[str, Kind] = {
    "falcon": _causal("Falcon", "", {
        "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": BLOCKS, "num_attention_heads": 4,
    }, lacks=_SHARED),
    "falcon_two_norms": _causal("Falcon", "", {
        "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": BLOCKS, "num_attention_heads": 4,
        "new_decoder_architecture": True, "num_kv_heads": 2,
    }, lacks=_PARALLEL),
    "phi": _causal("Phi", "", {**_TEXT, **_IDS}, lacks=_SHARED),
    "stablelm": _causal("StableLm", "", _LLAMA),
    "codegen": _causal("CodeGen", "", {**_GPT, "rotary_dim": 4}, lacks=_SHARED),
    "starcoder2": _causal("Starcoder2", "", _LLAMA),
    "mixtral": _causal("Mixtral", "", {**_LLAMA, "num_local_experts": 4},
                       lacks=frozenset({"mlp_act"})),
    "deberta": _encoder("DebertaV2", "", _TEXT),
    "siglip": _image("SiglipVisionModel", "SiglipVisionConfig", "", _IMAGE, prefix=0,
                     last="resid_post", head=False),
    "deit": _image("DeiTModel", "DeiTConfig", "", _IMAGE, prefix=2, head=False),
}  # fmt: skip


def tiny(name: str, seed: int = 0) -> Any:
    """A network of the zoo with large random weights, in eval mode."""
    model = (FAMILIES | STRANGERS)[name].build()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for path, p in model.named_parameters():
            if path.endswith("A_log"):  # decay rates of Mamba: e to the power of this
                continue
            gain = p.ndim == 1 and path.endswith(("weight", "lambda1"))
            p.copy_(float(gain) + 0.3 * torch.randn(p.shape, generator=generator))
    return model.eval()
