"""Where the faces are in a photograph: YuNet, or the Haar cascade that needs no download."""

from __future__ import annotations

import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from idfer import files
from idfer.errors import IdferError, unknown

DETECTORS = ("auto", "yunet", "haar", "none")

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
# Not the raw.githubusercontent.com address: the file is in Git LFS, and that one serves a three-line pointer.
YUNET_URLS = (
    f"https://huggingface.co/opencv/face_detection_yunet/resolve/main/{YUNET_FILE}",
    f"https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/{YUNET_FILE}",
)
_TIMEOUT = 5.0  # seconds without an answer; `auto` should fail over before its user gives up

_SEARCH = 3  # version of how the detectors here search, for their fingerprints
_STRIDE = 32  # pixels; YuNet's coarsest grid
_SMALLEST = 10  # pixels; a smaller face shows no expression, and noise is taken for one


@dataclass(frozen=True)
class Face:
    """One detected face, in whole pixels of the upright image; (0, 0) is the upper left corner.

    The box goes from the hairline to the chin; it may reach outside the image.

    Attributes:
        x: left side of the box.
        y: upper side of the box.
        width: of the box, above 0.
        height: of the box, above 0.
        score: in [0, 1], higher is surer; comparable within one detector only. NaN for detector "none".
        landmarks: (5, 2) x, y of right eye, left eye, nose tip, right and left mouth corner (the person's own
            right, on the left of the image), or None where the detector finds none.
    """

    x: int
    y: int
    width: int
    height: int
    score: float
    landmarks: np.ndarray | None = None

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x, y, width, height)."""
        return self.x, self.y, self.width, self.height


class Detector(Protocol):
    """What finds faces; `name` is "yunet", "haar" or "none". Several threads may call one at once."""

    name: str

    @property
    def fingerprint(self) -> str:
        """Text that differs where the same image may give other faces: part of a cache's key."""

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Faces of one (H, W, 3) uint8 RGB image, the largest first."""


def detect(image: np.ndarray, detector: str = "auto") -> list[Face]:
    """Find the faces in one image; for many images make the detector once with `load_detector`.

    Args:
        image: (H, W, 3) uint8, RGB, upright (as `read_image` gives it).
        detector: as for `load_detector`.

    Returns:
        The faces, largest area first (then by place), so their order does not depend on chance.
    """
    return load_detector(detector)(image)


def load_detector(name: str = "auto") -> Detector:
    """Make a face detector.

    Args:
        name: "auto" (YuNet where its file is at hand or can be downloaded, else Haar, which is said once on
            stderr), "yunet", "haar", "none" (every image is one whole face) or the path of a YuNet ONNX file.
            `$IDFER_YUNET` may name that file for "auto" and "yunet".

    Raises:
        UsageError: no detector of that name.
        IdferError: the detector's file is missing or broken, or "yunet" cannot be downloaded.
    """
    check_detector(name)
    if name == "none":
        return WholeImage()
    if name == "haar":
        return Haar()
    if name.lower().endswith(".onnx"):
        return YuNet(Path(name))
    if chosen := os.environ.get("IDFER_YUNET"):
        return YuNet(Path(chosen))
    yunet = _yunet_file(files.cache_dir() / YUNET_FILE)
    if isinstance(yunet, Path):
        return YuNet(yunet)
    if name == "yunet":
        raise IdferError(yunet)
    _say_once(
        "faces are found by OpenCV's Haar cascade, which misses small and turned ones; YuNet is not here: "
        f"{yunet} (IDFER_OFFLINE=1 skips the download, --detector haar also this line.)"
    )
    return Haar()


def check_detector(name: str) -> None:
    """Refuse what `load_detector` does not know, without loading anything.

    Raises:
        UsageError: no detector of that name.
    """
    if name not in DETECTORS and not name.lower().endswith(".onnx"):
        raise unknown("detector", name, list(DETECTORS), "Or give the path of a YuNet .onnx file.")


@cache
def _yunet_file(path: Path) -> Path | str:
    """YuNet's file, downloaded if need be, or why there is none; found out once per process."""
    reason = ""
    for url in YUNET_URLS:
        try:
            return files.fetch(url, path, YUNET_SHA256, timeout=_TIMEOUT)
        except IdferError as error:
            reason = reason or str(error)
    return reason


@cache
def _say_once(message: str) -> None:
    print(f"idfer: {message}", file=sys.stderr)


class _Spare:
    """Copies of an OpenCV object that only one thread at a time may use; as many as threads ask at once."""

    def __init__(self, make: Callable[[], Any]):
        self._make = make
        self._idle: deque[Any] = deque([make()])

    @contextmanager
    def taken(self) -> Iterator[Any]:
        """One of them, for a `with` block."""
        try:
            one = self._idle.pop()
        except IndexError:
            one = self._make()
        try:
            yield one
        finally:
            self._idle.append(one)


