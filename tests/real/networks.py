"""Real networks of text and proteins from the shared folder, rebuilt for tests."""

from __future__ import annotations

import base64
import csv
import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high. Lily's mom "
    "said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. She said, "
    '"I want to play with your ball, but I can\'t find it."'
)
"""A story in the manner of the training data."""
OPENING = ". ".join(STORY.split(". ")[:3]) + "."


# --- TinyStories Llama ------------------------------------------------------------------------


def read_llama(path: Path) -> tuple[dict[str, int], dict[str, np.ndarray]]:
    """Header and weights of a llama2.c checkpoint; every float must be consumed."""
    raw = path.read_bytes()
    names = ("dim", "hidden", "layers", "heads", "kv_heads", "vocab", "seq_len")
    head = dict(zip(names, struct.unpack("<7i", raw[:28]), strict=True))
    flat = np.frombuffer(raw, "<f4", offset=28)
    d, n, h, v = head["dim"], head["layers"], head["hidden"], head["vocab"]
    kv = head["kv_heads"] * d // head["heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "tok_emb": (v, d),
        "att_norm": (n, d),
        "wq": (n, d, d),
        "wk": (n, kv, d),
        "wv": (n, kv, d),
        "wo": (n, d, d),
        "ffn_norm": (n, d),
        "w1": (n, h, d),
        "w2": (n, d, h),
        "w3": (n, h, d),
        "final_norm": (d,),
        "cos": (head["seq_len"], d // head["heads"] // 2),
        "sin": (head["seq_len"], d // head["heads"] // 2),
    }
    weights, at = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        weights[name] = flat[at : at + size].reshape(shape)
        at += size
    assert at == len(flat), f"{len(flat) - at} floats are left over"
    return head, weights


def _halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a rotary projection from adjacent pairs (2i, 2i+1) to halves (i, i + e/2)."""
    rows, width = weight.shape
    return (
        weight.reshape(heads, rows // heads // 2, 2, width)
        .transpose(0, 2, 1, 3)
        .reshape(rows, width)
    )


def llama_checkpoint(source: Path, tokenizer: Path | None, folder: Path) -> Path:
    """A Hugging Face checkpoint (config, safetensors, tokenizer) of a llama2.c file."""
    import transformers

    head, w = read_llama(source)
    config = transformers.LlamaConfig(
        hidden_size=head["dim"],
        intermediate_size=head["hidden"],
        num_hidden_layers=head["layers"],
        num_attention_heads=head["heads"],
        num_key_value_heads=head["kv_heads"],
        vocab_size=head["vocab"],
        max_position_embeddings=head["seq_len"],
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = transformers.LlamaForCausalLM(config)
    state: dict[str, np.ndarray] = {
        "model.embed_tokens.weight": w["tok_emb"],
        "lm_head.weight": w["tok_emb"],
        "model.norm.weight": w["final_norm"],
    }
    for b in range(head["layers"]):
        p = f"model.layers.{b}."
        state |= {
            p + "self_attn.q_proj.weight": _halves(w["wq"][b], head["heads"]),
            p + "self_attn.k_proj.weight": _halves(w["wk"][b], head["kv_heads"]),
            p + "self_attn.v_proj.weight": w["wv"][b],
            p + "self_attn.o_proj.weight": w["wo"][b],
            p + "mlp.gate_proj.weight": w["w1"][b],
            p + "mlp.down_proj.weight": w["w2"][b],
            p + "mlp.up_proj.weight": w["w3"][b],
            p + "input_layernorm.weight": w["att_norm"][b],
            p + "post_attention_layernorm.weight": w["ffn_norm"][b],
        }
    model.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in state.items()})
    model.save_pretrained(folder, safe_serialization=True)
    if tokenizer is not None:
        llama_tokenizer(tokenizer).save_pretrained(folder)
    return folder


def read_pieces(path: Path) -> list[tuple[bytes, float]]:
    """Pieces and scores of a llama2.c tokenizer file, by id."""
    raw, at, pieces = path.read_bytes(), 4, []
    while at < len(raw):
        score, length = struct.unpack_from("<fi", raw, at)
        pieces.append((raw[at + 8 : at + 8 + length], score))
        at += 8 + length
    return pieces


def encode(pieces: list[tuple[bytes, float]], text: str) -> list[int]:
    """The encoder of llama2.c: characters, then the best-scoring adjacent pair, repeatedly."""
    lookup = {piece: i for i, (piece, _) in reversed(list(enumerate(pieces)))}
    ids = [1]
    for char in " " + text if text else "":
        raw = char.encode()
        ids += [lookup[raw]] if raw in lookup else [byte + 3 for byte in raw]
    while True:
        best, where = -1e10, -1
        for i in range(len(ids) - 1):
            merged = lookup.get(pieces[ids[i]][0] + pieces[ids[i + 1]][0])
            if merged is not None and pieces[merged][1] > best:
                best, where = pieces[merged][1], i
        if where < 0:
            return ids
        ids[where : where + 2] = [lookup[pieces[ids[where]][0] + pieces[ids[where + 1]][0]]]


def llama_tokenizer(path: Path) -> Any:
    """The same as a fast tokenizer: byte-pair merges in the order of their scores."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = read_pieces(path)
    names = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    vocab = {name: i for i, name in enumerate(names)}
    for i, (piece, _) in enumerate(pieces[259:], 259):
        vocab.setdefault(piece.decode(), i)
    order = sorted(range(259, len(pieces)), key=lambda i: (-pieces[i][1], i))
    merges = []
    for i in order:
        text = pieces[i][0].decode()
        splits = [(text[:j], text[j:]) for j in range(1, len(text))]
        merges += [(a, b) for a, b in splits if a in vocab and b in vocab]
    backend = Tokenizer(
        models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    backend.normalizer = normalizers.Prepend(" ")
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    backend.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


# --- gpt-nano that sorts ----------------------------------------------------------------------


def _arrays(path: Path) -> dict[str, np.ndarray]:
    found = json.loads(path.read_text())
    return {
        k: np.frombuffer(base64.b64decode(v["data"]), "<f4").reshape(v["shape"])
        for k, v in found.items()
        if isinstance(v, dict) and "data" in v
    }


def gpt_nano(folder: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """The network as a Hugging Face GPT-2, and the activations its author stored."""
    import transformers

    w = _arrays(folder / "gpt-nano-sort-model.json")
    config = transformers.GPT2Config(
        n_embd=48,
        n_layer=3,
        n_head=3,
        vocab_size=3,
        n_positions=11,
        activation_function="gelu_new",
        layer_norm_epsilon=1e-5,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    state = {}
    for name, value in model.state_dict().items():
        source = w[name]
        # Linear weights (out, in) become Conv1D weights (in, out).
        fused = name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
        state[name] = torch.from_numpy((source.T if fused else source).copy()).reshape(value.shape)
    model.load_state_dict(state)
    return model, _arrays(folder / "gpt-nano-sort-t0-partials.json")


# --- UniRep-64: four stacked multiplicative LSTMs over amino acids ----------------------------

RESIDUES = "-MRHKDESTNQCUGPAVIFYWLOX"
START = 24


class MultiplicativeLSTM(nn.Module):
    """One layer: m = (x Wmx) (h Wmh) stands where an LSTM has h."""

    def __init__(self, w: dict[str, np.ndarray]) -> None:
        super().__init__()
        for name in ("wx", "wh", "wmx", "wmh"):
            # Columns of unit length, then scaled: weight normalisation over the rows.
            scaled = w[name] / np.linalg.norm(w[name], axis=0) * w["g" + name[1:]]
            self.register_buffer(name, torch.from_numpy(scaled.astype(np.float32)))
        self.register_buffer("b", torch.from_numpy(w["b"].astype(np.float32)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = c = x.new_zeros(len(x), self.wmh.shape[0])
        given, factor = x @ self.wx + self.b, x @ self.wmx
        states = []
        for t in range(x.shape[1]):
            m = factor[:, t] * (h @ self.wmh)
            i, f, o, u = (given[:, t] + m @ self.wh).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(u)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        return torch.stack(states, 1)


class UniRep(nn.Module):
    """Embedding, four layers, and the head that predicts the next amino acid."""

    def __init__(self, w: dict[str, np.ndarray]) -> None:
        super().__init__()
        table = torch.from_numpy(w["embedding"].astype(np.float32))
        self.embedding = nn.Embedding.from_pretrained(table)
        self.layers = nn.ModuleList(
            MultiplicativeLSTM(
                {k.split(".")[1]: v for k, v in w.items() if k.startswith(f"mlstm{layer}.")}
            )
            for layer in range(4)
        )
        self.head = nn.Linear(64, 25)
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(w["dense.W"].T.copy()))
            self.head.bias.copy_(torch.from_numpy(w["dense.b"]))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def unirep(folder: Path) -> UniRep:
    """UniRep-64 with the trained weights."""
    with np.load(folder / "unirep64_weights.npz", allow_pickle=False) as arrays:
        return UniRep(dict(arrays)).eval()


def residue_ids(sequence: str) -> np.ndarray:
    """Amino acids as ids, the start symbol in front."""
    other = RESIDUES.index("X")
    body = [RESIDUES.index(r) if r in RESIDUES else other for r in sequence]
    return np.array([START, *body], dtype=np.int32)


def cath_chains(folder: Path, longest: int = 300, members: int = 10) -> list[dict[str, str]]:
    """Chains of at most ``longest`` residues of superfamilies with ``members`` chains or more."""
    with (folder / "cath_chains.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    counts = Counter(r["superfamily"] for r in rows)
    kept = [r for r in rows if counts[r["superfamily"]] >= members]
    return [r for r in kept if int(r["length"]) <= longest]
