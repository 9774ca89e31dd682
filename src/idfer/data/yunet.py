"""YuNet: faces and their landmarks, small ones too, by a second look where there may be some."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from idfer import files
from idfer.data.detection import Face, fingerprint_of, ordered, shrink, whole_pixels
from idfer.data.yunet_net import STRIDE, Network
from idfer.errors import IdferError

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
# Not the raw.githubusercontent.com address: the file is in Git LFS, and that one serves a three-line pointer.
YUNET_URLS = (
    f"https://huggingface.co/opencv/face_detection_yunet/resolve/main/{YUNET_FILE}",
    f"https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/{YUNET_FILE}",
)


class YuNet:
    """YuNet (Wu, Peng & Yu, Machine Intelligence Research 2023), a 76,000-parameter CNN.

    It finds faces of about 10 to 500 pixels, so a large image is searched at 640 pixels (longer side), and at
    1280 for the faces that are small there: only in windows round what looks like a face at 640, since the
    whole would take four times as long. A pattern of stone or leaves looks faintly like many small faces;
    what is so faint is looked at in small cuts first, side by side in one image, the surest 24 of them
    [ours]. Where windows are many all the same, as in a crowd, the whole is searched. On 1350 x 1350 pixels
    with faces of 24 pixels and up it finds all but few that a search of the whole at both sizes finds
    (benchmarks/predict.py).
    """

    name = "yunet"
    score_threshold = 0.6
    _first, _second = 640, 1280  # longer side searched at
    _most = 1536  # longer side up to which an image is its own second size: to resize it would take longer
    _hint = 0.015  # score at 640 from which a second look may be taken
    _likely = 0.1  # score at 640 from which one is: what looks like this mostly is a face
    # of those between the two, the surest: small cuts side by side in one image, looked at together first
    _cut, _most_cuts = 48, 24  # pixels, how many at most
    _alone = 1  # as many as this are not worth it
    _seen = 0.3  # score in a cut from which a second look is taken
    _crowd = 8  # of so many faces in cuts, if a fourth of the cuts show one, all hints are looked at
    # (largest hint, window for it) in pixels of the second size; what is larger was seen at 640 as well as it
    # will be
    _looks = ((48, 96), (80, 128))
    _largest = 320  # pixels at 1280; larger faces are found better at 640

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise IdferError(
                f"{path}: no such YuNet file; download {YUNET_URLS[0]} there, or unset IDFER_YUNET."
            )
        try:
            self._network = Network(path)
        except IdferError as error:
            raise IdferError(f"{path}: is not a YuNet ONNX file; download {YUNET_URLS[0]} again.") from error
        self._sha256 = files.sha256(path)

    @property
    def fingerprint(self) -> str:
        """Changes with the network, with what runs it, with OpenCV, and with how this class searches."""
        import onnxruntime

        return fingerprint_of(self.name, self._sha256, self.score_threshold, onnxruntime.__version__)

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Faces of one (H, W, 3) uint8 RGB image, the largest first."""
        large, second = image, np.ones(2)
        if max(image.shape[:2]) > self._most:  # twice the first size, which is then a halving away
            large, second = shrink(image, self._second)
        small, first = shrink(large, self._first)
        twice = max(image.shape[:2]) > self._first
        threshold = self._hint if twice else self.score_threshold
        found = self._rows(small, threshold) * _factors(first)
        if twice:
            found = np.concatenate([found, self._again(large, found)])
        found = found * _factors(second)
        found = found[found[:, 14] >= self.score_threshold]
        return ordered(
            Face(
                *whole_pixels(row[:4]),
                score=float(row[14]),
                landmarks=row[4:14].reshape(5, 2).astype(np.float32),
            )
            for row in found
        )

    def _rows(self, image: np.ndarray, threshold: float) -> np.ndarray:
        """The network's rows (N, 15) in one image."""
        rows, _ = self._network(image[None], threshold)
        return rows

    def _again(self, image: np.ndarray, hints: np.ndarray) -> np.ndarray:
        """Rows (N, 15) of the small faces where hints (N, 15) are, in an image of the second size."""
        height, width = image.shape[:2]
        hints = hints[np.argsort(-hints[:, 14], kind="stable")]
        hints = hints[hints[:, 2:4].max(axis=1) <= self._looks[-1][0]]
        likely = hints[:, 14] >= self._likely
        hints = np.concatenate([hints[likely], self._confirmed(image, hints[~likely])])
        sizes, looks, least = hints[:, 2:4].max(axis=1), [], 0
        for most, side in self._looks:
            boxes = hints[(least < sizes) & (sizes <= most), :4]
            looks.append((side, _windows(boxes, side, width, height)))
            least = most
        if sum(len(corners) * side**2 for side, corners in looks) > height * width:
            rows = self._rows(image, self.score_threshold)
            whole: np.ndarray = rows[rows[:, 2:4].max(axis=1) <= self._largest]
            return whole
        parts = [np.empty((0, 15), np.float32)]
        for side, corners in looks:
            if not len(corners):
                continue
            rows, which = self._network(_pieces(image, corners, side), self.score_threshold)
            rows = _moved(rows, corners[which])
            # a face that a window's edge cuts is seen whole elsewhere or was larger than is sought here
            parts.append(rows[_within(rows, corners[which], side, width, height)])
        return np.concatenate(parts)

    def _confirmed(self, image: np.ndarray, hints: np.ndarray) -> np.ndarray:
        """Rows (N, 15) of what looks like a face after all, in cuts round hints (N, 15), the surest first.

        A cut is a fourth of a window; it says that something is there, and the window then says what. Where
        many cuts show a face, as in a crowd, all hints are taken as they are.
        """
        cut, height, width = self._cut, *image.shape[:2]
        corners = np.floor(hints[:, :2] + (hints[:, 2:4] - cut) / 2 + 0.5).astype(int)
        corners = np.clip(corners, 0, np.maximum([width - cut, height - cut], 0))
        near = corners // (cut // 4)  # one cut shows them all
        _, first = np.unique(near @ [1, width], return_index=True)
        if len(first) <= self._alone:
            return hints
        corners = corners[np.sort(first)[: self._most_cuts]]
        wide, high = _grid(len(corners), cut)
        pieces = np.zeros((high * wide, cut, cut, 3), np.uint8)
        pieces[: len(corners)] = _pieces(image, corners, cut)
        side_by_side = (
            pieces.reshape(high, wide, cut, cut, 3).swapaxes(1, 2).reshape(high * cut, wide * cut, 3)
        )
        rows = self._rows(side_by_side, self._seen)
        middle = ((rows[:, :2] + rows[:, 2:4] / 2) // cut).clip(0, [wide - 1, high - 1]).astype(int)
        place = middle @ [1, wide]
        rows, middle, place = (part[place < len(corners)] for part in (rows, middle, place))
        crowd = len(rows) > self._crowd and 4 * len(rows) > len(corners)
        return hints if crowd else _moved(rows, corners[place] - cut * middle)


def _grid(count: int, side: int) -> tuple[int, int]:
    """How many squares go side by side and below each other, so that the network sees the fewest pixels."""
    grids = [(wide, -(-count // wide)) for wide in range(1, count + 1)]
    return min(grids, key=lambda grid: math.prod(-(-n * side // STRIDE) for n in grid))


def _pieces(image: np.ndarray, corners: np.ndarray, side: int) -> np.ndarray:
    """Squares (N, side, side, 3) of an image at corners (N, 2) left, top; black beyond it."""
    pieces = np.zeros((len(corners), side, side, 3), np.uint8)
    for piece, (left, top) in zip(pieces, corners, strict=True):
        part = image[top : top + side, left : left + side]
        piece[: part.shape[0], : part.shape[1]] = part
    return pieces


def _moved(rows: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Rows (N, 15) moved by x, y (N, 2)."""
    moved = rows.copy()
    moved[:, :2] += by
    moved[:, 4:14].reshape(-1, 5, 2)[:] += by[:, None]
    return moved


def _factors(scale: np.ndarray) -> np.ndarray:
    """What a row is multiplied by, to be in pixels of the image given; the score stays."""
    return np.append(np.tile(scale, 7), 1).astype(np.float32)


def _windows(boxes: np.ndarray, side: int, width: int, height: int) -> np.ndarray:
    """Left and upper corners (M, 2) of squares in the image, a box (N, 4) with its surroundings in each."""
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
        left = STRIDE * min(max(0, round((x + w / 2 - side / 2) / STRIDE)), max(0, width - side) // STRIDE)
        top = STRIDE * min(max(0, round((y + h / 2 - side / 2) / STRIDE)), max(0, height - side) // STRIDE)
        corners.append((left, top))
    return np.array(corners, int).reshape(-1, 2)


def _within(rows: np.ndarray, corners: np.ndarray, side: int, width: int, height: int) -> np.ndarray:
    """(N,) whether a row's box keeps off those sides of its window, at (N, 2), that are not the image's."""
    whole = np.array([width, height])
    ends = np.minimum(corners + side, whole)
    inside = (corners == 0) | (rows[:, :2] > corners + 1)
    inside &= (ends == whole) | (rows[:, :2] + rows[:, 2:4] < ends - 1)
    return np.asarray(inside.all(axis=1), bool)