class YuNet:
    """YuNet (Wu, Peng & Yu, Machine Intelligence Research 2023), a 76,000-parameter CNN, through OpenCV.

    It finds faces of about 10 to 500 pixels, so a large image is searched at 640 pixels (longer side), and at
    1280 for the faces that are small there: only in windows round what looks like a face at 640, since the
    whole would take four times as long. A pattern of stone or leaves looks faintly like many small faces;
    what is so faint is looked at in small cuts first, eight at a time, the surest 48 of them [ours]. Where
    windows are many all the same, as in a crowd, the whole is searched. On 1350 x 1350 pixels with faces of
    24 pixels and up it finds all but few that a search of the whole at both sizes finds
    (benchmarks/predict.py).
    """

    name = "yunet"
    score_threshold = 0.6
    _first, _second = 640, 1280  # longer side searched at
    _most = 1536  # longer side up to which an image is its own second size: to resize it would take longer
    _hint = 0.015  # score at 640 from which a second look may be taken
    _likely = 0.1  # score at 640 from which one is: what looks like this mostly is a face
    # of those between the two, the surest: small cuts side by side in one image, looked at together first
    _cut, _cuts, _mosaics = 48, (4, 2), 6  # pixels, how many across and down, such images at most
    _alone = 1  # as many as this are not worth one
    _seen = 0.3  # score in a mosaic from which a second look is taken
    # (largest hint, window for it) in pixels of the second size; what is larger was seen at 640 as well as it
    # will be
    _looks = ((48, 96), (80, 128))
    _largest = 320  # pixels at 1280; larger faces are found better at 640

    def __init__(self, path: Path) -> None:
        import cv2

        if not path.is_file():
            raise IdferError(
                f"{path}: no such YuNet file; download {YUNET_URLS[0]} there, or unset IDFER_YUNET."
            )

        def make() -> Any:
            # 0.3 is the overlap (IoU) above which one search keeps only the surer of two boxes.
            return cv2.FaceDetectorYN.create(str(path), "", (320, 320), self.score_threshold, 0.3, 5000)

        def nets() -> list[Any]:  # each keeps its input's size, for a change costs as much as a search
            return [make() for _ in range(2 + len(self._looks))]

        try:
            self._nets = _Spare(nets)
        except cv2.error as error:
            raise IdferError(f"{path}: is not a YuNet ONNX file; download {YUNET_URLS[0]} again.") from error
        self._sha256 = files.sha256(path)

    @property
    def fingerprint(self) -> str:
        """Changes with the network, with OpenCV, and with how this class searches."""
        return _fingerprint(self.name, self._sha256, self.score_threshold)

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Faces of one (H, W, 3) uint8 RGB image, the largest first."""
        large, second = image, np.ones(2)
        if max(image.shape[:2]) > self._most:  # twice the first size, which is then a halving away
            large, second = _shrink(image, self._second)
        small, first = _shrink(large, self._first)
        twice = max(image.shape[:2]) > self._first
        with self._nets.taken() as (net, *near):
            found = _search(net, small, self._hint if twice else self.score_threshold) * _factors(first)
            if twice:
                found = np.concatenate([found, self._again(near, large, found)])
        found = found * _factors(second)
        found = found[found[:, 14] >= self.score_threshold]
        return _ordered(
            Face(*_whole(row[:4]), score=float(row[14]), landmarks=row[4:14].reshape(5, 2).astype(np.float32))
            for row in found
        )

    def _again(self, nets: list[Any], image: np.ndarray, hints: np.ndarray) -> np.ndarray:
        """Rows (N, 15) of the small faces where hints (N, 15) are, in an image of the second size."""
        height, width = image.shape[:2]
        hints = hints[np.argsort(-hints[:, 14], kind="stable")]
        hints = hints[hints[:, 2:4].max(axis=1) <= self._looks[-1][0]]
        likely = hints[:, 14] >= self._likely
        mosaic, *nets = nets
        hints = np.concatenate([hints[likely], self._confirmed(mosaic, image, hints[~likely])])
        sizes, looks, least = hints[:, 2:4].max(axis=1), [], 0
        for net, (most, side) in zip(nets, self._looks, strict=True):
            boxes = hints[(least < sizes) & (sizes <= most), :4]
            looks.append((net, side, _windows(boxes, side, width, height)))
            least = most
        if sum(len(corners) * side**2 for _, side, corners in looks) > height * width:
            rows = _search(nets[0], image, self.score_threshold)
            whole: np.ndarray = rows[rows[:, 2:4].max(axis=1) <= self._largest]
            return whole
        parts = [np.empty((0, 15), np.float32)]
        for net, side, corners in looks:
            for left, top in corners:
                window = image[top : top + side, left : left + side]
                rows = _search(net, window, self.score_threshold)
                rows[:, :14] += np.array([left, top, 0, 0, *[left, top] * 5], np.float32)
                # a face that a window's edge cuts is seen whole elsewhere or was larger than is sought here
                parts.append(rows[_within(rows, left, top, window.shape, width, height)])
        return np.concatenate(parts)

    def _confirmed(self, net: Any, image: np.ndarray, hints: np.ndarray) -> np.ndarray:
        """Rows (N, 15) of what looks like a face after all, in cuts round hints (N, 15), the surest first.

        A cut is much smaller than a window, so that a look at eight costs as much as at a window and a half;
        it says that something is there, and the window then says what. Where many cuts show a face, as in a
        crowd, all hints are taken as they are.
        """
        cut, (wide, high) = self._cut, self._cuts
        most, height, width = wide * high, *image.shape[:2]
        corners = np.floor(hints[:, :2] + (hints[:, 2:4] - cut) / 2 + 0.5).astype(int)
        corners = np.clip(corners, 0, np.maximum([width - cut, height - cut], 0))
        near, first = np.unique(corners // (cut // 4), axis=0, return_index=True)  # one cut shows them all
        if len(near) <= self._alone:
            return hints
        corners = corners[np.sort(first)[: most * self._mosaics]]
        found = [np.empty((0, 15), np.float32)]
        for start in range(0, len(corners), most):
            chosen = corners[start : start + most]
            pieces = np.zeros((high * cut, wide * cut, 3), np.uint8)
            for number, (left, top) in enumerate(chosen):
                down, across = (cut * n for n in divmod(number, wide))
                piece = image[top : top + cut, left : left + cut]
                pieces[down : down + piece.shape[0], across : across + piece.shape[1]] = piece
            rows = _search(net, pieces, self._seen)
            middle = ((rows[:, :2] + rows[:, 2:4] / 2) // cut).clip(0, [wide - 1, high - 1]).astype(int)
            place = middle @ [1, wide]
            rows, middle, place = (part[place < len(chosen)] for part in (rows, middle, place))
            back = chosen[place] - cut * middle
            rows[:, :14] += np.concatenate([back, 0 * back, np.tile(back, 5)], axis=1)
            found.append(rows)
        faces = sum(map(len, found))
        return hints if faces > most and 4 * faces > len(corners) else np.concatenate(found)


def _search(net: Any, image: np.ndarray, threshold: float) -> np.ndarray:
    """YuNet's rows (N, 15) in an image (H, W, 3) uint8 RGB: x, y, width, height, 5 landmarks, score."""
    import cv2

    # OpenCV's decoder reads memory it never wrote where a side is 32 pixels or less.
    below, right = max(0, 64 - image.shape[0]), max(0, 64 - image.shape[1])
    if below or right:
        image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT)
    net.setInputSize((image.shape[1], image.shape[0]))
    net.setScoreThreshold(threshold)
    _, rows = net.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))  # OpenCV's networks want BGR
    return np.empty((0, 15), np.float32) if rows is None else np.asarray(rows, np.float32)


