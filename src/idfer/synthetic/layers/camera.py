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
        size = image.shape[axis]
        pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        padded = torch.nn.functional.pad(image, pad, mode="replicate")
        total = torch.ones_like(deviation)
        blurred = image.clone()
        for step in range(1, reach + 1):
            t = (1 - step * step / square).clamp(min=0)
            weight = t * t
            before, after = (padded.narrow(axis, reach + move, size) for move in (-step, step))
            blurred += (before + after).mul_(weight)
            total = total + 2 * weight
        image = blurred / total
    return image


def noise(image: Tensor, f: Factors) -> Tensor:
    """Sensor noise, mostly of brightness: it depends on `noise_seed` and the pixel alone."""
    height, width = image.shape[-2:]
    bright, red = grain(f.noise_seed, height, width, 0)
    blue, _ = grain(f.noise_seed, height, width, 1)
    image = image + bright.mul_(f.noise)
    image[0] += red.mul_(0.5 * f.noise)
    image[2] += blue.mul_(0.5 * f.noise)
    return image


def jpeg(images: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Encode and decode each image (N, H, W, 3) uint8 as JPEG; quality 100 leaves it as it is."""
    import cv2

    done = images.copy()
    for k in np.flatnonzero(quality < 100):
        _, data = cv2.imencode(".jpg", images[k][:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality[k])])
        done[k] = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[:, :, ::-1]
    return done
