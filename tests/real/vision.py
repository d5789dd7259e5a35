"""Real networks of images from the shared folder, rebuilt for tests."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

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


# --- CNN on MNIST and Fashion-MNIST -----------------------------------------------------------


def robust_cnn(path: Path) -> nn.Sequential:
    """Two convolutions and two linear maps with the trained weights."""
    model = nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1568, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


# --- VAE on MNIST -----------------------------------------------------------------------------


class Encoder(nn.Module):
    """Images (n, 1, 32, 32) to the mean and the log-variance of ten latent numbers."""

    def __init__(self, latent: int = 10) -> None:
        super().__init__()
        self.latent = latent
        self.conv1 = nn.Conv2d(1, 32, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(32, 32, 4, stride=2, padding=1)
        self.conv3 = nn.Conv2d(32, 32, 4, stride=2, padding=1)
        self.lin1 = nn.Linear(512, 256)
        self.lin2 = nn.Linear(256, 256)
        self.mu_logvar_gen = nn.Linear(256, 2 * latent)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(x))))))
        x = F.relu(self.lin2(F.relu(self.lin1(x.flatten(1)))))
        mean, log_variance = self.mu_logvar_gen(x).view(-1, self.latent, 2).unbind(-1)
        return mean, log_variance


class Decoder(nn.Module):
    """Ten latent numbers to an image."""

    def __init__(self, latent: int = 10) -> None:
        super().__init__()
        self.lin1 = nn.Linear(latent, 256)
        self.lin2 = nn.Linear(256, 256)
        self.lin3 = nn.Linear(256, 512)
        self.convT1 = nn.ConvTranspose2d(32, 32, 4, stride=2, padding=1)
        self.convT2 = nn.ConvTranspose2d(32, 32, 4, stride=2, padding=1)
        self.convT3 = nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.lin3(F.relu(self.lin2(F.relu(self.lin1(z))))))
        x = F.relu(self.convT2(F.relu(self.convT1(x.view(-1, 32, 4, 4)))))
        return torch.sigmoid(self.convT3(x))


class VAE(nn.Module):
    """The model of disentangling-vae (Burgess et al.); in eval mode the code is the mean."""

    def __init__(self, latent: int = 10) -> None:
        super().__init__()
        self.encoder = Encoder(latent)
        self.decoder = Decoder(latent)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        mean, log_variance = self.encoder(x)
        code = mean
        if self.training:
            code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.decoder(code), (mean, log_variance), code


def mnist_vae(folder: Path, name: str = "VAE") -> VAE:
    """``VAE``, ``betaH`` or ``betaB`` with the trained weights."""
    model = VAE()
    path = folder / f"{name}_mnist" / "model.pt"
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


def enlarged(images: np.ndarray, side: int = 32) -> np.ndarray:
    """Grey images (n, 28, 28) in [0, 1] as (n, 1, side, side): bilinear, antialiased."""
    x = torch.from_numpy(images)[:, None]
    x = F.interpolate(x, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return x.clamp(0, 1).numpy()