def _factors(scale: np.ndarray) -> np.ndarray:
    """What a row is multiplied by, to be in pixels of the image given; the score stays."""
    return np.append(np.tile(scale, 7), 1).astype(np.float32)


def _windows(boxes: np.ndarray, side: int, width: int, height: int) -> list[tuple[int, int]]:
    """Left and upper corners of squares within the image, a box (N, 4) with its surroundings in each."""
    corners: list[tuple[int, int]] = []
    for x, y, w, h in boxes:
        if any(
            left + w / 2 <= x
            and x + 1.5 * w <= left + side
            and top + h / 2 <= y
            and y + 1.5 * h <= top + side
            for left, top in corners
        ):
            continue
        # in whole strides, so that the network sees a face on the grid on which it sees it in the whole
        left = _STRIDE * min(max(0, round((x + w / 2 - side / 2) / _STRIDE)), max(0, width - side) // _STRIDE)
        top = _STRIDE * min(max(0, round((y + h / 2 - side / 2) / _STRIDE)), max(0, height - side) // _STRIDE)
        corners.append((left, top))
    return corners


def _within(
    rows: np.ndarray, left: int, top: int, shape: tuple[int, ...], width: int, height: int
) -> np.ndarray:
    """(N,) whether a row's box keeps off those sides of its window that are not the image's own."""
    x, y, right, below = rows[:, 0], rows[:, 1], rows[:, 0] + rows[:, 2], rows[:, 1] + rows[:, 3]
    inside = (left == 0) | (x > left + 1)
    inside &= (top == 0) | (y > top + 1)
    inside &= (left + shape[1] == width) | (right < left + shape[1] - 1)
    inside &= (top + shape[0] == height) | (below < top + shape[0] - 1)
    return np.asarray(inside, bool)


class Haar:
    """OpenCV's boosted Haar cascade for frontal faces (Viola & Jones 2001; Lienhart & Maydt 2002).

    Of 100 faces and 100 other patches of LFW it found 94 and 0. `score` is the logistic function of the last
    stage's weight minus 3.6 (those faces: 4.2 to 12); below 0.5 a find is dropped. The cascade's square is
    reshaped to what YuNet would mark, so that crops agree: width 0.85, height 1.1, centre 0.05 lower
    (fractions of its side; medians over LFW and resized photographs) [ours].
    """

    name = "haar"

    @property
    def fingerprint(self) -> str:
        """Changes with OpenCV, whose wheel brings the cascade, and with how this class searches."""
        return _fingerprint(self.name)

    def __init__(self) -> None:
        import cv2

        folder = Path(cv2.__file__).parent / "data"  # as the wheel's cv2.data.haarcascades
        file = str(folder / "haarcascade_frontalface_default.xml")
        self._cascades = _Spare(lambda: cv2.CascadeClassifier(file))

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Faces of one (H, W, 3) uint8 RGB image, the largest first."""
        import cv2

        small, (sx, sy) = _shrink(image, 1024)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)  # not equalised: plain surroundings would spoil it
        with self._cascades.taken() as cascade:
            boxes, _, weights = cascade.detectMultiScale3(
                grey, scaleFactor=1.1, minNeighbors=5, minSize=(24, 24), outputRejectLevels=True
            )
        faces = []
        for (x, y, side, _), weight in zip(boxes, np.ravel(weights), strict=True):
            score = 1 / (1 + math.exp(3.6 - float(weight)))
            if score >= 0.5:
                box = ((x + 0.075 * side) * sx, y * sy, 0.85 * side * sx, 1.1 * side * sy)
                faces.append(Face(*_whole(box), score=score))
        return _ordered(faces)


class WholeImage:
    """No detection: each image is one face already, as in most data sets of cropped faces."""

    name = fingerprint = "none"

    def __call__(self, image: np.ndarray) -> list[Face]:
        """The whole of one (H, W, 3) image."""
        return [Face(0, 0, image.shape[1], image.shape[0], score=math.nan)]


def _fingerprint(*parts: object) -> str:
    """Text of everything the faces in an image depend on; raise `_SEARCH` when the code here changes."""
    import cv2

    return repr((*parts, _SEARCH, _SMALLEST, cv2.__version__))


def _shrink(image: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """The image with its longer side at most `longest`, and (x, y) factors back to its own pixels.

    It is halved by averages of 2 x 2 pixels, and between two halves resized linearly: a tenth of the time of
    averaging areas in one go, and no more aliasing.
    """
    import cv2

    height, width = image.shape[:2]
    factor = min(1.0, longest / max(height, width))
    w, h = max(1, round(width * factor)), max(1, round(height * factor))
    small: Any = image
    halvings = 0
    while 2 * w <= small.shape[1] and 2 * h <= small.shape[0]:
        even = small[: small.shape[0] // 2 * 2, : small.shape[1] // 2 * 2]
        small = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
        halvings += 1
    kept = np.array([small.shape[1], small.shape[0]]) * 2**halvings  # of the sides, in whole blocks
    if small.shape[:2] != (h, w):
        small = cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)
    return small, kept / [w, h]


def _whole(box: Iterable[float]) -> tuple[int, int, int, int]:
    x, y, width, height = (math.floor(float(v) + 0.5) for v in box)
    return x, y, width, height


def _ordered(faces: Iterable[Face]) -> list[Face]:
    """Keep the surest of boxes on the same face, drop tiny ones; largest area first, ties by place."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: (-f.score, f.box)):
        if min(face.width, face.height) >= _SMALLEST and all(_overlap(face, k) <= 0.4 for k in kept):
            kept.append(face)
    return sorted(kept, key=lambda f: (-f.width * f.height, f.y, f.x))


def _overlap(a: Face, b: Face) -> float:
    """Shared area over the smaller box's area: 1 for a box inside another."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return max(width, 0) * max(height, 0) / min(a.width * a.height, b.width * b.height)
