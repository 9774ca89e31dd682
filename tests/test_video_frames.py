"""From a video file to frames: times, turns, shapes of pixels, and files that are broken."""

from __future__ import annotations

import struct
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from films import HEIGHT, WIDTH, damage, film, picture, walk
from idfer.data.frames import Camera, Frame, VideoFile, is_video
from idfer.errors import IdferError


def frames(path: Path) -> list[Frame]:
    with VideoFile(path) as video:
        return list(video)


def test_times_are_the_files_own_where_the_rate_varies(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.1, 0.5, 0.52, 2.0]
    with VideoFile(film(tmp_path / "a.mp4", [picture((0, 9 * i, 9)) for i in range(6)], times)) as video:
        found = list(video)
        assert (
            "gap(s) of more than 3 frames in its times, the longest of 1.48 s at 0.52 s" in video.notes()[0]
        )
    assert [frame.number for frame in found] == list(range(6))
    assert [frame.time for frame in found] == pytest.approx(times, abs=1e-6)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.webm"])
def test_packets_tell_the_times_of_frames_without_decoding(name: str, tmp_path: Path) -> None:
    codec = {"a.avi": "mjpeg", "a.webm": "libvpx"}.get(name, "libx264")
    options = {"bf": "2", "preset": "medium"} if codec == "libx264" else {}
    path = walk(tmp_path / name, 20, codec=codec, **options)
    with VideoFile(path) as video:
        assert video.times() == pytest.approx([frame.time for frame in frames(path)], abs=1e-6)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mov", "a.webm"])
def test_every_container_gives_the_pictures_in_order(tmp_path: Path, name: str) -> None:
    codec = {"avi": "mpeg4", "webm": "libvpx"}.get(name[2:], "libx264")
    images = [picture((0, 10 + 4 * i, 30)) for i in range(12)]
    found = frames(film(tmp_path / name, images, codec=codec))
    assert len(found) == 12
    assert not [frame.error for frame in found if frame.error]
    for frame, image in zip(found, images, strict=True):
        assert frame.image.shape == (HEIGHT, WIDTH, 3)
        near = [np.abs(frame.image.astype(int) - other).mean() for other in images]
        assert np.argmin(near) == frame.number
        assert np.abs(frame.image.astype(int) - image).mean() < 12


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.ts", "libx264"), ("a.asf", "mpeg4"), ("a.vob", "mpeg2video"), ("a.3g2", "mpeg4"),
        ("a.mxf", "mpeg2video"), ("a.m2v", "mpeg2video"), ("a.ogg", "libvpx"),
    ],
)  # fmt: skip
def test_what_is_known_as_a_video_by_its_name_is_read(tmp_path: Path, name: str, codec: str) -> None:
    path = walk(tmp_path / name, 8, codec=codec)
    assert is_video(path)
    assert sum(frame.image is not None for frame in frames(path)) >= 7


def test_a_stream_without_timestamps_is_timed_by_its_rate_and_it_is_said(tmp_path: Path) -> None:
    walk(tmp_path / "a.mp4", 10)

    class Untimed(VideoFile):
        def _seconds(self, pts: int | None) -> float | None:
            return None

    with Untimed(tmp_path / "a.mp4") as video:
        found = list(video)
        assert [frame.time for frame in found] == pytest.approx([0.04 * i for i in range(10)])
        assert "10 frame(s) have no timestamp" in video.notes()[0]


