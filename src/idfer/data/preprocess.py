"""The preprocessing contract: all that happens between a photograph's pixels and a network's input.

Every way into a network (training, evaluation, prediction, export) goes through `read_image` and one
`Preprocess`, because a mismatch between the two (BGR for RGB, another resampler, another crop) lowers scores
without an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.data import budget
from idfer.data.landmarks import TEMPLATE, similarity
from idfer.errors import IdferError

if TYPE_CHECKING:
    from torch import Tensor

Box = Sequence[float]  # x, y, width, height in pixels, (0, 0) the upper left corner of the image

PLACED_BY = ("none", "box", "yunet", "haar", "auto")
"""What may have placed the faces a model was trained on (`Preprocess.detector`)."""

ALIGNMENTS = ("none", "landmarks")
"""How a face may be brought into place."""


@dataclass(frozen=True)
class Preprocess:
    """The preprocessing contract: all that happens between a photograph's pixels and a network's input.

    A checkpoint carries it, so that prediction and export repeat what training did [ours].

    Attributes:
        size: side S of the network's square input, pixels.
        margin: context around a face, as a fraction of the face box's longer side, added on each side.
        alignment: "none": faces are cropped upright as they are; "landmarks": five landmarks are brought onto
            `idfer.data.landmarks.TEMPLATE` by a similarity transform (turned, scaled, shifted), with `margin`
            added on each side.
        colour_order: "RGB".
        resize: "area": exact area averaging where a crop shrinks (`cv2.INTER_AREA`), linear interpolation
            where it grows (`cv2.INTER_LINEAR`).
        mean: per channel, on the scale [0, 1]; subtracted.
        std: per channel, on the scale [0, 1]; divides.
        output_range: smallest and largest valence and arousal the network is trained to give.
        detector: what placed the faces in training, so that prediction places them alike: "none" (each image
            is a face), "box" (boxes that came with the data), "yunet", "haar", or "auto" (whichever detector
            was at hand).

    Raises:
        IdferError: a value is out of its range, or a choice this version does not know.
    """

    size: int
    margin: float = 0.0
    alignment: str = "none"
    colour_order: str = "RGB"
    resize: str = "area"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    output_range: tuple[float, float] = (-1.0, 1.0)
    detector: str = "none"

    def __post_init__(self) -> None:
        for name, known in (("alignment", ALIGNMENTS), ("colour_order", ("RGB",)), ("resize", ("area",))):
            if (given := getattr(self, name)) not in known:
                raise IdferError(
                    f"preprocessing: {name} is {given!r}, this version of idfer knows {' and '.join(known)} "
                    "only; update idfer, or train again with this version."
                )
        if self.detector not in PLACED_BY:
            raise IdferError(
                f"preprocessing: detector is {self.detector!r}, this version of idfer knows "
                f"{', '.join(PLACED_BY)}; update idfer, or train again with this version."
            )
        whole = isinstance(self.size, int) and not isinstance(self.size, bool)
        if not (whole and 1 <= self.size <= 4096):
            raise IdferError(
                f"preprocessing: size is {self.size!r}; it must be a whole number from 1 to 4096."
            )
        _check_numbers("margin", [self.margin], 1)
        _check_numbers("mean", self.mean, 3)
        _check_numbers("std", self.std, 3)
        _check_numbers("output_range", self.output_range, 2)
        if not 0 <= self.margin <= 4:
            raise IdferError(f"preprocessing: margin is {self.margin!r}; it must lie in [0, 4].")
        if min(self.std) <= 0:
            raise IdferError(f"preprocessing: std is {self.std!r}; every channel's must be above 0.")
        if self.output_range[0] >= self.output_range[1]:
            raise IdferError(f"preprocessing: output_range is {self.output_range!r}; give (lowest, highest).")

    def crop(
        self, image: np.ndarray, box: Box | None = None, landmarks: np.ndarray | None = None
    ) -> np.ndarray:
        """Cut the square around a face and resize it; (H, W, 3) uint8 to (S, S, 3) uint8.

        With `alignment` "landmarks" the box is not asked: the face is where its landmarks are.

        The square's side is the box's longer side plus the margin on each side, its centre the box's; where
        it leaves the image, the edge pixels are repeated. Without a box the image is itself a face: it is
        squared the same way about its centre, without margin, so an S x S image comes back unchanged.

        Args:
            image: (H, W, 3) uint8, RGB.
            box: x, y, width, height in pixels, or None.
            landmarks: (5, 2) x, y in pixels, see `idfer.data.landmarks`; ignored without alignment.

        Raises:
            IdferError: alignment without landmarks, or landmarks of no face; the box is not four numbers,
                empty, not finite or outside the image; or the square has more pixels than
                `idfer.data.budget.max_pixels`, as that of an image of 1 x 60000 has.
        """
        if self.alignment == "landmarks":
            return self._aligned(image, landmarks)
        height, width = image.shape[:2]
        if box is None and height == width == self.size:  # a face cut out before: nothing to do
            return np.ascontiguousarray(image)
        if box is None:
            x, y, w, h, margin = 0.0, 0.0, float(width), float(height), 0.0
        else:
            x, y, w, h = _numbers(box)
            margin = self.margin
            _check_box(x, y, w, h, width, height)
        side = max(1, math.floor(max(w, h) * (1 + 2 * margin) + 0.5))
        if side * side > (limit := budget.max_pixels()):
            what = (
                f"an image of {width} x {height} pixels"
                if box is None
                else f"the box of {w:g} x {h:g} pixels"
            )
            raise budget.too_large(f"{what}, made a square of {side} x {side}, has", side * side, limit)
        left = math.floor(x + (w - side) / 2 + 0.5)
        top = math.floor(y + (h - side) / 2 + 0.5)
        return self._resized_square(image, left, top, side)

    def _resized_square(self, image: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
        import cv2

        height, width = image.shape[:2]
        inside = top >= 0 and left >= 0 and top + side <= height and left + side <= width
        try:
            if inside:  # a tenth of the time
                square = np.ascontiguousarray(image[top : top + side, left : left + side])
            else:
                rows = np.clip(np.arange(top, top + side), 0, height - 1)
                columns = np.clip(np.arange(left, left + side), 0, width - 1)
                square = np.ascontiguousarray(image[rows[:, None], columns])
            if side == self.size:
                return square
            how = cv2.INTER_AREA if side > self.size else cv2.INTER_LINEAR
            resized: np.ndarray = cv2.resize(square, (self.size, self.size), interpolation=how)
        except (MemoryError, cv2.error) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise IdferError(
                f"the face's square of {side} x {side} pixels cannot be resized ({reason}); scale the image "
                "down."
            ) from error
        return resized

    def _aligned(self, image: np.ndarray, landmarks: np.ndarray | None) -> np.ndarray:
        """Warp a face so that its landmarks lie on the template.

        A face larger than the network's input is warped at a whole multiple of it and averaged down, so that
        it is no more aliased than a crop is [ours].
        """
        import cv2

        if landmarks is None or np.isnan(landmarks).any():
            raise IdferError(
                "the face has no landmarks, and this contract aligns faces by them; let YuNet find it "
                "(detector yunet), or give a manifest with a column `landmarks`."
            )
        points = (TEMPLATE - 0.5) / (1 + 2 * self.margin) + 0.5
        matrix = similarity(np.asarray(landmarks, np.float64), points * self.size)
        times = max(1, math.floor(1 / math.hypot(*matrix[:, 0]) + 0.5))
        side = times * self.size
        if side * side > (limit := budget.max_pixels()):
            raise budget.too_large(f"the face, aligned in a square of {side} x {side}, has", side**2, limit)
        # pixel centres lie at whole numbers for OpenCV, at halves for a template of a square
        shift = matrix[:, :2] @ [0.5, 0.5] + matrix[:, 2]
        matrix = np.column_stack([times * matrix[:, :2], times * shift - 0.5])
        face: np.ndarray = cv2.warpAffine(
            image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        if times > 1:
            face = cv2.resize(face, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return face

    def normalise(self, images: Tensor) -> Tensor:
        """Scale pixels as the network wants them: (x / 255 - mean) / std, on the tensor's own device.

        Args:
            images: (B, 3, S, S) uint8 (or float on the same scale [0, 255]), RGB.

        Returns:
            (B, 3, S, S) float32.
        """
        import torch

        mean = torch.tensor(self.mean, device=images.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, 3, 1, 1)
        return (images.to(torch.float32) / 255 - mean) / std

    def to_dict(self) -> dict[str, Any]:
        """The contract as plain numbers, strings and lists, for a checkpoint's configuration file."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """Read a contract that `to_dict` wrote; every field must be there and none besides.

        Raises:
            IdferError: a field is missing, unknown, malformed, or a choice this version does not know.
        """
        if not isinstance(values, Mapping):
            raise IdferError(
                f"preprocessing: is {values!r} and no mapping; use the configuration that was saved with the "
                "checkpoint."
            )
        names = [f.name for f in fields(cls)]
        for name in names:
            if name not in values:
                raise IdferError(
                    f"preprocessing: {name!r} is missing, without it predictions would be silently wrong; "
                    "use the configuration that was saved with the checkpoint."
                )
        for name in values:
            if name not in names:
                raise IdferError(
                    f"preprocessing: {name!r} is not known to this version of idfer; update idfer, or train "
                    "again with this version."
                )
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)


def _check_numbers(name: str, values: Any, count: int) -> None:
    numbers = isinstance(values, (list, tuple)) and all(_is_finite(v) for v in values)
    if not numbers or len(values) != count:
        given = values[0] if count == 1 else values
        raise IdferError(f"preprocessing: {name} is {given!r}; it must be {count} finite number(s).")


def _is_finite(value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _numbers(box: Box) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(v) for v in box)
    except (TypeError, ValueError, OverflowError) as error:
        raise IdferError(
            f"face box {box!r} is not a box; give four numbers: x, y, width, height in pixels."
        ) from error
    return x, y, width, height


def _check_box(x: float, y: float, w: float, h: float, width: int, height: int) -> None:
    shown = f"face box (x {x:g}, y {y:g}, width {w:g}, height {h:g})"
    if not all(math.isfinite(v) for v in (x, y, w, h)) or w <= 0 or h <= 0:
        raise IdferError(f"{shown} is not a box; give finite numbers in pixels, width and height above 0.")
    if x >= width or y >= height or x + w <= 0 or y + h <= 0 or max(w, h) > 4 * max(width, height):
        raise IdferError(
            f"{shown} does not fit the image of {width} x {height} pixels; give the box in pixels of this "
            "very image."
        )
