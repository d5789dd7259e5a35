"""Real networks of the shared folder, rebuilt: used by tests and by nobody else."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high. Lily's mom "
    "said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. She said, "
    '"I want to play with your ball, but I can\'t find it."'
)
"""A story in the manner of the training data."""


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


# --- ResNet on CIFAR-10 -----------------------------------------------------------------------


class BasicBlock(nn.Module):
    """conv-bn-relu-conv-bn plus a shortcut that subsamples and pads channels with zeros."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.pad = width // 4 if stride != 1 or width_in != width else 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.pad:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(out + x)


class CifarResNet(nn.Module):
    """He et al. 2015, section 4.2: three stages of n blocks with 16, 32 and 64 channels."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, n, 1)
        self.layer2 = self._stage(16, 32, n, 2)
        self.layer3 = self._stage(32, 64, n, 2)
        self.linear = nn.Linear(64, 10)

    @staticmethod
    def _stage(width_in: int, width: int, n: int, stride: int) -> nn.Sequential:
        first = BasicBlock(width_in, width, stride)
        return nn.Sequential(first, *(BasicBlock(width, width, 1) for _ in range(n - 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def cifar_resnet(folder: Path, depth: int = 20) -> CifarResNet:
    """ResNet20 or ResNet32 with the trained weights."""
    path = next(folder.glob(f"resnet{depth}-*.th"))
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    model = CifarResNet((depth - 2) // 6)
    model.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
    return model.eval()


def cifar_input(images: np.ndarray) -> np.ndarray:
    """Bytes (n, 32, 32, 3) to the float32 (n, 3, 32, 32) that the networks were trained on."""
    x = images.astype(np.float32) / 255
    x = (x - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)


# --- MLP on MNIST -----------------------------------------------------------------------------


def mnist_mlp(folder: Path, width: int = 100) -> nn.Sequential:
    """Six layers of ``width`` ReLU units with the trained weights."""
    path = folder / f"mnist_6_{width}_nat.pth"
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"][0]
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(784, width), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Linear(width, width), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    model.load_state_dict(state)
    return model.eval()


def mnist_test(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (10000, 28, 28) in [0, 1] as float32, and labels."""
    images = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    x = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    return x.astype(np.float32) / 255, np.frombuffer(labels, np.uint8, offset=8).astype(int)


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
