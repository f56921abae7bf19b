"""Clips for the tests: a photo that pans, with a tone."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (96, 72)
RATE = 8
STEP = 2


def panned_frames(photo: Path, count: int) -> list[np.ndarray]:
    """Frames of `SIZE` over which the photo moves to the left by `STEP` pixels each."""
    width, height = SIZE
    with Image.open(photo) as image:
        pixels = np.asarray(image.convert("RGB").resize((width + STEP * count, height)))
    return [np.ascontiguousarray(pixels[:, STEP * number : STEP * number + width]) for number in range(count)]


def write_clip(path: Path, frames: list[np.ndarray], sound: str = "aac") -> Path:
    """Write them with a tone of 440 Hz as long as they are; the third one is shown twice as long as the others."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("libvpx-vp9" if path.suffix == ".webm" else "libx264", rate=RATE)
        video.width, video.height = frames[0].shape[1::-1]
        video.pix_fmt, video.options = "yuv420p", {"crf": "8", "b": "0"}
        audio = container.add_stream(sound, rate=48000)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number + (number > 2), Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for start in range(0, 48000 * len(frames) // RATE, 960):
            wave = np.sin(2 * np.pi * 440 / 48000 * np.arange(start, start + 960))
            heard = av.AudioFrame.from_ndarray(np.float32(0.3 * wave)[None], format="fltp", layout="mono")
            heard.rate, heard.pts, heard.time_base = 48000, start, Fraction(1, 48000)
            container.mux(audio.encode(heard))
        container.mux(audio.encode(None))
    return path


def sound_of(path: Path) -> tuple[str, float, float]:
    """The coding of a file's sound, its length in seconds, and the frequency that is strongest in it."""
    import av

    with av.open(str(path)) as container:
        wave = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)]).astype(np.float32)
        name, rate = container.streams.audio[0].codec_context.name, container.streams.audio[0].rate
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return name, len(wave) / rate, float(spectrum.argmax() * rate / len(wave))