def turned(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Patch the display matrix (a, b, c, d) of an MP4's track, as a phone that was held upright does."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)])
def test_rotation_is_applied(tmp_path: Path, matrix: tuple[int, int, int, int], turns: int) -> None:
    image = picture((0, 10, 30))
    path = film(tmp_path / "a.mp4", [image] * 3)
    turned(path, matrix)
    for frame in frames(path):
        expected = np.rot90(image, turns)
        assert frame.image.shape == expected.shape
        assert np.abs(frame.image.astype(int) - expected).mean() < 12


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    found = frames(film(tmp_path / "a.mp4", [picture((0, 10, 30))] * 2, ratio=Fraction(3, 2)))
    assert found[0].image.shape == (HEIGHT, WIDTH * 3 // 2, 3)


def test_a_file_cut_off_gives_its_frames_and_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(40)]
    for name in ("a.mp4", "a.mkv"):
        path = film(tmp_path / name, images, fast=True)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
        found = frames(path)
        good = [frame for frame in found if frame.image is not None]
        assert 15 <= len(good) < 40, name
        assert "cut off" in found[-1].error
        assert [frame.number for frame in found] == list(range(len(found)))
        assert not good[-1].error


def test_damage_in_the_middle_is_an_error_of_its_frames_and_the_rest_is_read(tmp_path: Path) -> None:
    path = walk(tmp_path / "a.mp4", 40)
    damage(path, 10)
    found = frames(path)
    assert [frame.number for frame in found if frame.image is None] == [10]
    assert "decoded" in found[10].error or "damaged" in found[10].error
    assert len(found) == 40


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"I am a letter, not a film. " * 40, "is not a video that can be read"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/hostname\n#EXT-X-ENDLIST\n", "is not a video"),
    ],
)
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(IdferError, match=rf"a\.mp4: {message}"):
        VideoFile(tmp_path / "a.mp4")


def test_a_missing_file_a_folder_and_an_index_that_is_cut_off_are_named(tmp_path: Path) -> None:
    with pytest.raises(IdferError, match=r"gone\.mp4: no such file"):
        VideoFile(tmp_path / "gone.mp4")
    with pytest.raises(IdferError, match="is a folder"):
        VideoFile(tmp_path)
    path = walk(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-200])  # an MP4's index stands at its end
    with pytest.raises(IdferError, match="or is cut off"):
        VideoFile(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    container = av.open(str(tmp_path / "a.mp4"), "w")
    stream: Any = container.add_stream("aac", rate=8000)
    sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
    sound.sample_rate = 8000
    container.mux(stream.encode(sound))
    container.mux(stream.encode())
    container.close()
    with pytest.raises(IdferError, match="holds no video stream"):
        VideoFile(tmp_path / "a.mp4")


def test_a_video_beyond_the_limit_of_pixels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = walk(tmp_path / "a.mp4", 2)
    monkeypatch.setenv("IDFER_MAX_MEGAPIXELS", "0.01")
    with pytest.raises(IdferError, match=r"has frames of 160 x 96 pixels, .* more than"):
        VideoFile(path)


def test_without_pyav_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = walk(tmp_path / "a.mp4", 2)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(IdferError, match=r"pip install idfer\[video\]"):
        VideoFile(path)


def test_videos_are_known_by_their_suffix() -> None:
    assert is_video("a/b.MP4")
    assert not is_video("mp4")
    assert not is_video("a.png")


class Fake:
    """A camera of three pictures in OpenCV's order of colours."""

    def __init__(self, opened: bool = True) -> None:
        self.left, self.opened, self.released = 3, opened, False

    def isOpened(self) -> bool:
        return self.opened

    def get(self, _: int) -> float:
        return 30.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, np.full((4, 6, 3), (1, 2, 3), np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.released = True


def test_a_camera_gives_rgb_with_times_that_grow_and_its_end_is_said() -> None:
    fake = Fake()
    camera = Camera(0, fake)
    found = list(camera)
    camera.close()
    assert fake.released
    assert [frame.image[0, 0].tolist() for frame in found[:3]] == [[3, 2, 1]] * 3
    assert found[0].time == 0
    assert found[0].time <= found[1].time <= found[2].time
    assert "no more pictures" in found[3].error
    with pytest.raises(IdferError, match="camera 7 cannot be opened"):
        Camera(7, Fake(opened=False))
