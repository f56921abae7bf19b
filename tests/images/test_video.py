"""Videos in and out: frames, their times, how they are turned, and their sound."""

import numpy as np
import pytest

from dltool.errors import DataError, SettingsError
from dltool.images.folder import OnExisting
from dltool.images.video import FrameStore, VideoFrames, frame_times, plan_video, write_video
from tests.images.clips import RATE, SIZE, panned_frames, sound_of, write_clip

av = pytest.importorskip("av", reason="PyAV is not installed")


@pytest.fixture(scope="module")
def clip(sample_images, tmp_path_factory):
    frames = panned_frames(sample_images / "photos" / "china.jpg", 6)
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames), frames


def times_of(path) -> list[float]:
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
    return [float(time * base) for time in frame_times(path)]


@pytest.mark.parametrize(("suffix", "sound"), [(".mp4", "aac"), (".mov", "aac"), (".mkv", "aac"), (".webm", "opus")])
def test_every_kind_keeps_frames_times_and_sound(clip, tmp_path, suffix: str, sound: str) -> None:
    source, frames = clip
    out = tmp_path / f"out{suffix}"
    write_video(out, source, VideoFrames(source))
    read = VideoFrames(out)
    assert (len(read), read.size) == (6, SIZE)
    again, own = (np.stack(list(video)).astype(int) for video in (read, VideoFrames(source)))
    assert np.abs(again - own).mean() < 2.5 and np.abs(own - np.stack(frames)).mean() < 4
    times = np.array(times_of(out))
    np.testing.assert_allclose(times - times[0], np.array([0, 1, 2, 4, 5, 6]) / RATE, atol=0.002)
    name, seconds, pitch = sound_of(out)
    assert name == sound and pitch == pytest.approx(440, abs=3)
    assert seconds == pytest.approx(6 / RATE, abs=0.1)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_turned_video_stands_upright(clip, tmp_path) -> None:
    source, frames = clip
    content = bytearray(source.read_bytes())
    place = content.index(b"tkhd") + 44  # the first track's matrix, a quarter turn instead of none
    for number, value in enumerate((0, 0x10000, 0, -0x10000 & 0xFFFFFFFF, 0, 0, 0, 0, 0x40000000)):
        content[place + 4 * number : place + 4 * number + 4] = value.to_bytes(4, "big")
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(content)
    read = VideoFrames(turned)
    assert read.size == SIZE[::-1]
    first = next(iter(read)).astype(int)
    assert np.abs(first - np.rot90(frames[0], -1)).mean() < 4 < np.abs(first - np.rot90(frames[0], 1)).mean()
    write_video(tmp_path / "out.mp4", turned, read)
    assert VideoFrames(tmp_path / "out.mp4").size == SIZE[::-1]


def test_frames_are_scaled_to_be_worked_on(clip) -> None:
    frames = VideoFrames(clip[0], 51)
    assert (frames.size, frames.own_size) == ((51, 38), SIZE) and next(iter(frames)).shape == (38, 51, 3)
    assert VideoFrames(clip[0], 1000).size == SIZE


def test_what_is_no_video_is_named(tmp_path, sample_images) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"text\.mp4: cannot be read as a video"):
        VideoFrames(tmp_path / "text.mp4")
    with pytest.raises(SettingsError, match=r"a video becomes a \.mp4"):
        plan_video(tmp_path / "text.mp4", tmp_path / "out.avi", OnExisting.ERROR)
    (job,) = plan_video(tmp_path / "text.mp4", tmp_path / "out", OnExisting.ERROR)
    assert job.output == tmp_path / "out" / "text.mp4"


def test_frames_that_are_done_are_kept_for_the_same_run_alone(clip, tmp_path) -> None:
    source, frames = clip
    out = tmp_path / "out.mp4"
    store = FrameStore(out, {"settings": 1})
    for number, pixels in enumerate(frames, start=1):
        store.keep(number, pixels)
    with pytest.raises(SettingsError, match="holds the frames of a run with another input or other settings"):
        FrameStore(out, {"settings": 2})
    again = FrameStore(out, {"settings": 1})
    assert 6 in again and 7 not in again and np.array_equal(again.get(6), frames[5])
    again.finish(out, source, VideoFrames(source, 50))
    assert len(VideoFrames(out)) == 6 and VideoFrames(out).size == SIZE
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
