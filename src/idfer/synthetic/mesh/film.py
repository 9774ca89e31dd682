"""From light to the picture: background, tone, and what a camera does."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import torch

from idfer.synthetic.factors import Factors
from idfer.synthetic.layers import camera
from idfer.synthetic.mesh.colour import exposure, hsv, linear, srgb


def background(who: Mapping[str, float], size: int) -> np.ndarray:
    """(size, size, 3) linear: a gradient, a mottled wall or lights out of focus, by the background's hue."""
    base = hsv(who["background_hue"], who["background_saturation"], who["background_value"])
    rng = np.random.default_rng([int(who["noise_seed"]), 5])
    kind = int(rng.integers(0, 3)) if who["background_gradient"] != 0 else 0
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = axis[None, :], axis[:, None]
    plane = 0.90 - 0.20 * (who["background_gradient"] * x + 0.6 * y) / 1.6
    plane = np.repeat(plane[..., None], 3, -1) * base
    if kind == 1:
        cells = rng.standard_normal((int(rng.integers(3, 8)),) * 2 + (3,)).astype(np.float32)
        cells = 0.7 * cells.mean(-1, keepdims=True) + 0.3 * cells
        plane = plane * (1 + 0.22 * cv2.resize(cells, (size, size), interpolation=cv2.INTER_CUBIC))
    elif kind == 2:
        for _ in range(int(rng.integers(5, 14))):
            cx, cy, radius = *(2.4 * rng.random(2) - 1.2), 0.12 + 0.5 * rng.random() ** 2
            tone = hsv(float(rng.random()), 0.5 * float(rng.random()), float(0.15 + 0.85 * rng.random()))
            soft = np.clip((radius - np.hypot(x - cx, y - cy)) / (0.25 * radius) + 0.5, 0, 1)
            plane = plane + (tone - plane) * (0.55 * soft[..., None])
    return linear(np.clip(plane, 0.01, 1))


def develop(light: np.ndarray, who: Mapping[str, float], f: Factors) -> np.ndarray:
    """The photograph (size, size, 3) uint8 of what was rendered (size, size, 4).

    Args:
        light: linear colour times coverage, and coverage.
        who: the factors by name.
        f: the same face.
    """
    size = light.shape[0]
    cover = np.clip(light[..., 3:], 0, 1)
    clean = _calm(np.maximum(light[..., :3], 0), cover)
    picture = _tone(srgb(_shoulder(clean + background(who, size) * (1 - cover))))
    gain = 1 + who["exposure"] + np.array([who["warmth"], 0, -who["warmth"]])
    planes = torch.from_numpy((picture * gain).astype(np.float32)).permute(2, 0, 1)[:, None].contiguous()
    one = f.map(lambda stacked: stacked.reshape(len(stacked), -1, 1, 1))
    with torch.inference_mode():
        planes = camera.noise(camera.blur(planes, one.blur * (size / 64)), one)
        pixels = planes.clamp_(0, 1).mul_(255).add_(0.5).to(torch.uint8).permute(1, 2, 3, 0).contiguous()
    developed: np.ndarray = camera.jpeg(pixels.numpy(), f.jpeg.numpy())[0]
    return developed


def _calm(light: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Less of the grain of few samples: neighbours of like tone are averaged, edges kept."""
    light = _despeckled(light.astype(np.float32))
    tone = light / (light + 0.6)
    side = max(3, round(light.shape[0] / 32) | 1)
    calm = cv2.bilateralFilter(tone, side, 0.085, light.shape[0] / 75)
    return np.asarray(0.6 * calm / np.maximum(1 - calm, 1e-3), np.float32)


def _despeckled(light: np.ndarray) -> np.ndarray:
    """Single bright pixels, which few samples leave in reflections, brought down to their neighbours."""
    kernel = np.ones((3, 3), np.uint8)
    kernel[1, 1] = 0
    around = cv2.dilate(light, kernel)
    return np.asarray(np.minimum(light, around), np.float32)


def _shoulder(light: np.ndarray) -> np.ndarray:
    """Highlights roll off instead of clipping."""
    over = np.maximum(light - 0.7, 0)
    return np.asarray(np.minimum(light, 0.7) + 0.3 * (1 - np.exp(-over / 0.3)))


def _tone(picture: np.ndarray) -> np.ndarray:
    """What cameras make of sRGB values: a little more contrast and colour than the light had."""
    curved = picture + 0.30 * (picture * picture * (3 - 2 * picture) - picture)
    grey = curved @ np.array([[0.30], [0.59], [0.11]])
    return np.asarray(np.clip(grey + 1.12 * (curved - grey), 0, 1))


def lights(who: Mapping[str, float]) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """Direction, size and power of the lamp, and power of the even light, (3,) linear each."""
    rng = np.random.default_rng([int(who["noise_seed"]), 6])
    direction = np.array([1.25 * who["light_x"], -1.1 * who["light_y"] + 0.12, 0.95])
    strength = who["light_strength"]
    radius = 1.0 + 1.3 * float(rng.random()) * (1.2 - strength)
    warm = 1 + 0.10 * float(rng.standard_normal()) * np.array([1.0, 0.1, -1.0])
    dark = exposure(who)
    lamp = 0.95 * (0.38 + 0.80 * strength) * dark * np.pi * 36 / (4 * radius**2) * warm
    even = (0.62 - 0.38 * strength) * dark * (2 - warm) * np.array([1.04, 0.99, 0.97])
    return direction, radius, lamp, np.clip(even, 0.02, 2)
