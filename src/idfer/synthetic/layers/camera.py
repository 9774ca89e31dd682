"""What the camera adds: exposure, blur, noise, and the JPEG round trip."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from idfer.synthetic.canvas import Canvas, grain
from idfer.synthetic.factors import Factors


def expose(c: Canvas, f: Factors) -> None:
    """Exposure and colour temperature."""
    gain = torch.stack([1 + f.exposure + f.warmth, 1 + f.exposure, 1 + f.exposure - f.warmth])
    c.multiply(gain)


def blur(image: Tensor, deviation: Tensor) -> Tensor:
    """Separable blur of (3, N, H, W) by a deviation (N, 1, 1) in pixels.

    The kernel is (1 - d^2 / r^2)^2 with r^2 = 7 sigma^2, compact and of about that deviation; taps are added
    one by one so that the sum has a fixed order.
    """
    reach = int((7.0 * float(deviation.max()) ** 2) ** 0.5)
    if reach < 1:
        return image
    square = (7 * deviation * deviation).clamp(min=1e-6)
    for axis in (2, 3):
        total = torch.ones_like(deviation)
        blurred = image.clone()
        for step in range(1, reach + 1):
            t = (1 - step * step / square).clamp(min=0)
            weight = t * t
            blurred += weight * (_shifted(image, step, axis) + _shifted(image, -step, axis))
            total = total + 2 * weight
        image = blurred / total
    return image


def _shifted(image: Tensor, step: int, axis: int) -> Tensor:
    """The image moved by `step` pixels along an axis, its border repeated."""
    size = image.shape[axis]
    index = (torch.arange(size) + step).clamp(0, size - 1)
    return image.index_select(axis, index)


def noise(image: Tensor, f: Factors) -> Tensor:
    """Sensor noise, mostly of brightness: it depends on `noise_seed` and the pixel alone."""
    height, width = image.shape[-2:]
    bright = grain(f.noise_seed, height, width, 0) * f.noise
    channels = [
        image[k] + bright + 0.4 * f.noise * grain(f.noise_seed, height, width, k + 1) for k in range(3)
    ]
    return torch.stack(channels)


def jpeg(images: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Encode and decode each image (N, H, W, 3) uint8 as JPEG; quality 100 leaves it as it is."""
    import cv2

    done = images.copy()
    for k in np.flatnonzero(quality < 100):
        _, data = cv2.imencode(".jpg", images[k][:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality[k])])
        done[k] = cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]
    return done
