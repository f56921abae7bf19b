"""Damage for files of every kind that dltool reads, as `soak.py` does it: bits, lengths, header fields."""

import io
import json
import random
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

# Numbers that headers claim and nobody means, by their size in bytes.
_EXTREMES = {
    1: (0, 1, 127, 128, 255),
    2: (0, 1, 3, 0x7FFF, 0x8000, 0xFFFF),
    4: (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 65_536, 40_000),
    8: (0, 1, 2**63 - 1, 2**63, 2**64 - 1, 2**40),
}
_TEXTS = ("-1", "0", "1e999", "nan", "99999999999999999999", "", "[]", "null", '"x"', "0.5", "\ud83d", "{")
_HEADER = 96


def seed_images(photo: Path, folder: Path) -> list[Path]:
    """One small image of every kind and depth, to be damaged: made of a photo."""
    folder.mkdir(parents=True, exist_ok=True)
    rgb = Image.open(photo).convert("RGB").resize((72, 56))
    alpha = rgb.copy()
    alpha.putalpha(rgb.convert("L"))
    deep = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    exact = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.float32) / 9)
    more = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    made = {
        "rgb.png": (rgb, {}),
        "alpha.png": (alpha, {}),
        "palette.png": (rgb.quantize(32), {"transparency": 3}),
        "deep.png": (deep, {}),
        "moving.png": (rgb, more),
        "plain.jpg": (rgb, {"quality": 90}),
        "progressive.jpg": (rgb, {"progressive": True, "exif": _exif()}),
        "cmyk.jpg": (rgb.convert("CMYK"), {}),
        "lossy.webp": (rgb, {}),
        "lossless.webp": (alpha, {"lossless": True}),
        "moving.webp": (rgb, more),
        "plain.tif": (rgb, {}),
        "lzw.tif": (alpha, {"compression": "tiff_lzw"}),
        "deep.tif": (deep, {"compression": "tiff_adobe_deflate"}),
        "float.tif": (exact, {}),
        "still.gif": (rgb.quantize(64), {}),
        "moving.gif": (rgb, more),
        "plain.bmp": (rgb, {}),
        "plain.ppm": (rgb, {}),
    }
    for name, (image, options) in made.items():
        image.save(folder / name, **options)
    return [folder / name for name in made]


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def damage(content: bytes, kind: str, dice: random.Random) -> bytes:
    """The content of a file with something wrong in it.

    Args:
        kind: the file's suffix; of PNGs the checksums are mended in most cases, so that what is wrong gets through.
    """
    ways = [_flip, _cut, _claim, _claim, _remove, _repeat, _blank]
    if kind in (".csv", ".toml", ".json", ".jsonl"):
        ways = [_flip, _cut, _say, _say, _say, _remove, _repeat]
    elif kind == ".safetensors":
        ways += [_describe] * 5
    elif kind in (".ckpt", ".pt", ".npz"):
        ways += [_inside_archive] * 3
    changed = dice.choice(ways)(content, dice)
    return _mend_png(changed) if kind == ".png" and dice.random() < 0.8 else changed


def _flip(content: bytes, dice: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 4, 40))):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _cut(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.choice((dice.randrange(len(content)), dice.randrange(min(len(content), _HEADER))))]


def _claim(content: bytes, dice: random.Random) -> bytes:
    """Write an extreme number into the header, or anywhere."""
    size = dice.choice(tuple(_EXTREMES))
    end = dice.choice((_HEADER, _HEADER, len(content)))
    place = dice.randrange(max(1, min(end, len(content)) - size + 1))
    number = dice.choice(_EXTREMES[size]).to_bytes(size, dice.choice(("big", "little")))
    return content[:place] + number + content[place + size :]


def _remove(content: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(content))
    return content[:start] + content[start + dice.randrange(1, 1 + len(content) // 4) :]


def _repeat(content: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(content))
    part = content[start : start + dice.randrange(1, 1 + len(content) // 4)]
    return content[:start] + part * dice.choice((2, 2, 20)) + content[start + len(part) :]


def _blank(content: bytes, dice: random.Random) -> bytes:
    start, size = dice.randrange(len(content)), dice.choice((8, 64, 512))
    return content[:start] + dice.choice((b"\0", b"\xff")) * min(size, len(content) - start) + content[start + size :]


def _say(content: bytes, dice: random.Random) -> bytes:
    """Put another value in the place of a number or a word of a text."""
    found = list(re.finditer(rb"-?\d[\d.e+-]*|\w+", content))
    if not found:
        return b"\0"
    match = dice.choice(found)
    text = dice.choice(_TEXTS).encode(errors="surrogatepass")
    return content[: match.start()] + text + content[match.end() :]


def _describe(content: bytes, dice: random.Random) -> bytes:
    """Change one value somewhere in what a model file says of itself, all else as it should be."""
    length = struct.unpack("<Q", content[:8])[0]
    head = json.loads(content[8 : 8 + length])
    metadata = {name: json.loads(text) if text[:1] in "{[" else text for name, text in head["__metadata__"].items()}
    tensors = {name: entry for name, entry in head.items() if name != "__metadata__"}
    _change(dice.choice((metadata, metadata, tensors)), dice)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
    changed = json.dumps({"__metadata__": texts, **tensors}).encode()
    return struct.pack("<Q", len(changed)) + changed + content[8 + length :]


def _change(value: dict | list, dice: random.Random) -> None:
    while True:
        key = dice.choice(list(value) if isinstance(value, dict) else range(len(value)))
        inner = value[key]
        if not isinstance(inner, dict | list) or not inner or dice.random() < 0.1:
            break
        value = inner
    other = (0, -1, 2**31, 10**12, 1e308, float("nan"), None, "", "x", [], {}, [[[]]], True, "F64", [1, 2])
    value[key] = dice.choice(other)


def _inside_archive(content: bytes, dice: random.Random) -> bytes:
    """Damage one member of a zip archive, whose checksum is that of the damaged one."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = dice.choice([name for name in members if name.endswith(".pkl")] or list(members))
    name = dice.choice((name, name, dice.choice(list(members))))
    if members[name]:
        members[name] = dice.choice((_flip, _cut, _claim, _remove, _repeat))(members[name], dice)
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for each, inner in members.items():
            archive.writestr(each, inner)
    return changed.getvalue()


def _mend_png(content: bytes) -> bytes:
    """Give every chunk of a PNG the checksum that its content has."""
    changed, place = bytearray(content), 8
    while place + 12 <= len(changed):
        length = int.from_bytes(changed[place : place + 4], "big")
        end = place + 8 + length
        if end + 4 > len(changed):
            break
        changed[end : end + 4] = zlib.crc32(changed[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(changed)
