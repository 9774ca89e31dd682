"""Small videos of drawn faces, and a detector that finds them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from idfer.data.detection import Face
from idfer.data.haar import MARKS
from idfer.synthetic.factors import sample
from idfer.synthetic.render import render

WIDTH, HEIGHT, SIDE = 160, 96, 32


@cache
def drawn(people: int = 3) -> np.ndarray:
    """(people, 32, 32, 3) uint8: a face of each."""
    return render(sample(people, 1, seed=5), SIDE, nuisance=False).permute(0, 2, 3, 1).numpy()


def picture(*places: tuple[int, int, int], size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """A black frame with faces (person, x, y) on it."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for person, x, y in places:
        image[y : y + SIDE, x : x + SIDE] = drawn()[person]
    return image


def film(
    path: Path,
    images: Sequence[np.ndarray],
    times: Sequence[float] | None = None,
    *,
    codec: str = "libx264",
    fast: bool = False,
    ratio: Fraction | None = None,
    **options: str,
) -> Path:
    """Write a video; times are those of 25 frames a second unless given."""
    container = av.open(str(path), "w", options={"movflags": "faststart"} if fast else {})
    stream: Any = container.add_stream(codec, rate=25)
    stream.height, stream.width = images[0].shape[:2]
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    fixed = path.suffix == ".avi" or codec == "mpeg2video"  # which know fixed rates only
    base = Fraction(1, 25 if fixed else 1000)
    stream.codec_context.time_base = base
    if ratio is not None:
        stream.codec_context.sample_aspect_ratio = ratio
    if codec == "libx264":
        stream.options = {"crf": "12", "preset": "ultrafast", **options}
    for number, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.time_base = base
        frame.pts = round((times[number] if times else number / 25) / base)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
    container.close()
    return path


def walk(path: Path, count: int = 30, **options: Any) -> Path:
    """One face that goes to the right, 2 pixels a frame."""
    return film(path, [picture((0, 10 + 2 * i, 30)) for i in range(count)], **options)


class Bright:
    """Finds what is not black: exact boxes of the faces in these videos, and how often it was asked."""

    name = fingerprint = "haar"

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, image: np.ndarray) -> list[Face]:
        self.asked += 1
        mask = (image.max(axis=2) > 60).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        found = [self._face(*(int(v) for v in row[:4])) for row in stats[1:] if row[4] > 200]
        return sorted(found, key=lambda face: (-face.width * face.height, face.y, face.x))

    def _face(self, x: int, y: int, width: int, height: int) -> Face:
        marks = np.asarray(np.array([x, y]) + MARKS * width, np.float32)
        return Face(x, y, width, height, score=0.9, landmarks=marks)


def damage(path: Path, number: int) -> None:
    """Overwrite the data of one frame of an MP4."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    place, size = packets[number].pos, packets[number].size
    assert place is not None
    data[place : place + size] = bytes(size)
    path.write_bytes(data)
