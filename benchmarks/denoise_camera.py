"""Noise as people bring it: `dltool ae denoise` beside non-local means of OpenCV and scikit-image.

    python benchmarks/denoise_camera.py bsds300/val [--count 20] [--threads 1] [--alone] [--model FILE] [--sheet FILE]

Eight kinds of noise are made of every photo, by numpy and Pillow alone; the reference went through the same scaling,
sharpening and compression, but without the noise. PSNR in dB and SSIM, means over the photos. The other two are given
the best of several strengths, chosen by the reference; dltool is told nothing. Below: clean photos, drawings and text,
which must come back as they are, and compressed photos.
"""

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from denoiser_photos import draw_lines, draw_pixel_art, draw_text
from PIL import Image
from scipy.ndimage import gaussian_filter

from dltool.denoise import DenoiseSettings, denoise, load_denoiser
from dltool.denoise.denoiser import SHIPPED_DENOISER
from dltool.device import set_threads
from dltool.events import finish
from dltool.images.folder import find_images
from dltool.images.quality import psnr, ssim
from dltool.images.read import read_image
from dltool.images.write import write_image

CPU = torch.device("cpu")
Law = Callable[[np.ndarray, np.random.Generator, bool], np.ndarray]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--model", type=Path, default=SHIPPED_DENOISER)
    parser.add_argument("--alone", action="store_true", help="without the other two")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    set_threads(options.threads)
    denoiser = load_denoiser(options.model, CPU)
    photos = [read_image(path).pixels for path in find_images(options.photos)[: options.count]]
    contestants: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "dltool": lambda noisy, _: as_rgb(finish(denoise(noisy, denoiser, DenoiseSettings(), CPU)).pixels)
    }
    if not options.alone:
        contestants |= {"OpenCV": opencv_means, "scikit-image": skimage_means}
    rows = compare(photos, contestants, options.sheet)
    rows |= kept(photos, contestants["dltool"])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


def compare(photos: list[np.ndarray], contestants: dict, sheet: Path | None) -> dict:
    """Every kind of noise, by every contestant."""
    print(
        f"| {len(photos)} photos | noisy | "
        + " | ".join(contestants)
        + " |\n|---" * 1
        + "|---" * (1 + len(contestants))
        + "|"
    )
    rows: dict = {}
    strips = []
    for name, law in KINDS.items():
        figures: dict[str, list] = {who: [] for who in ("noisy", *contestants)}
        for number, photo in enumerate(photos):
            noisy = law(photo, np.random.default_rng(number), True)
            clean = law(photo, np.random.default_rng(number), False)
            results = {"noisy": noisy} | {who: run(noisy, clean) for who, run in contestants.items()}
            for who, result in results.items():
                figures[who].append(quality(result, clean))
            if sheet and number == 1:
                strips.append(
                    np.concatenate([image[60:240, 100:300] for image in (noisy, results["dltool"], clean)], 1)
                )
        rows[name] = {who: np.mean(values, 0).round(4).tolist() for who, values in figures.items()}
        cells = [f"{rows[name][who][0]:.2f} / {rows[name][who][1]:.3f}" for who in figures]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    if sheet:
        write_image(sheet, np.concatenate([np.concatenate(strips[i : i + 2], 1) for i in range(0, len(strips), 2)], 0))
    return rows


def kept(photos: list[np.ndarray], run: Callable) -> dict:
    """What must come back as it is, text with noise, and photos with nothing but a JPEG's blocks."""
    sets = {
        "clean photos": photos[:12],
        "text": [np.asarray(draw_text(np.random.default_rng(9000 + n))) for n in range(4)],
        "line art": [np.asarray(draw_lines(np.random.default_rng(9100 + n))) for n in range(4)],
        "pixel art": [np.asarray(draw_pixel_art(np.random.default_rng(9200 + n))) for n in range(4)],
    }
    rows: dict = {}
    for name, images in sets.items():
        values = [quality(run(image, image), image)[0] for image in images]
        rows[name] = {"mean": float(np.mean(values)), "least": float(np.min(values))}
        print(f"{name}: back at {np.mean(values):.1f} dB, least {np.min(values):.1f}", flush=True)
    gains = []
    for number, image in enumerate(sets["text"]):
        noisy = clip(image + np.random.default_rng(number).normal(0, 10, image.shape))
        gains.append(quality(run(noisy, image), image)[0] - quality(noisy, image)[0])
    rows["text, sigma 10"] = {"gain": float(np.mean(gains))}
    print(f"text with sigma 10: {np.mean(gains):+.2f} dB, least {np.min(gains):+.2f}")
    for level in (10, 30):
        before, after = zip(*((jpeg(p, level), run(jpeg(p, level), p)) for p in photos), strict=True)
        values = [np.mean([quality(a, p)[0] for a, p in zip(side, photos, strict=True)]) for side in (before, after)]
        blocks = [np.mean([psnr_b(a, p) for a, p in zip(side, photos, strict=True)]) for side in (before, after)]
        rows[f"JPEG {level}"] = {"psnr": [float(v) for v in values], "psnr_b": [float(b) for b in blocks]}
        print(f"JPEG {level}: PSNR {values[0]:.2f} -> {values[1]:.2f}, PSNR-B {blocks[0]:.2f} -> {blocks[1]:.2f}")
    return rows


# The eight kinds: a photo, a generator, and whether there is noise → what comes out, uint8.


