"""Three kinds of denoising network after the same CPU time: today's U-Net, NAFNet's blocks, large gated kernels.

    python benchmarks/denoiser_networks.py PHOTOS VAL [--time 360] [--images 20] [--only plain,nafnet,gated] [--seed 0]

All three are the same U-Net of four levels, with other blocks in it, trained blind on white noise of sigma 0 to 55 from
crops of PHOTOS, turned and mirrored, for --time seconds of one thread each, in bf16 or fp32, whichever is quicker; L1
loss, Muon, one-cycle rate, averaged weights. Printed are parameters, steps, seconds for a photo, and PSNR in dB at
sigma 15, 25 and 50 over VAL.

- plain: x + conv(relu(conv(x))), dense 3 × 3 convolutions without biases (as in DRUNet, Zhang et al. 2021).
- nafnet: two gates, each a product of two halves, around a depthwise 3 × 3 and an attention over channels (Chen et
  al. 2022, "Simple baselines for image restoration").
- gated: depthwise 7 × 7, widened twofold, one half gating the other.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dltool.autoencoder.unet as unet
from dltool.images.folder import find_images
from dltool.images.read import read_image
from dltool.training.ema import Ema
from dltool.training.muon import Muon
from dltool.training.schedule import one_cycle

CROP, BATCH = 64, 16
LR = 2e-3


class NafBlock(nn.Module):
    """x + attention(gate(depthwise(x))), then x + gate(x), each behind a norm over the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(1, channels) for _ in range(2))
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.around = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.attention = nn.Conv2d(channels, channels, 1)
        self.narrow = nn.Conv2d(channels, channels, 1)
        self.widen_again = nn.Conv2d(channels, 2 * channels, 1)
        self.narrow_again = nn.Conv2d(channels, channels, 1)
        for last in (self.narrow, self.narrow_again):
            nn.init.zeros_(last.bias)
            with torch.no_grad():
                last.weight.mul_(0.1)

    def forward(self, features: Tensor) -> Tensor:
        gated = _gate(self.around(self.widen(self.norms[0](features))))
        gated = gated * self.attention(gated.mean((2, 3), keepdim=True))
        features = features + self.narrow(gated)
        return features + self.narrow_again(_gate(self.widen_again(self.norms[1](features))))


class GatedBlock(nn.Module):
    """x + narrow(a · relu(b)) of a widened depthwise 7 × 7 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(channels, channels, 7, padding=3, groups=channels, bias=False)
        self.widen = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.narrow = nn.Conv2d(2 * channels, channels, 1, bias=False)
        with torch.no_grad():
            self.narrow.weight.mul_(0.1)

    def forward(self, features: Tensor) -> Tensor:
        one, other = self.widen(self.around(features)).chunk(2, 1)
        return features + self.narrow(one * F.relu(other))


def _gate(features: Tensor) -> Tensor:
    one, other = features.chunk(2, 1)
    return one * other


def main() -> None:
    """Train each and print its row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("--time", type=float, default=360.0)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--only", default="plain,nafnet,gated")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    train = [_read(path) for path in find_images(options.photos)]
    val = [_read(path) for path in find_images(options.val)[: options.images]]
    for kind in options.only.split(","):
        torch.manual_seed(options.seed)
        network = _build(kind)
        bf16 = _quicker(network)
        steps, trained = _train(network, train, options.time, bf16, options.seed)
        figures = "  ".join(f"{sigma}: {_psnr(trained, val, sigma, bf16):.2f}" for sigma in (15, 25, 50))
        count, seconds = sum(parameter.numel() for parameter in network.parameters()), _seconds(trained, val[0], bf16)
        precision = "bf16" if bf16 else "fp32"
        print(f"{kind:8} {count:,} parameters, {precision}, {steps} steps, {seconds:.2f} s; {figures}", flush=True)


def _quicker(network: nn.Module) -> bool:
    """Whether a pass there and back is quicker in bf16."""
    images = torch.rand(BATCH, 3, CROP, CROP).contiguous(memory_format=torch.channels_last)
    network.to(memory_format=torch.channels_last)
    times = {}
    for bf16 in (False, True) * 3:
        start = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            network(images).float().sum().backward()
        times[bf16] = time.process_time() - start  # the last of three
    network.zero_grad()
    return times[True] < times[False]


def _build(kind: str) -> nn.Module:
    blocks: dict[str, tuple[Callable[[int], nn.Module], int]] = {
        "plain": (unet.ResidualBlock, 1),
        "nafnet": (NafBlock, 2),
        "gated": (GatedBlock, 2),
    }
    block, count = blocks[kind]
    if kind == "plain":
        return unet.DenoisingUNet(blocks=count)
    network = unet.DenoisingUNet(blocks=0)
    channels = (32, 64, 96, 128)
    network.encoder = nn.ModuleList(nn.Sequential(*(block(width) for _ in range(count))) for width in channels[:-1])
    network.body = nn.Sequential(*(block(channels[-1]) for _ in range(count)))
    network.decoder = nn.ModuleList(
        nn.Sequential(*(block(width) for _ in range(count))) for width in reversed(channels[:-1])
    )
    return network


def _train(network: nn.Module, photos: list[Tensor], budget: float, bf16: bool, seed: int) -> tuple[int, nn.Module]:
    """Steps within the budget of CPU seconds, and the network with averaged weights."""
    optimizer, ema = Muon(network, LR), Ema(network, 0.5 ** (BATCH / 5000))
    steps, start = 0, time.process_time()
    for clean in _batches(photos, seed):
        progress = (time.process_time() - start) / budget
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = LR * one_cycle(progress)
        noisy = clean + torch.rand(BATCH, 1, 1, 1) * 55 / 255 * torch.randn_like(clean)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            restored = network(noisy)
        loss = F.l1_loss(restored.float(), clean)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        ema.update(network)
        steps += 1
    return steps, ema.module


def _batches(photos: list[Tensor], seed: int) -> Iterator[Tensor]:
    """Crops, turned and mirrored at random, without end."""
    random = np.random.default_rng(seed)
    photos = [photo for photo in photos if min(photo.shape[1:]) >= CROP]
    while True:
        crops = []
        for index in random.integers(len(photos), size=BATCH):
            top, left = (int(random.integers(side - CROP + 1)) for side in photos[index].shape[1:])
            crop = photos[index][:, top : top + CROP, left : left + CROP].rot90(int(random.integers(4)), (1, 2))
            crops.append(crop.flip(2) if random.random() < 0.5 else crop)
        yield torch.stack(crops).float().div(255).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def _restore(network: nn.Module, noisy: Tensor, bf16: bool) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return network(noisy.contiguous(memory_format=torch.channels_last)).float()


def _psnr(network: nn.Module, photos: list[Tensor], sigma: float, bf16: bool) -> float:
    found = []
    for number, photo in enumerate(photos):
        clean = photo[None].float() / 255
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(number))
        restored = _restore(network, clean + sigma / 255 * noise, bf16).clamp(0, 1)
        found.append(-10 * torch.log10((restored - clean).square().mean()).item())
    return float(np.mean(found))


def _seconds(network: nn.Module, photo: Tensor, bf16: bool) -> float:
    times = []
    for _ in range(5):
        start = time.process_time()
        _restore(network, photo[None].float() / 255, bf16)
        times.append(time.process_time() - start)
    return float(np.median(times))


def _read(path: Path) -> Tensor:
    return torch.from_numpy(read_image(path).pixels).permute(2, 0, 1)


if __name__ == "__main__":
    main()
