"""Videos through PyAV (`pip install 'dltool[video]'`): frames one after the other, and written with times and sound."""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dltool.errors import DataError, DltoolError, SettingsError
from dltool.files import check_regular, open_atomically, write_atomically
from dltool.images.folder import Job, OnExisting, plan_file
from dltool.images.read import fit_longest, read_image
from dltool.images.tensors import resize_pixels
from dltool.images.write import write_image

# Suffix: FFmpeg's name of the container and of the video's coding, and the sounds that it may hold as they are.
VIDEOS = {
    ".mp4": ("mp4", "libx264", ("aac", "mp3", "ac3", "alac", "opus")),
    ".mov": ("mov", "libx264", ("aac", "mp3", "ac3", "alac", "pcm_s16le", "pcm_s24le")),
    ".mkv": ("matroska", "libx264", None),
    ".webm": ("webm", "libvpx-vp9", ("opus", "vorbis")),
}
_SOUND = {".webm": "libopus"}
# Of even quality, and in one thread, which makes the bytes of a WebM, though not those of H.264, the same each time.
_CODING = {
    "libx264": {"crf": "16", "x264-params": "threads=1:lookahead-threads=1:sync-lookahead=0"},
    "libvpx-vp9": {"crf": "16", "b": "0"},
}
_BT709 = 1


def is_video(path: Path) -> bool:
    """Whether a file is called as videos are."""
    return path.suffix.lower() in VIDEOS


def plan_video(path: Path, output: Path, on_existing: OnExisting, protected: Sequence[Path] = ()) -> list[Job]:
    """Pair a video with the one to write, which in a folder stays of its kind; free of PyAV.

    Raises:
        DataError: the input is missing.
        SettingsError: the output is of no kind of video, exists (with OnExisting.ERROR), or is protected.
    """
    target = output if output.suffix else output / path.name
    if not is_video(target):
        raise SettingsError(f"-o {output}: a video becomes a {', '.join(VIDEOS)} file, or one in a folder")
    return plan_file(path, target, on_existing, protected)


class VideoFrames:
    """A video's frames as they are to be seen, H × W × 3 uint8, decoded anew each time that they are gone through.

    Attributes:
        own_size: width and height of the video.
        size: of the frames that are given.
    """

    def __init__(self, path: Path, longest_side: int | None = None) -> None:
        """Count the frames; those of a larger video are scaled to `longest_side`.

        Raises:
            DataError: the file is no video, or its first frame cannot be decoded.
            SettingsError: PyAV is not installed.
        """
        self._path = path
        self._count = len(frame_times(path))
        try:
            self.own_size = next(self._decoded()).shape[1::-1]
        except StopIteration:
            raise DataError(f"{path}: a video without a frame") from None
        smaller = longest_side is not None and longest_side < max(self.own_size)
        self.size = fit_longest(self.own_size, longest_side) if smaller else self.own_size

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[np.ndarray]:
        return (resize_pixels(pixels, self.size) for pixels in self._decoded())

    def _decoded(self) -> Iterator[np.ndarray]:
        with _opened(self._path) as container:
            for frame in container.decode(container.streams.video[0]):
                # Copied, because what is turned lies otherwise in memory.
                yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))


def frame_times(path: Path) -> list[int]:
    """When each frame is shown, in the time base of the video, in order.

    Raises:
        DataError: the file is no video.
    """
    with _opened(path) as container:
        packets = container.demux(container.streams.video[0])
        return sorted(packet.pts for packet in packets if packet.size and packet.pts is not None)


