"""From factors to pixels: layers painted back to front, in chunks of constant memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from idfer.errors import UsageError
from idfer.synthetic.canvas import Canvas, ramp
from idfer.synthetic.factors import Factors
from idfer.synthetic.layers import (
    brows,
    camera,
    creases,
    eyes,
    hair,
    head,
    mouth,
    nose,
    pose,
    relief,
    scene,
    skin,
)

SIZES = (16, 1024)
_CHUNK_PIXELS = 1 << 18  # 64 faces of 64 px: fewer lose more to calls than they gain in the cache

STUDIO: dict[str, float] = {
    "yaw": 0, "pitch": 0, "roll": 0, "shift_x": 0, "shift_y": 0, "scale": 1, "gaze_x": 0, "gaze_y": 0,
    "light_x": -0.35, "light_y": -0.5, "light_strength": 0.7, "exposure": 0, "warmth": 0,
    "background_hue": 0.58, "background_saturation": 0.10, "background_value": 0.80, "background_gradient": 0,
    "blur": 0, "noise": 0, "occlusion": 0, "jpeg": 100,
}  # fmt: skip
"""Nuisance factors of a studio photograph: frontal, evenly lit, plain."""


def render(factors: Factors, size: int = 64, nuisance: bool = True) -> Tensor:
    """Draw faces.

    Args:
        factors: N faces.
        size: image side in pixels, 16 to 1024.
        nuisance: False replaces pose, light, background, blur, noise, occlusion and JPEG by `STUDIO`.

    Returns:
        (N, 3, size, size) uint8 RGB. The same factors give the same pixels in any batch, on any number of
        threads.

    Raises:
        UsageError: a size outside 16 to 1024.
    """
    check_size(size)
    if not nuisance:
        factors = factors.replace(**STUDIO)
    images = torch.empty(len(factors), 3, size, size, dtype=torch.uint8)
    step = max(1, _CHUNK_PIXELS // (size * size))

    @torch.inference_mode()
    def fill(start: int) -> None:
        images[start : start + step] = _draw(factors.rows(slice(start, start + step)), size)

    starts = range(0, len(factors), step)
    threads = min(torch.get_num_threads(), len(starts))
    if threads <= 1:
        for start in starts:
            fill(start)
        return images
    # One chunk per thread: threads inside an operation would wait for each other thousands of times.
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(fill, starts))
    finally:
        torch.set_num_threads(before)  # what a worker sets is also the default of threads to come
    return images


def check_size(size: int) -> None:
    """Raises `UsageError` unless faces can be drawn at that many pixels a side."""
    low, high = SIZES
    if not low <= size <= high:
        raise UsageError(f"size is {size}; faces are drawn with {low} to {high} pixels a side.")


def _draw(factors: Factors, size: int) -> Tensor:
    """Draw one chunk, back to front."""
    f = factors.map(lambda stacked: stacked.reshape(len(stacked), -1, 1, 1))
    c = pose.place(f, size)
    h = head.proportions(f)
    style = hair.Hair(c, f, h)

    scene.background(c, f)
    style.back(c, f)
    scene.body(c.band(0.4, 9), f, h)
    scene.ears(c.band(-0.6, 0.7), f, h)
    _face(c, f, h)
    style.front(c, f, h)
    _some(scene.glasses, f.glasses > 0.5, c.band(-0.6, 0.4), f)
    _some(scene.occlusion, f.occlusion > 0.5, c, f)
    camera.expose(c, f)
    image = camera.noise(camera.blur(c.rgb, f.blur * (size / 64)), f)
    pixels = image.clamp_(0, 1).mul_(255).add_(0.5).to(torch.uint8).permute(1, 2, 3, 0).contiguous()
    done = camera.jpeg(pixels.numpy(), factors.jpeg.numpy())
    return torch.from_numpy(done).permute(0, 3, 1, 2)


def _face(c: Canvas, f: Factors, h: head.Head) -> None:
    """Skin modelled by light, then nose, beard, mouth, eyes and brows, cut out by the outline."""
    around = c.rgb.clone()
    relief.dome(c, f, h)
    relief.upper(c.band(-0.60, 0.15), f)
    relief.lower(c.band(-0.10, 1.60), f, h)
    creases.forehead(c.band(-1.10, -0.20), f)
    creases.eyes(c.band(-0.35, 0.30), f)
    creases.mouth(c.band(0.30, 1.50), f, h)
    middle = c.band(-0.60, 0.75)
    n = nose.nose(middle, f)
    nose.relief(middle, f, n)

    c.ink.clamp_(max=1)
    c.height.sub_(c.ink * 0.03)
    light, gloss = skin.light(c, f)
    deep = 0.55 + 0.13 * ramp((f.skin - 5) / 4)
    c.rgb.copy_(skin.warm(skin.complexion(c, f), light * (1 - deep * c.ink)))
    c.rgb.add_(gloss * (0.03 + 0.15 * ramp((f.skin - 3) / 7)))
    c.light.copy_(light.clamp_(0, 1))

    nose.draw(middle, f, n)
    _some(hair.beard, (f.facial_hair > 0.05) | (f.gender > 0.4), c.band(-0.15, 9), f)
    mouth.draw(c.band(0.3, 1.6), f)
    eyes.draw(c.band(-0.5, 0.2), f)
    brows.draw(c.band(-1.0, 0.0), f)
    mask = c.cover(head.outline(c.x, c.y, h))
    for channel, behind in zip(c.rgb, around, strict=True):
        channel.sub_(behind).mul_(mask).add_(behind)


def _some(draw: Callable[[Canvas, Factors], None], which: Tensor, c: Canvas, f: Factors) -> None:
    """Draw a layer on the images that have it."""
    images = which.reshape(-1).nonzero().reshape(-1)
    if len(images):
        part = c.only(images)
        draw(part, f.rows(images))
        c.put(images, part)
