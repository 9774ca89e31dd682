"""One face, from its factors to its pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from idfer.synthetic.factors import Factors
from idfer.synthetic.layers.pose import CENTRE, VIEW
from idfer.synthetic.mesh import film, hair, paint, stage, things
from idfer.synthetic.mesh.asset import PARTS
from idfer.synthetic.mesh.colour import exposure, linear
from idfer.synthetic.mesh.eyes import eyes, lashes
from idfer.synthetic.mesh.head import Head, Model, turn
from idfer.synthetic.mesh.landmarks import NAMES
from idfer.synthetic.mesh.person import stream
from idfer.synthetic.mesh.surfaces import Surface, normals, part, unit

DISTANCE = 9.0  # of the camera, in half-widths of a face
_PIVOT = np.array([0.0, -0.45, -0.62])  # so that a turned face stays in the middle, as a detector crops it
_TEXELS = (160, 1024)  # fewest and most a side of the skin's textures
_SKIN, _EYES, _TEETH, _TONGUE, _MOUTH = range(len(PARTS))
_BEHIND = -1.55  # depth of what the camera never sees of a head

Place = Callable[[np.ndarray], np.ndarray]


def draw(model: Model, f: Factors, size: int, samples: int) -> np.ndarray:
    """The picture (size, size, 3) uint8 of one face."""
    who = {name: float(getattr(f, name)[0]) for name in f.names()}
    head = model.head(who)
    place = _placing(who)
    meshes = [*_flesh(model, head, who, f, size, place), *_additions(model, head, who, f, size, place)]
    direction, radius, lamp, even = film.lights(who)
    light = stage.shoot(
        meshes, [stage.key_light(direction, radius, lamp), stage.sky(even)], size, samples,
        int(who["noise_seed"]), VIEW, DISTANCE, -CENTRE,
    )  # fmt: skip
    return film.develop(light, who, f)


def seen(model: Model, who: Mapping[str, float], size: int) -> np.ndarray:
    """(5, 2) x, y in pixels of eyes, tip of the nose and corners of the mouth; image left comes first."""
    head = model.head(who)
    of = dict(zip(NAMES, head.marks, strict=True))
    left, right = head.eyes + np.array([0.0, 0.0, head.eye_radius])
    points = np.stack([right, left, of["nose_tip"], of["mouth_right"], of["mouth_left"]])
    placed = _placing(who)(turn(points, who, _PIVOT))
    near = DISTANCE / (DISTANCE - placed[:, 2]) / VIEW
    return np.stack([placed[:, 0] * near + 1, 1 - (placed[:, 1] + CENTRE) * near], -1) * (size / 2)


def _flesh(
    model: Model, head: Head, who: Mapping[str, float], f: Factors, size: int, place: Place
) -> list[Any]:
    """The head itself: skin, the inside of the mouth, teeth, tongue."""
    triangles, parts = model.asset.triangles, model.asset.parts
    points = place(turn(_covered(model, head, who), who, _PIVOT))
    albedo, height = paint.paint(f, int(np.clip(2.8 * size, *_TEXELS)), model.mouth_half)
    gloss = 0.60 - 0.17 * float(stream(who["cohort"], who["identity"], 5).random())  # dry to oily
    skin = (parts == _SKIN) & ~model.interior & (head.rest[:, 2] > _BEHIND)
    neck = np.hypot(head.rest[:, 0], 0.9 * (head.rest[:, 2] + 0.95))
    skin &= (neck < 0.85) | (head.rest[:, 1] > head.rest_marks[-1, 1] - 0.28)  # it ends in clothes
    inside = model.interior | (parts == _MOUTH)
    dark_red, ivory, red = (
        np.array([0.16, 0.035, 0.035]),
        np.array([0.93, 0.88, 0.79]),
        np.array([0.38, 0.1, 0.1]),
    )
    pieces = (
        (skin, stage.material(albedo, gloss, 0.40, height, bump=1.6, flatness=0.5), True),
        (inside | _rim(triangles, skin, inside), stage.material(dark_red, 0.5, 0.4), False),
        (
            (parts == _TEETH) & (int(who["occlusion"]) != 1),
            stage.material(ivory * exposure(who) ** -0.5, 0.3, 0.4),
            False,
        ),
        (parts == _TONGUE, stage.material(red, 0.4, 0.5), False),
    )
    uv = paint.coordinates(model.canonical)
    meshes = []
    for chosen, material, painted in pieces:
        kept, used = part(triangles, chosen)
        if len(kept):
            shape = points[used]
            meshes.append(
                stage.surface(shape, kept, normals(shape, kept), material, uv[used] if painted else None)
            )
    return meshes


def _additions(
    model: Model, head: Head, who: Mapping[str, float], f: Factors, size: int, place: Place
) -> list[Any]:
    """Eyes, lashes, hair, and what is worn or in the way."""
    triangles = model.asset.triangles
    skin = (model.asset.parts == _SKIN) & ~model.interior
    tone = linear(paint.complexion(f.map(lambda s: s.reshape(len(s), -1, 1, 1))).reshape(3).numpy())
    dense = float(np.clip(size / 160, 0.5, 1.6))
    groups: tuple[tuple[list[Surface], float, float, bool], ...] = (
        (eyes(head, who), 0.10, 0.4, True),
        (
            [
                *lashes(head, model.rims, who),
                *hair.hair(head, triangles, skin, who, tone, dense),
                *hair.beard(head, triangles, skin, model.canonical, who, dense),
            ],
            0.38, 0.5, True,
        ),
        (things.glasses(head, who), 0.25, 0.5, True),
        (things.occluders(head, who, tone, hair.colour(who)), 0.5, 0.3, True),
        ([things.clothes(head, who)], 0.85, 0.1, False),
    )  # fmt: skip
    meshes = []
    for surfaces, roughness, specular, rigid in groups:
        material = stage.material("vertex_color", roughness, specular) if surfaces else None
        for surface in surfaces:
            points = place(turn(surface.points, who, _PIVOT, rigid))
            far = place(turn(surface.points + 0.01 * surface.normals, who, _PIVOT, rigid))
            meshes.append(
                stage.surface(points, surface.triangles, unit(far - points), material, colour=surface.colours)
            )
    return meshes


def _covered(model: Model, head: Head, who: Mapping[str, float]) -> np.ndarray:
    """The face's vertices; those under a mask stand out a little and move less, as cloth does."""
    if int(who["occlusion"]) != 1:
        return head.points
    x, y = torch.from_numpy(model.canonical.astype(np.float32)).T
    cover = paint.masked(x, y).numpy()[:, None] * (model.asset.parts == _SKIN)[:, None]
    shape = head.rest + 0.35 * (head.points - head.rest)
    return np.asarray(head.points + cover * (shape - head.points + np.array([0.0, 0.0, 0.07])), np.float32)


def _rim(triangles: np.ndarray, skin: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Skin vertices that the inside of the mouth hangs on."""
    mixed = triangles[(inside[triangles].any(1)) & (skin[triangles].any(1))]
    rim = np.zeros(len(skin), bool)
    rim[mixed.ravel()] = True
    return rim


def _placing(who: Mapping[str, float]) -> Place:
    """Framing: nearer or further, and where in the picture."""
    shift = np.array([who["shift_x"], -who["shift_y"], 0.0])
    middle = np.array([0.0, -CENTRE, 0.0])

    def place(points: np.ndarray) -> np.ndarray:
        moved: np.ndarray = ((points - middle) * who["scale"] + middle + shift).astype(np.float32)
        return moved

    return place
