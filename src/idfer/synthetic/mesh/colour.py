"""Colours in numpy: palettes of the drawn engine, and between sRGB and linear light."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def linear(srgb: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values in 0..1."""
    values: np.ndarray = np.where(
        srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4
    )
    return values


def srgb(light: np.ndarray) -> np.ndarray:
    """The sRGB values, 0..1, of linear light."""
    light = np.clip(light, 0, 1)
    values: np.ndarray = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return values


def blend(hexes: tuple[str, ...], position: float) -> np.ndarray:
    """Colour (3,), sRGB, at a continuous position of a palette, 0 = its first entry."""
    table = np.array([[int(h[k : k + 2], 16) / 255 for k in (0, 2, 4)] for h in hexes])
    where = float(np.clip(position, 0, len(hexes) - 1))
    low = min(int(where), len(hexes) - 2)
    mixed: np.ndarray = table[low] + (table[low + 1] - table[low]) * (where - low)
    return mixed


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """Colour (3,), sRGB, from hue, saturation and value in 0..1."""
    corner = np.abs(((hue + np.array([0.0, 2 / 3, 1 / 3])) % 1) * 6 - 3) - 1
    mixed: np.ndarray = value * (1 + saturation * (np.clip(corner, 0, 1) - 1))
    return mixed


def exposure(who: Mapping[str, float]) -> float:
    """A photographer exposes for dark skin: by how much more light."""
    return 1 + 0.95 * max(0.0, (who["skin"] - 6) / 4)
