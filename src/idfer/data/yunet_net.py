"""YuNet's network, run by ONNX Runtime: what it marks in images of any size."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from idfer.data.onnx_size import any_size
from idfer.errors import IdferError
from idfer.onnx_session import session_of

STRIDE = 32  # pixels; the coarsest grid, of which the network sees whole cells

_STRIDES = (8, 16, STRIDE)
_KINDS = ("cls", "obj", "bbox", "kps")
_OVERLAP = 0.3  # IoU above which the surer of two boxes is kept
_KEPT = 5000  # the surest boxes of which that is asked
_MOST = 4  # threads that share one image: the network is small, and they wait for each other at every layer
_APART = 1e6  # pixels between two images of a batch where boxes are compared


class Network:
    """A YuNet ONNX file; several threads may call it at once.

    Its rows are those of OpenCV's FaceDetectorYN, but for rounding, in under half the time (measured by
    benchmarks/predict.py). A call uses as many threads as OpenCV may, so that one limit serves both.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        try:
            self._content = any_size(path.read_bytes())
        except OSError as error:
            raise IdferError(f"{path}: cannot be read ({error.strerror or error}).") from error
        except ValueError as error:
            raise IdferError(f"{path}: is no ONNX file ({error}).") from error
        self._sessions: dict[int, Any] = {}
        alone = self._session(1)
        self._outputs = [f"{kind}_{stride}" for stride in _STRIDES for kind in _KINDS]
        if missing := sorted({*self._outputs} - {output.name for output in alone.get_outputs()}):
            raise IdferError(f"{path}: has no output {missing[0]!r}.")
        if not (inputs := alone.get_inputs()):
            raise IdferError(f"{path}: takes no image.")
        self._input = inputs[0].name

    def __call__(self, images: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """What looks like a face in images of one size, the surest first.

        Args:
            images: (N, H, W, 3) uint8 RGB.
            threshold: least score, in [0, 1].

        Returns:
            (M, 15) float32 rows x, y, width, height, x and y of 5 landmarks, score, in pixels of their image;
            and (M,) which image each is of.

        Raises:
            IdferError: a box is not finite: the file's weights are damaged.
        """
        import cv2

        given = _planes(images)
        session = self._session(max(1, min(cv2.getNumThreads(), _MOST)))
        found = session.run(self._outputs, {self._input: given})
        high, wide = given.shape[2:]
        parts = []
        for i, stride in enumerate(_STRIDES):
            level = found[len(_KINDS) * i : len(_KINDS) * (i + 1)]
            parts.append(_decode(level, threshold, stride, (high // stride, wide // stride)))
        rows, which = (np.concatenate(part) for part in zip(*parts, strict=True))
        if not np.isfinite(rows).all():
            raise IdferError(f"{self._path}: gives boxes without end, so it is damaged; download it again.")
        kept = _surest(rows, which)
        return rows[kept], which[kept]

    def _session(self, threads: int) -> Any:
        with self._lock:
            if threads not in self._sessions:
                self._sessions[threads] = session_of(self._path, content=self._content, threads=threads)
            return self._sessions[threads]


def _planes(images: np.ndarray) -> np.ndarray:
    """Images (N, H, W, 3) as the network takes them: (N, 3, H, W) float32 BGR, black up to whole cells."""
    import cv2

    count, height, width, _ = images.shape
    high, wide = (-(-side // STRIDE) * STRIDE for side in (height, width))
    whole = (high, wide) == (height, width)
    planes = (np.empty if whole else np.zeros)((count, 3, high, wide), np.float32)
    for image, into in zip(images, planes, strict=True):
        for channel, plane in enumerate(cv2.split(image)):
            into[2 - channel, :height, :width] = plane
    return planes


def _decode(
    level: list[np.ndarray], threshold: float, stride: int, grid: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (M, 15) and images (M,) of the cells of one grid (rows, columns) that reach the threshold.

    The network gives cls, obj, bbox and kps (1, cells, 1, 1, 4 and 10), image after image; the geometric mean
    of the first two is the score. Boxes are a centre, from the cell's corner, and the logarithms of width and
    height; landmarks are from the cell's corner too; all in cells.
    """
    cls, obj, boxes, points = level
    squares = (cls * obj).ravel()
    (cells,) = np.nonzero(squares >= threshold**2)
    if not len(cells):
        return np.empty((0, 15), np.float32), cells
    image, row, column = np.unravel_index(cells, (len(squares) // (grid[0] * grid[1]), *grid))
    rows = np.empty((len(cells), 15), np.float32)
    rows[:, 0:14:2], rows[:, 1:14:2] = column[:, None], row[:, None]
    box, size = boxes.reshape(-1, 4)[cells], rows[:, 2:4]
    with np.errstate(over="ignore"):  # of damaged weights; the caller says so
        np.exp(box[:, 2:], out=size)
    rows[:, :2] += box[:, :2] - size / 2
    rows[:, 4:14] += points.reshape(-1, 10)[cells]
    rows[:, :14] *= stride
    rows[:, 14] = np.sqrt(np.minimum(squares[cells], 1))
    return rows, image


def _surest(rows: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Places of rows (M, 15) that no surer row of the same image overlaps, the surest first.

    Compared are whole pixels, as OpenCV does.
    """
    import cv2

    if len(rows) < 2:
        return np.arange(len(rows))
    boxes = np.trunc(rows[:, :4]).astype(np.float64)
    boxes[:, 0] += _APART * which
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), rows[:, 14].tolist(), 0.0, _OVERLAP, top_k=_KEPT)
    return np.asarray(kept, int)
