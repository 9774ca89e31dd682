"""From factors to pixels: layers painted back to front, in chunks of constant memory."""

from __future__ import annotations

import torch
from torch import Tensor

from idfer.errors import UsageError
from idfer.synthetic import colours
from idfer.synthetic.canvas import Canvas, bump, gradient, ramp
from idfer.synthetic.factors import Factors
from idfer.synthetic.layers import brows, camera, eyes, hair as hairs, head, mouth, nose, pose, scene

SIZES = (16, 1024)
_CHUNK_PIXELS = 1 << 17  # planes of a chunk fit the second-level cache

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
    with torch.inference_mode():
        for start in range(0, len(factors), step):
            images[start : start + step] = _draw(factors.rows(slice(start, start + step)), size)
    return images


def check_size(size: int) -> None:
    """Raises `UsageError` unless faces can be drawn at that many pixels a side."""
    low, high = SIZES
    if not low <= size <= high:
        raise UsageError(f"size is {size}; faces are drawn with {low} to {high} pixels a side.")


def _draw(factors: Factors, size: int) -> Tensor:
    f = factors.map(lambda value: value.reshape(-1, 1, 1))
    c = pose.place(f, size)
    h = head.proportions(f)
    skin = colours.skin(f.skin)
    hair = colours.hair(f.hair_colour, f.hair_grey)
    style = hairs.Hair(c, f, h)

    scene.background(c, f)
    style.back(c, f, hair)
    scene.body(c, f, h, skin)
    scene.ears(c, f, h, skin)
    _face(c, f, h, skin, hair)
    style.front(c, f, h, hair)
    scene.glasses(c, f)
    scene.occlusion(c, f, skin, hair)
    camera.expose(c, f)
    image = camera.blur(c.rgb, f.blur * (size / 64))
    image = camera.noise(image, f)
    pixels = (image.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 3, 0).contiguous()
    done = camera.jpeg(pixels.numpy(), factors.jpeg.numpy())
    return torch.from_numpy(done).permute(0, 3, 1, 2)


def _face(c: Canvas, f: Factors, h: head.Head, skin: Tensor, hair: Tensor) -> None:
    """Skin modelled by light, then brows, eyes, beard and mouth."""
    around = c.rgb.clone()
    n = nose.nose(c, f)
    ink = head.creases(c, f, h)
    z = head.relief(c, f, h) + nose.relief(c, f, n) - 0.030 * ink
    light = _light(c, f, z)
    deep = 0.55 + 0.13 * ramp((f.skin - 5) / 4)
    lit = light * (1 - deep * ink)
    c.rgb.copy_(scene._warm(_complexion(c, f, skin), lit))
    gloss = bump(((light - 1.16) / 0.22) * ((light - 1.16) / 0.22)) * (light > 0.9)
    c.rgb.add_(gloss * (0.05 + 0.05 * ramp((f.skin - 4) / 4)))
    nose.draw(c, f, n, skin)
    hairs.beard(c, f, hair, skin)
    mouth.draw(c, f, skin, light.clamp(0, 1))
    eyes.draw(c, f, skin, light.clamp(0, 1))
    brows.draw(c, f, skin, hair)
    # everything outside the outline of the head was not face
    mask = c.cover(head.outline(c.x, c.y, h))
    for channel, behind in zip(c.rgb, around, strict=True):
        channel.sub_(behind).mul_(mask).add_(behind)


def _light(c: Canvas, f: Factors, z: Tensor) -> Tensor:
    """Lambertian light on the relief plus ambient light, about 1 on a surface facing the viewer."""
    dx, dy = gradient(z, c.px)
    length = (1 + dx * dx + dy * dy).sqrt()
    lx, ly = 0.55 * f.light_x, 0.55 * f.light_y
    facing = (1 - dx * lx - dy * ly) / length
    gain = 0.25 + 0.55 * f.light_strength
    return (1 + gain * (facing - 1)).clamp(0.35, 1.3)


def _complexion(c: Canvas, f: Factors, skin: Tensor) -> Tensor:
    """Skin before light: cheeks and nose a little redder, freckles, blotches of age, rouge."""
    side = c.x.abs()
    cheek = bump(_q(side - 0.52, 0.34) + _q(c.y - 0.34, 0.28))
    tip = bump(_q(c.x, 0.2) + _q(c.y - 0.36, 0.2))
    flush = (0.10 + 0.04 * f.au12) * cheek + 0.08 * tip + 0.20 * f.makeup * cheek
    spots = _blots(c, 5.3) * bump(_q(side - 0.4, 0.6) + _q(c.y - 0.25, 0.4)) * f.freckles * 0.30
    spots = spots + _blots(c, 2.1) * 0.13 * f.age * f.age
    dull = 1 - 0.05 * f.age
    red = skin[0] * (1 - 0.10 * flush - 0.7 * spots)
    green = skin[1] * (1 - 0.85 * flush - spots) * dull
    blue = skin[2] * (1 - 0.70 * flush - 1.1 * spots) * dull
    return torch.stack([red * (0.5 + 0.5 * dull), green, blue])


def _blots(c: Canvas, frequency: float) -> Tensor:
    from idfer.synthetic.canvas import wave

    a = wave(frequency * c.x + 0.45 * wave(frequency * 0.61 * c.y))
    b = wave(frequency * 1.13 * c.y + 0.5 * wave(frequency * 0.53 * c.x + 0.3))
    return ramp(a * b * 1.6 - 0.4)


def _q(distance: Tensor, width: Tensor | float) -> Tensor:
    scaled = distance / width
    return scaled * scaled