def sensor(photo: np.ndarray, random: np.random.Generator, noise: bool, photons: float, read: float) -> np.ndarray:
    """Bayer mosaic, Poisson and read noise, bilinear interpolation."""
    light = (photo / 255) ** 2.2
    counted = random.poisson(light * photons) / photons + random.normal(0, read, light.shape) if noise else light
    seen = np.zeros((*photo.shape[:2], 3), np.float32)
    for channel, places in enumerate((((0, 0),), ((0, 1), (1, 0)), ((1, 1),))):
        for row, column in places:
            seen[row::2, column::2, channel] = counted[row::2, column::2, channel]
    kernels = (np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4, np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4)
    from scipy.ndimage import convolve

    planes = [convolve(seen[..., c], kernels[c == 1], mode="mirror") for c in range(3)]
    return 255 * np.clip(np.stack(planes, -1), 0, 1) ** (1 / 2.2)


def sharpened(photo: np.ndarray, random: np.random.Generator, noise: bool) -> np.ndarray:
    """A camera's file: moderate noise, unsharp mask, JPEG 88."""
    image = sensor(photo, random, noise, 120, 0.01)
    return jpeg(clip(image + 0.6 * (image - gaussian_filter(image, (1, 1, 0)))), 88)


def white_jpeg(photo: np.ndarray, random: np.random.Generator, noise: bool) -> np.ndarray:
    """White noise of 25, then JPEG 60."""
    return jpeg(clip(photo + noise * random.normal(0, 25, photo.shape)), 60)


def white_jpeg_default(photo: np.ndarray, random: np.random.Generator, noise: bool) -> np.ndarray:
    """White noise of 25, saved as Pillow does unasked."""
    return jpeg(clip(photo + noise * random.normal(0, 25, photo.shape)), 75)


def luminance(photo: np.ndarray, random: np.random.Generator, noise: bool) -> np.ndarray:
    """One number of noise for all three channels, sigma 20."""
    return clip(photo + noise * random.normal(0, 20, (*photo.shape[:2], 1)))


def grain(photo: np.ndarray, random: np.random.Generator, noise: bool) -> np.ndarray:
    """Correlated noise that is strongest at mid-grey."""
    field = gaussian_filter(random.normal(0, 1, photo.shape[:2]), 0.8)
    grey = photo.mean(2) / 255
    return clip(photo + (noise * 22 * 2 * np.sqrt(grey * (1 - grey)) * field / field.std())[..., None])


def chroma_blobs(photo: np.ndarray, random: np.random.Generator, noise: bool) -> np.ndarray:
    """Low-frequency noise in the colours alone."""
    blue, red = (
        noise * 14 * f / f.std() for f in gaussian_filter(random.normal(0, 1, (2, *photo.shape[:2])), (0, 2, 2))
    )
    return clip(photo + np.stack((1.402 * red, -0.344 * blue - 0.714 * red, 1.772 * blue), -1))


KINDS: dict[str, Law] = {
    "Bayer, high ISO, JPEG 95": lambda p, r, n: jpeg(clip(sensor(p, r, n, 60, 0.02)), 95),
    "low ISO, JPEG 95": lambda p, r, n: jpeg(clip(sensor(p, r, n, 1500, 0.002)), 95),
    "sharpened, JPEG 88": sharpened,
    "sigma 25, JPEG 60": white_jpeg,
    "sigma 25, JPEG 75": white_jpeg_default,
    "luminance, sigma 20": luminance,
    "film grain": grain,
    "chroma blobs": chroma_blobs,
}


def opencv_means(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The best of five strengths of `fastNlMeansDenoisingColored`, by the reference."""
    import cv2

    tried = [cv2.fastNlMeansDenoisingColored(noisy, None, h, h, 7, 21) for h in (3, 6, 10, 15, 20)]
    return max(tried, key=lambda image: quality(image, clean)[0])


def skimage_means(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The best of four strengths of `denoise_nl_means`, by the reference."""
    from skimage.restoration import denoise_nl_means

    image = noisy / np.float32(255)
    more = {"fast_mode": True, "patch_size": 5, "patch_distance": 6, "channel_axis": -1}
    tried = [clip(255 * denoise_nl_means(image, h=0.8 * s / 255, sigma=s / 255, **more)) for s in (5, 10, 20, 35)]
    return max(tried, key=lambda image: quality(image, clean)[0])


def jpeg(image: np.ndarray, level: int) -> np.ndarray:
    """Through a JPEG of Pillow's."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=level)
    return np.asarray(Image.open(buffer))


def clip(image: np.ndarray) -> np.ndarray:
    """To 8 bits."""
    return image.clip(0, 255).round().astype(np.uint8)


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Three channels of one."""
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def quality(image: np.ndarray, clean: np.ndarray) -> tuple[float, float]:
    """PSNR in dB (at most 100) and SSIM."""
    pair = [torch.from_numpy(np.array(side)).permute(2, 0, 1)[None] / 255 for side in (image, clean)]
    return min(100.0, psnr(*pair).item()), ssim(*pair).item()


def psnr_b(image: np.ndarray, clean: np.ndarray) -> float:
    """PSNR with a blocking effect factor (Yim and Bovik 2011), on luma."""
    grey, true = (np.asarray(Image.fromarray(np.array(side)).convert("L"), np.float64) for side in (image, clean))
    effect = 0.0
    for plane in (grey, grey.T):
        steps = np.diff(plane, axis=1) ** 2
        edge = np.arange(steps.shape[1]) % 8 == 7
        at, off = steps[:, edge].mean(), steps[:, ~edge].mean()
        effect += max(0.0, at - off) * np.log2(8) / np.log2(min(plane.shape))
    return float(10 * np.log10(255**2 / (((grey - true) ** 2).mean() + effect)))


if __name__ == "__main__":
    main()