def write_video(path: Path, source: Path, frames: Iterable[np.ndarray]) -> None:
    """Write frames of one size at the times of the source's, with its sound, in the kind that the suffix names.

    Sound is taken over as it is where the kind of file can hold it, else coded anew.

    Raises:
        DataError: the source cannot be read.
        DltoolError: the file cannot be written.
    """
    import av

    kind, codec, _ = VIDEOS[path.suffix.lower()]
    times = frame_times(source)
    with _opened(source) as original, open_atomically(path) as file:
        try:
            with av.open(file, "w", format=kind, container_options={"fflags": "bitexact"}) as target:
                video = original.streams.video[0]
                rate = video.average_rate or Fraction(25)
                stream = target.add_stream(codec, rate=rate, options=_CODING[codec])
                sound = _Sound(original, target, path.suffix.lower())
                for number, (time, pixels) in enumerate(zip(times, frames, strict=False)):
                    if number == 0:
                        stream.width, stream.height = pixels.shape[1::-1]
                        stream.pix_fmt = "yuv420p" if stream.width % 2 == stream.height % 2 == 0 else "yuv444p"
                        stream.codec_context.time_base = video.time_base
                        stream.codec_context.colorspace = _BT709
                        stream.codec_context.thread_count = 1
                    sound.until(float(time * video.time_base))
                    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                    frame = frame.reformat(format=stream.pix_fmt, dst_colorspace="itu709")
                    frame.pts, frame.time_base = time, video.time_base
                    target.mux(stream.encode(frame))
                target.mux(stream.encode(None))
                sound.until(float("inf"))
        except av.FFmpegError as error:
            raise DltoolError(f"{path}: cannot be written ({error.strerror})") from error


class _Sound:
    """The sound of one file on its way to another, up to a time."""

    def __init__(self, original: Any, target: Any, suffix: str) -> None:
        self._target = target
        self._streams: dict[int, Any] = {}
        self._coded: dict[int, Any] = {}
        keeps = VIDEOS[suffix][2]
        for stream in original.streams.audio:
            if keeps is None or stream.codec_context.name in keeps:
                self._streams[stream.index] = target.add_stream_from_template(stream)
            else:
                self._coded[stream.index] = target.add_stream(_SOUND.get(suffix, "aac"), rate=48000)
        self._packets = original.demux(*original.streams.audio) if original.streams.audio else iter(())
        self._next = next(self._packets, None)

    def until(self, seconds: float) -> None:
        """Take over what is heard before that time."""
        while self._next is not None:
            packet = self._next
            if packet.dts is not None and float(packet.dts * packet.time_base) > seconds:
                return
            index = packet.stream.index
            if index in self._coded:
                coded = self._coded[index]
                for frame in packet.decode():
                    self._target.mux(coded.encode(frame))
                if packet.dts is None:
                    self._target.mux(coded.encode(None))
            elif packet.dts is not None:
                packet.stream = self._streams[index]
                self._target.mux(packet)
            self._next = next(self._packets, None)


def file_mark(path: Path) -> list[Any]:
    """What a file is known by: its name, length and time of change."""
    stat = path.stat()
    return [str(path), stat.st_size, stat.st_mtime_ns]


class FrameStore:
    """Frames that are done, as images in a folder beside the video, until all are: what a killed run goes on from."""

    def __init__(self, video: Path, made_by: dict[str, Any]) -> None:
        """Open the store of the video that is to be written; `made_by` says of which input, with which settings.

        Raises:
            SettingsError: there is one of another run.
        """
        self.folder = video.with_name(f"{video.name}.frames")
        note, text = self.folder / "made_by.json", json.dumps(made_by, indent=1, default=str, sort_keys=True)
        if self.folder.exists() and not (note.is_file() and note.read_text() == text):
            raise SettingsError(
                f"{self.folder}: holds the frames of a run with another input or other settings; remove it"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(note, text.encode())

    def __contains__(self, number: int) -> bool:
        return self._path(number).is_file()

    def get(self, number: int) -> np.ndarray | None:
        """Frame `number`, H × W × 3 uint8; None where it is not done."""
        return read_image(self._path(number)).pixels if number in self else None

    def keep(self, number: int, pixels: np.ndarray) -> None:
        """Write frame `number`, from 1, H × W × 3 uint8."""
        write_image(self._path(number), pixels)

    def finish(self, video: Path, source: Path, frames: VideoFrames) -> None:
        """Write the video of all frames, at the size of its source, and remove their images."""
        numbers = range(1, len(frames) + 1)
        write_video(video, source, (resize_pixels(self.get(number), frames.own_size) for number in numbers))
        shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.png"


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import av
    except ImportError as error:
        raise SettingsError(f"{path}: a video needs PyAV; pip install 'dltool[video]'") from error
    check_regular(path)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"{path}: there is no video in this file")
            container.streams.video[0].thread_type = "AUTO"
            yield container
    except av.FFmpegError as error:
        raise DataError(f"{path}: cannot be read as a video ({error.strerror})") from error
