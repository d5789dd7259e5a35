"""PatchGPT: a small self-supervised causal image transformer, in the manner of iGPT.

An image is cut into square patches, read row by row. Position t sees the patches before t and
predicts patch t as one of ``codes`` prototypes (the codebook, k-means centres of patches). No
label is ever seen. Blocks are pre-norm; every addition to the residual stream is the output of a
module, so that hooks reach each of them by name::

    embed_in            (n, t, width)   stream before block 0: patches (start first) + positions
    blocks.b            (n, t, width)   stream after block b
    blocks.b.ln_1       (n, t, width)   what attention reads
    blocks.b.attn       (n, t, width)   what attention adds;   attn.out is its last linear map
    blocks.b.ln_2       (n, t, width)   what the MLP reads
    blocks.b.mlp        (n, t, width)   what the MLP adds;     mlp.fc, mlp.out are its two maps
    norm                (n, t, width)   final normalisation
    head                (n, t, codes)   log-odds of the codes of patch t

Reference: Chen, Radford, Child, Wu, Jun, Luan, Sutskever, Generative Pretraining from Pixels,
ICML 2020. Departures: patches instead of pixels, real patch pixels instead of code numbers as
input, squared ReLU, ordinary LayerNorm.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from hiddenscape.errors import InputError

__all__ = ["PatchGPT", "PatchGPTConfig"]

_GREY = 255.0


@dataclass(frozen=True, slots=True)
class PatchGPTConfig:
    """Sizes of a :class:`PatchGPT`.

    Parameters
    ----------
    canvas, patch : int
        Side of the image and of a patch in pixels; ``patch`` divides ``canvas``.
    codes : int
        Number of prototypes in the codebook.
    width, depth, heads : int
        Width of the residual stream, number of blocks, attention heads; ``heads`` divides
        ``width``.

    Raises
    ------
    InputError
        If a size is below 1 or does not divide what it must.
    """

    canvas: int = 15
    patch: int = 3
    codes: int = 64
    width: int = 64
    depth: int = 8
    heads: int = 2

    def __post_init__(self) -> None:
        for name in ("canvas", "patch", "codes", "width", "depth", "heads"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.canvas % self.patch:
            raise InputError(f"patch {self.patch} does not divide canvas {self.canvas}")
        if self.width % self.heads:
            raise InputError(f"heads {self.heads} does not divide width {self.width}")

    @property
    def tokens(self) -> int:
        """Patches per image, which is also the sequence length."""
        return (self.canvas // self.patch) ** 2


class PatchEmbedding(nn.Module):
    """Images to the residual stream before block 0; owns the codebook.

    ``codebook`` (codes, patch * patch) holds grey levels in [0, 1] and is not trained.
    """

    codebook: Tensor

    def __init__(self, config: PatchGPTConfig) -> None:
        super().__init__()
        pixels = config.patch**2
        self.patch = config.patch
        self.canvas = config.canvas
        self.linear = nn.Linear(pixels, config.width)
        self.start = nn.Parameter(torch.zeros(config.width))
        self.positions = nn.Parameter(torch.zeros(config.tokens, config.width))
        self.register_buffer("codebook", torch.zeros(config.codes, pixels))

    def patches(self, images: Tensor) -> Float[Tensor, "n t pixels"]:
        """Patches of ``images`` (n, canvas, canvas), row by row, grey levels in [0, 1]."""
        if images.ndim != 3 or images.shape[1:] != (self.canvas, self.canvas):
            raise InputError(
                f"images must be (n, {self.canvas}, {self.canvas}), got {tuple(images.shape)}"
            )
        n, side, p = len(images), self.canvas // self.patch, self.patch
        grey = images.to(self.linear.weight.dtype)
        if not images.is_floating_point():
            grey = grey / _GREY
        cut = grey.reshape(n, side, p, side, p).transpose(2, 3)
        return cut.reshape(n, side * side, p * p)

    def codes(self, images: Tensor) -> Int[Tensor, "n t"]:
        """Nearest prototype of each patch: argmin_c |x - c|^2 = argmax_c (x.c - |c|^2 / 2)."""
        half = 0.5 * self.codebook.square().sum(1)
        return (self.patches(images) @ self.codebook.T - half).argmax(-1)

    def forward(self, images: Tensor) -> Float[Tensor, "n t width"]:
        # Shifted by one: position t reads patch t - 1, position 0 the start vector.
        past = self.linear(4.0 * self.patches(images)[:, :-1] - 1.0)
        first = self.start.expand(len(past), 1, -1)
        return torch.cat([first, past], dim=1) + self.positions


class CausalAttention(nn.Module):
    """Multi-head attention of every position to itself and to those before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "n t width"]) -> Float[Tensor, "n t width"]:
        n, t, width = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(n, t, width))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """x -> out(relu(fc(x))^2), four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)

    def forward(self, x: Float[Tensor, "n t width"]) -> Float[Tensor, "n t width"]:
        inner = F.relu(self.fc(x))
        return self.out(inner * inner)  # type: ignore[no-any-return]


class Block(nn.Module):
    """One pre-norm block: x + attn(ln_1 x), then x + mlp(ln_2 x)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = CausalAttention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = MLP(width)

    def forward(self, x: Float[Tensor, "n t width"]) -> Float[Tensor, "n t width"]:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


class PatchGPT(nn.Module):
    """The network. Weights are drawn from ``seed``; the global random state is not touched.

    Parameters
    ----------
    config : PatchGPTConfig
        Sizes.
    seed : int
        Seed of the initial weights: N(0, 1 / (4 fan_in)) for linear maps, those that write to the
        residual stream divided by sqrt(2 depth), N(0, 0.02^2) for positions and start.
    """

    def __init__(self, config: PatchGPTConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        # Layers draw default weights from the global stream when built; give it back untouched.
        with torch.random.fork_rng(devices=[]):
            self.embed_in = PatchEmbedding(config)
            self.blocks = nn.ModuleList(
                Block(config.width, config.heads) for _ in range(config.depth)
            )
            self.norm = nn.LayerNorm(config.width)
            self.head = nn.Linear(config.width, config.codes)
        self._initialise(seed)

    def forward(self, images: Tensor) -> Float[Tensor, "n t codes"]:
        """Log-odds of the codes.

        Parameters
        ----------
        images : (n, canvas, canvas) Tensor
            uint8 grey levels 0..255, or floating point in [0, 1].

        Returns
        -------
        (n, t, codes) Tensor
            Entry [i, t] scores the codes of patch t given patches 0..t-1 of image i.

        Raises
        ------
        InputError
            If the images have another shape.
        """
        x = self.embed_in(images)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]

    def loss(self, images: Tensor) -> Float[Tensor, ""]:
        """Mean cross-entropy of the next patch, in nats per patch; ``images`` as in forward."""
        codes = self.embed_in.codes(images)
        return F.cross_entropy(self(images).flatten(0, 1), codes.flatten())

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(0.0, 0.5 * module.in_features**-0.5, generator=draw)
                module.bias.zero_()
        for block in self.blocks:
            for linear in (block.attn.out, block.mlp.out):  # type: ignore[union-attr]
                linear.weight.mul_((2 * self.config.depth) ** -0.5)  # type: ignore[union-attr,operator]
        for vector in (self.embed_in.start, self.embed_in.positions):
            vector.normal_(0.0, 0.02, generator=draw)
