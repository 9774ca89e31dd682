"""How close a decoded face is to the true one, where both are known; arrays in, numbers out.

Pictures are (N, S, S, 3) uint8 RGB. What an edit should have changed is where the true result differs from
the face it came from: a decoder that changes nothing is right everywhere else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from idfer.errors import UsageError

Pictures = NDArray[np.uint8]
Array = NDArray[np.float64]
CHANGED = 12  # of 255, in any channel: below lie noise and rounding


def changed(before: Pictures, after: Pictures, least: int = CHANGED) -> NDArray[np.bool_]:
    """(N, S, S) pixels in which two pictures differ by more than `least` in any channel."""
    _check(before, after)
    mask: NDArray[np.bool_] = (np.abs(before.astype(np.int16) - after) > least).any(axis=-1)
    return mask


def squared_error(drawn: Pictures, true: Pictures, mask: NDArray[np.bool_] | None = None) -> Array:
    """(N,) mean squared difference on the scale [0, 1], over a mask; nan where it is empty."""
    _check(drawn, true)
    square = np.square((drawn.astype(np.float32) - true) / 255).mean(axis=-1)
    if mask is None:
        return np.asarray(square.mean(axis=(1, 2)), np.float64)
    count = mask.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        return np.asarray((square * mask).sum(axis=(1, 2)) / count, np.float64)


def psnr(drawn: Pictures, true: Pictures, mask: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio in dB, of the squared error's mean over faces (and over a mask)."""
    return float(-10 * np.log10(np.nanmean(squared_error(drawn, true, mask))))


def ssim(drawn: Pictures, true: Pictures) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window of 1.5 pixels, mean over faces."""
    import cv2

    _check(drawn, true)
    scores = []
    for a, b in zip(drawn.astype(np.float64), true.astype(np.float64), strict=True):
        mean_a, mean_b = (cv2.GaussianBlur(x, (11, 11), 1.5) for x in (a, b))
        square_a, square_b, product = (
            cv2.GaussianBlur(x, (11, 11), 1.5) for x in (np.square(a), np.square(b), a * b)
        )
        variance = square_a - mean_a**2 + square_b - mean_b**2
        covariance = product - mean_a * mean_b
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        alike = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
        scores.append((alike / ((mean_a**2 + mean_b**2 + c1) * (variance + c2)))[5:-5, 5:-5].mean())
    return float(np.mean(scores))


def spread(pictures: Pictures, groups: NDArray[np.intp]) -> float:
    """Root mean squared difference, on the scale [0, 1], between two pictures of one group.

    Args:
        pictures: of different people.
        groups: (N,) which show the same expression.
    """
    values = pictures.reshape(len(pictures), -1).astype(np.float32) / 255
    variance = [values[groups == g].var(axis=0, ddof=1).mean() for g in np.unique(groups)]
    return float(np.sqrt(2 * np.mean(variance)))


def _check(a: Pictures, b: Pictures) -> None:
    if a.shape != b.shape:
        raise UsageError(f"pictures of {a.shape} are compared with pictures of {b.shape}.")
