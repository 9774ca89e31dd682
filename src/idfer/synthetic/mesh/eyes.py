"""Eyeballs that look somewhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from idfer.synthetic.colours import IRIS
from idfer.synthetic.mesh.colour import blend, exposure, linear
from idfer.synthetic.mesh.head import Head, rotation
from idfer.synthetic.mesh.surfaces import Surface, ball, grid

_GAZE = (20.0, 14.0)  # degrees at gaze 1
_IRIS, _PUPIL = 0.47, 0.20  # sine of the angle from the pole: radii, of the eyeball's
_RINGS = np.array([0.0, 0.12, 0.19, 0.21, 0.30, 0.38, 0.445, 0.465, 0.49, 0.60, 0.75, 0.90])
_POINTS, _TRIANGLES = ball(
    np.concatenate([np.arcsin(_RINGS), np.pi * np.array([0.45, 0.55, 0.7, 0.85, 1.0])]), 28
)


def lashes(head: Head, rims: list[np.ndarray], who: Mapping[str, float]) -> list[Surface]:
    """Lashes as dark bands along the edges of the lids."""
    strips = []
    feminine, makeup = 1 - who["gender"], who["makeup"]
    for rim, centre in zip(rims, head.eyes, strict=True):
        edge = head.points[rim]
        up = head.rest[rim, 1] > centre[1] - 0.25 * head.eye_radius
        for chosen, longer, sign in (
            (up, 0.030 + 0.018 * feminine + 0.022 * makeup, 1.0),
            (~up, 0.012 + 0.010 * makeup, -1.0),
        ):
            line = edge[chosen]
            if len(line) < 3:
                continue
            line = line[np.argsort(line[:, 0])]
            t = np.linspace(0, 1, len(line))
            fade = np.clip(6 * np.minimum(t + 0.02, 1.02 - t), 0.2, 1)[:, None]
            inner = line - np.array([0, sign * 0.006, -0.008])
            outer = line + longer * fade * np.array([0.0, 0.55 * sign, 0.75])
            points = np.stack([inner, outer], 1).reshape(-1, 3).astype(np.float32)
            out = np.tile(np.array([0, 0.2, 1], np.float32), (len(points), 1))
            strips.append(
                Surface(
                    points,
                    grid(len(line), 2),
                    out,
                    np.full((len(points), 3), 0.010 + 0.01 * who["hair_grey"], np.float32),
                )
            )
    return strips


def eyes(head: Head, who: Mapping[str, float]) -> list[Surface]:
    """Both eyeballs, coloured, before the head is turned."""
    reach = np.hypot(_POINTS[:, 0], _POINTS[:, 1])
    front = _POINTS[:, 2] > 0
    white = linear(np.array([0.93, 0.90, 0.88]) - who["age"] * np.array([0.04, 0.06, 0.10]))
    veined = linear(np.array([0.70, 0.50, 0.47]))
    white = white * exposure(who) ** -0.8  # as bright as in other faces
    edge = np.clip((reach - 0.62) / 0.38, 0, 1)[:, None]
    colours = white * (1 - 0.55 * edge) + veined * 0.55 * edge
    tone = linear(blend(IRIS, who["iris"]))
    inner = np.clip((reach - _PUPIL) / (_IRIS - _PUPIL), 0, 1)[:, None]
    iris = tone * (1.45 - 1.05 * inner**3)
    colours = np.where((front & (reach < _IRIS + 0.01))[:, None], iris, colours)
    colours = np.where((front & (reach < _PUPIL))[:, None], 0.004, colours)
    bulge = 1 + 0.05 * np.clip(1 - (reach / (_IRIS * 1.1)) ** 2, 0, 1) * front
    across, along = _GAZE[0] * who["gaze_x"], _GAZE[1] * who["gaze_y"]
    surfaces = []
    for centre, inward in zip(head.eyes, (-1.5, 1.5), strict=True):
        matrix = rotation(across + inward, along, 0.0)
        round_ = (_POINTS * bulge[:, None]) @ matrix.T
        points = centre + head.eye_radius * 0.965 * round_
        surfaces.append(
            Surface(
                points.astype(np.float32), _TRIANGLES, round_.astype(np.float32), colours.astype(np.float32)
            )
        )
    return surfaces
