"""YuNet: faces and their landmarks, small ones too, by a second look where there may be some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from idfer import files
from idfer.data.detection import Face, Spare, fingerprint_of, ordered, shrink, whole_pixels
from idfer.errors import IdferError

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
# Not the raw.githubusercontent.com address: the file is in Git LFS, and that one serves a three-line pointer.
YUNET_URLS = (
    f"https://huggingface.co/opencv/face_detection_yunet/resolve/main/{YUNET_FILE}",
    f"https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/{YUNET_FILE}",
)

_STRIDE = 32  # pixels; the network's coarsest grid


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
            self._nets = Spare(nets)
        except cv2.error as error:
            raise IdferError(f"{path}: is not a YuNet ONNX file; download {YUNET_URLS[0]} again.") from error
        self._sha256 = files.sha256(path)

    @property
    def fingerprint(self) -> str:
        """Changes with the network, with OpenCV, and with how this class searches."""
        return fingerprint_of(self.name, self._sha256, self.score_threshold)

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Faces of one (H, W, 3) uint8 RGB image, the largest first."""
        large, second = image, np.ones(2)
        if max(image.shape[:2]) > self._most:  # twice the first size, which is then a halving away
            large, second = shrink(image, self._second)
        small, first = shrink(large, self._first)
        twice = max(image.shape[:2]) > self._first
        with self._nets.taken() as (net, *near):
            found = _search(net, small, self._hint if twice else self.score_threshold) * _factors(first)
            if twice:
                found = np.concatenate([found, self._again(near, large, found)])
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
