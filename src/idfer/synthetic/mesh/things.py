"""What is worn and what is in the way: glasses, clothes, a hand, a cup."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from idfer.synthetic.mesh.colour import hsv, linear
from idfer.synthetic.mesh.head import Head
from idfer.synthetic.mesh.surfaces import Surface, ball, grid, normals, ribbons, tube


def glasses(head: Head, who: Mapping[str, float]) -> list[Surface]:
    """Frames, round or square, that sit on this nose and reach these ears; [] without."""
    if who["glasses"] < 0.5:
        return []
    power = 2.2 if who["glasses"] < 1.5 else 5.0
    wide, high = (0.27, 0.245) if who["glasses"] < 1.5 else (0.295, 0.215)
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    frames = []
    front = float(head.eyes[:, 2].mean() + head.eye_radius + 0.17)
    y = float(head.eyes[:, 1].mean()) - 0.03
    for sign in (1, -1):
        x = sign * max(0.40, float(np.abs(head.eyes[:, 0]).mean()))
        cosine, sine = np.cos(turn), np.sin(turn)
        scale = (np.abs(cosine) ** power + np.abs(sine) ** power) ** (-1 / power)
        loop = np.stack(
            [
                x + wide * scale * cosine,
                y + high * scale * sine,
                front - 0.22 * (np.abs(x + wide * scale * cosine) - 0.3).clip(0),
            ],
            -1,
        )
        frames.append(tube(loop, 0.020, closed=True))
        hinge = np.array([x + sign * wide, y + 0.5 * high, front - 0.09])
        arm = np.linspace(hinge, [sign * 1.07, y + 0.10, -1.05], 6)
        frames.append(tube(arm, 0.017))
    t = np.linspace(-1, 1, 7)
    bridge = np.stack([t * (0.40 - wide), y + 0.07 + 0.03 * (1 - t * t), front + 0.03 * (1 - t * t)], -1)
    frames.append(tube(bridge, 0.017))
    tone = np.clip((who["frame_tone"] * 3 - 1.6), 0, 1)
    colour = linear(np.array([0.07, 0.06, 0.07]) + tone * np.array([0.34, 0.20, 0.06]))
    return [Surface(f.points, f.triangles, f.normals, np.tile(colour, (len(f.points), 1))) for f in frames]


def clothes(head: Head, who: Mapping[str, float]) -> Surface:
    """Shoulders in a garment with a round neck."""
    masculine = who["gender"]
    chin = float(head.rest_marks[-1, 1])
    top = chin - 0.36
    heights = np.array([0.0, -0.05, -0.16, -0.34, -0.65, -1.2, -2.4])
    half = np.array([0.62, 0.72, 1.05, 1.55, 1.85, 1.95, 1.95]) * (0.92 + 0.16 * masculine)
    deep = np.array([0.60, 0.68, 0.78, 0.85, 0.92, 0.95, 0.95])
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    rows = []
    for h, w, d in zip(heights, half, deep, strict=True):
        dip = 0.30 * np.clip(np.sin(turn), 0, 1) ** 2 * np.exp(h * 4)  # lower in front
        rows.append(np.stack([w * np.cos(turn), top + h - dip, -0.95 + d * np.sin(turn)], -1))
    points = np.concatenate(rows).astype(np.float32)
    triangles = grid(len(rows), 40, closed=True)[:, ::-1]
    colour = linear(hsv(who["clothes_hue"], who["clothes_saturation"], who["clothes_value"]))
    return Surface(points, triangles, normals(points, triangles), np.tile(colour, (len(points), 1)))


def occluders(head: Head, who: Mapping[str, float], skin: np.ndarray, hair: np.ndarray) -> list[Surface]:
    """A hand against a cheek or a cup before the chin, hair across an eye; [] without. A mask is painted."""
    kind = int(who["occlusion"])
    side = 1.0 if who["occlusion_x"] > 0 else -1.0
    if kind == 2:
        fingers = []
        for k in range(4):
            low = np.array([side * (0.42 + 0.19 * k), -1.75, 0.30 - 0.16 * k])
            high = np.array(
                [
                    side * (0.50 + 0.13 * k),
                    -0.35 - 0.06 * abs(k - 1.3) + 0.1 * who["occlusion_y"],
                    0.36 - 0.17 * k,
                ]
            )
            fingers.append(_finger(low, high, skin))
        return fingers
    if kind == 3:
        points, triangles = ball(np.pi * np.linspace(0, 1, 17))
        body = np.sign(points) * np.abs(points) ** np.array([1.0, 0.35, 1.0])
        place = np.array([0.45 * who["occlusion_x"], -1.30 - 0.1 * who["occlusion_y"], 0.75])
        shaped = (body * np.array([0.30, 0.42, 0.30]) + place).astype(np.float32)
        colour = linear(
            hsv(
                (who["clothes_hue"] + 0.4) % 1,
                0.2 + 0.5 * who["clothes_saturation"],
                0.35 + 0.5 * who["background_value"],
            )
        )
        return [Surface(shaped, triangles, normals(shaped, triangles), np.tile(colour, (len(points), 1)))]
    if kind == 4 and who["hair_style"] > 1.5:
        return [_lock(side, who, hair)]
    return []


def _lock(side: float, who: Mapping[str, float], colour: np.ndarray) -> Surface:
    """A lock of hair that falls from the hairline across one eye."""
    rng = np.random.default_rng([int(who["noise_seed"]), 7])
    start, spread = 0.10 + 0.30 * rng.random((28, 1)), 0.04 * rng.standard_normal((28, 1))
    t = np.linspace(0, 1, 8)
    x = side * (start + (0.30 + spread) * np.sin(2.0 * t))
    y = 1.12 - (1.45 + 3 * spread) * t
    z = 0.16 + 0.34 * np.sin(2.4 * t) - 0.10 * t - 0.25 * np.abs(x)
    strands = np.stack([x, np.broadcast_to(y, x.shape), z], -1)
    width = 0.045 * np.ones((28, 1)) * np.array([1, 1, 1, 1, 1, 0.9, 0.7, 0.2])
    out = np.broadcast_to(np.array([0.0, 0.1, 1.0]), strands.shape)
    tint = colour * np.exp(0.2 * rng.standard_normal((28, 1)))
    return ribbons(strands, width, out, tint, 0.4 * rng.standard_normal(28))


def _finger(low: np.ndarray, high: np.ndarray, colour: np.ndarray) -> Surface:
    points, triangles = ball(np.pi * np.linspace(0, 1, 15), 12)
    middle, along = (low + high) / 2, (high - low) / 2
    shaped = points[:, [0, 2, 1]] * np.array([0.095, 1.0, 0.095])
    shaped = middle + shaped[:, :1] * [1, 0, 0] + shaped[:, 2:] * [0, 0, 1] + shaped[:, 1:2] * along
    shaped = shaped.astype(np.float32)
    out = normals(shaped, triangles)
    inward = ((out * (shaped - middle)).sum(-1) < 0).mean() > 0.5
    return Surface(shaped, triangles, -out if inward else out, np.tile(colour, (len(points), 1)))
