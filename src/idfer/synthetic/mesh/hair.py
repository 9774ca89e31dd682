"""Hair: strands that grow on the scalp of this head, in the eight styles of the drawn engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from idfer.synthetic.colours import HAIR
from idfer.synthetic.mesh.colour import blend, exposure, linear
from idfer.synthetic.mesh.head import Head
from idfer.synthetic.mesh.person import stream
from idfer.synthetic.mesh.surfaces import Surface, normals, part, ribbons, unit

_CENTRE = np.array([0.0, 0.35, -0.85])
# height of the hairline at each angle round the head, 0 in front
_ANGLE = (0.0, 0.45, 0.80, 1.02, 1.15, 1.42, 1.62, 1.95, 2.25, 3.2)
_LINE = (1.06, 1.04, 0.88, 0.50, 0.10, 0.05, 0.50, 0.10, -0.55, -0.70)


@dataclass(frozen=True)
class Style:
    """How hair of a style grows; lengths in units."""

    length: float
    lift: float  # how far it stands off the head
    fall: float  # 0 stands out, 1 falls
    curl: float
    back: float = 0.0  # combed backwards
    width: float = 0.05
    count: int = 1500
    ends: float = -9.0  # height where it is cut


STYLES: tuple[Style | None, ...] = (
    None,  # bald
    Style(0.07, 0.02, 0.3, 0.0, width=0.035, count=2200),  # buzz
    Style(0.42, 0.08, 0.55, 0.1, width=0.036, count=2200),  # short
    Style(0.62, 0.28, 0.15, 1.0, width=0.05, count=2000),  # curly
    Style(2.1, 0.11, 1.0, 0.05, width=0.048, count=2200, ends=-0.85),  # bob
    Style(3.6, 0.10, 1.0, 0.05, width=0.050, count=2200, ends=-2.6),  # long
    Style(3.4, 0.13, 1.0, 0.40, width=0.052, count=2200, ends=-2.3),  # wavy
    Style(1.5, 0.05, 0.3, 0.0, back=1.0, width=0.045, count=1800),  # bun
)
_STEPS = 9


def hairline(points: np.ndarray, who: Mapping[str, float]) -> np.ndarray:
    """(V,) height of a point over the hairline at its side of the head; positive where hair grows."""
    angle = np.arctan2(np.abs(points[:, 0]), points[:, 2] - _CENTRE[2])
    receded = who["hairline"]
    line = np.interp(angle, _ANGLE, _LINE)
    line = line + receded * np.interp(angle, (0, 0.35, 0.62, 0.9, 1.1), (0.12, 0.30, 0.52, 0.40, 0.0))
    line = line + 0.05 * who["forehead"] * (angle < 0.9) * 0.6
    return np.asarray(points[:, 1] - line)


def colour(who: Mapping[str, float]) -> np.ndarray:
    """Colour of the hair, (3,) linear."""
    natural = blend(HAIR, who["hair_colour"])
    grey = np.array([0.76, 0.75, 0.73])
    shown = linear(natural + (grey - natural) * 0.92 * who["hair_grey"])
    return np.asarray(shown * exposure(who) ** (-0.7 * who["hair_grey"]))  # white hair stays below white


def hair(
    head: Head,
    triangles: np.ndarray,
    skin: np.ndarray,
    who: Mapping[str, float],
    tone: np.ndarray,
    dense: float = 1.0,
) -> list[Surface]:
    """The hair of a head, before it is turned.

    Args:
        head: whose.
        triangles: (F, 3) of the whole model.
        skin: (V,) bool, vertices hair can grow on.
        who: factors of the person.
        tone: (3,) colour of the skin, linear.
        dense: how many strands, as a share of the style's count; fewer are wider.
    """
    style = STYLES[int(who["hair_style"])]
    if style is None:
        return []
    rng = stream(who["cohort"], who["identity"], 3)
    over = hairline(head.rest, who)
    ears = (np.abs(head.rest[:, 0]) > 0.98) & (head.rest[:, 1] < 0.42)
    grows = skin & (over > 0) & ~ears
    scalp, used = part(triangles, grows)
    if len(scalp) < 8:
        return []
    points = head.rest[used]
    outward = normals(points, scalp)
    base = colour(who)
    cap = _cap(points, outward, scalp, over[used], base, tone, style, who)
    roots, normal = _roots(points, outward, scalp, int(style.count * dense), rng)
    near = np.clip(hairline(roots, who) / 0.12, 0.25, 1)
    strands, out = _grow(roots, normal, near, style, who, head, rng)
    count = len(roots)
    shade = np.exp((0.15 - 0.04 * who["hair_grey"]) * rng.standard_normal(count))[:, None]
    tint = base * shade * (1 + 0.05 * rng.standard_normal((count, 3)))
    along = np.linspace(0, 1, strands.shape[1])
    darker = (0.68 + 0.32 * np.minimum(1, along / 0.3))[None, :, None]
    taper = np.where(along < 0.75, 1.0, 1 - 0.75 * (along - 0.75) / 0.25)
    width = style.width * dense**-0.55 * np.exp(0.25 * rng.standard_normal(count))[:, None] * taper
    turned = (0.5 + 0.5 * style.curl) * rng.standard_normal(count)
    return [cap, ribbons(strands, width, out, np.clip(tint[:, None] * darker, 0.002, 0.9), turned)]


def _cap(
    points: np.ndarray, outward: np.ndarray, triangles: np.ndarray, over: np.ndarray, base: np.ndarray,
    tone: np.ndarray, style: Style, who: Mapping[str, float],
) -> Surface:  # fmt: skip
    """Dark hair close to the scalp, so that no skin shows between strands."""
    lifted = points + outward * np.clip(over[:, None] * 0.15, 0.004, 0.35 * style.lift + 0.01)
    shown = np.clip(over / 0.14, 0, 1)[:, None]
    colours = tone + ((0.70 + 0.15 * who["hair_grey"]) * base - tone) * shown
    return Surface(lifted.astype(np.float32), triangles, outward, np.ascontiguousarray(colours, np.float32))


def _roots(
    points: np.ndarray, outward: np.ndarray, triangles: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points spread evenly over a surface, and its normals there."""
    corners = points[triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    # more in front, which is seen
    area = area * (1 + 0.8 * (corners[:, :, 2].mean(1) > -1.0))
    bounds = np.cumsum(area / area.sum())
    chosen = triangles[np.minimum(np.searchsorted(bounds, rng.random(count)), len(triangles) - 1)]
    a, b = rng.random((2, count, 1))
    flip = a + b > 1
    a, b = np.where(flip, 1 - a, a), np.where(flip, 1 - b, b)

    def mixed(values: np.ndarray) -> np.ndarray:
        first, second, third = (values[chosen[:, k]] for k in range(3))
        blended: np.ndarray = first + a * (second - first) + b * (third - first)
        return blended

    return mixed(points), unit(mixed(outward))


def _grow(
    roots: np.ndarray, normal: np.ndarray, near: np.ndarray, style: Style, who: Mapping[str, float],
    head: Head, rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Strands (N, S, 3) and the outward normals along them."""
    count = len(roots)
    volume = 1 + 0.15 * who["hair_volume"]
    length = style.length * (0.85 + 0.3 * rng.random(count)) * (0.35 + 0.65 * near) * volume**0.5
    # short steps first, where hair bends over the head
    share = np.linspace(0.55, 1.45, _STEPS - 1)
    share /= share.sum()
    long = style.length > 1 and not style.back
    parting = 0.16 * who["parting"]
    side = np.sign(roots[:, :1] - parting + 0.03 * rng.standard_normal((count, 1)))
    scalp = head.rest[head.rest[:, 1] > 0.9] if (head.rest[:, 1] > 0.9).any() else head.rest
    radius = np.array([np.abs(scalp[:, 0]).max() * 1.02, scalp[:, 1].max() - _CENTRE[1], 1.45])
    stand = style.lift * volume * (0.45 + 0.55 * rng.random((count, 1))) * near[:, None]
    wave = rng.random((count, 3)) * 2 * np.pi
    if style.curl < 0.8:  # locks wave together
        wave = (
            1.5 * np.stack([2.2 * roots[:, 0], roots[:, 0] + roots[:, 2], 2.0 * roots[:, 2]], -1)
            + 0.15 * wave
        )
    knot = np.array([0.0, 1.25, -2.0])
    points, outs = [roots], [normal]
    place, direction = roots.copy(), normal.copy()
    front = np.clip((roots[:, 2:] + 0.75) / 0.5, 0, 1)
    fringe = 0.0 if style.back else who["fringe"] * (1 - who["hairline"])
    bangs = fringe * np.clip((roots[:, 2:] + 0.35) / 0.35, 0, 1) * (np.abs(roots[:, :1]) < 0.62)
    forward = np.array([0.0, 0.0, 1.0])
    ragged = (
        0.40 + 0.12 * np.sin(9 * roots[:, 0]) + 0.07 * rng.standard_normal(count) + 0.25 * roots[:, 0] ** 2
    )
    for k in range(1, _STEPS):
        out = unit((place - _CENTRE) / radius**2)
        high = np.clip((place[:, 1:2] - 0.45) / 0.6, 0, 1)  # over the head, not beside it
        aside = side * np.array([[1.0, 0.0, 0.0]]) * high * (1 - bangs)
        flow = style.fall * np.array([0.0, -1.0, 0.0]) + 1.1 * aside + forward * bangs * high
        flow = flow - 0.45 * forward * front * (1 - bangs) * high
        if style.back:
            flow = unit(knot - place) * 1.2
        flow = unit(flow)
        touching = high if long else 1.0
        flow = flow - out * (flow * out).sum(-1, keepdims=True) * 0.8 * touching
        rise = np.exp(-2.6 * (k - 1) / _STEPS) * (1.1 - 0.85 * min(style.fall, 1.0))
        direction = unit(0.30 * direction + flow + rise * out)
        turned = style.curl * np.sin(
            wave + np.array([2.1, 1.7, 2.6]) * k * (1.2 if style.curl > 0.8 else 0.55)
        )
        direction = unit(direction + 0.85 * turned)
        before = place
        place = place + (share[k - 1] * length)[:, None] * direction
        place = _outside(before, place, radius, stand, bangs, ragged, long)
        if style.ends > -9:
            place[:, 1] = np.maximum(place[:, 1], style.ends + 0.10 * np.sin(wave[:, 0]))
        points.append(place)
        outs.append(unit(0.75 * out + 0.25 * normal))
    return np.stack(points, 1).astype(np.float32), np.stack(outs, 1)


def _outside(
    before: np.ndarray, place: np.ndarray, radius: np.ndarray, stand: np.ndarray, bangs: np.ndarray,
    ragged: np.ndarray, long: bool,
) -> np.ndarray:  # fmt: skip
    """Push points off the head, and hair that falls out of the face."""
    offset = place - _CENTRE
    # the head goes on downwards as a tapering cylinder
    shape = offset.copy()
    shape[:, 1] = np.maximum(shape[:, 1], 0)
    gauge = np.linalg.norm(shape / radius, axis=-1, keepdims=True)
    lacking = np.maximum(0, 1 + stand / radius[0] - gauge)
    moved: np.ndarray = place + unit(shape) * lacking * radius[0]
    if long:
        level = 1.0 - 0.62 * bangs[:, 0]
        low = np.clip((level - moved[:, 1]) / 0.3, 0, 1) * (moved[:, 2] > -0.8) * (bangs[:, 0] < 0.2)
        wide = np.interp(-moved[:, 1], (-1.0, -0.5, 0.0, 0.6, 1.3, 2.0), (0.55, 0.82, 0.90, 0.86, 0.80, 0.95))
        side = np.where(moved[:, 0] >= 0, 1.0, -1.0)
        need = np.maximum(0, wide - np.abs(moved[:, 0])) * low
        moved[:, 0] += side * need
        moved[:, 2] -= 0.8 * need
        cut = (bangs[:, 0] >= 0.2) & (moved[:, 1] < ragged)
        moved = np.where(cut[:, None], before, moved)
    return moved


def beard(
    head: Head, triangles: np.ndarray, skin: np.ndarray, canonical: np.ndarray, who: Mapping[str, float],
    dense: float = 1.0,
) -> list[Surface]:  # fmt: skip
    """Strands of a beard on the face as it moves; [] for none, stubble or a mask over it."""
    if who["facial_hair"] < 0.4 or int(who["occlusion"]) == 1:  # under a mask
        return []
    rng = stream(who["cohort"], who["identity"], 4)
    density = _bearded(canonical, who)
    area, used = part(triangles, skin & (density > 0.25) & (head.rest[:, 2] > -0.9))
    if len(area) < 8:
        return []
    points = head.points[used]
    outward = normals(points, area)
    length = 0.03 + 0.22 * (who["facial_hair"] - 0.4)
    roots, normal = _roots(points, outward, area, int(1500 * dense), rng)
    near = np.abs(roots[:, 0]) < 0.42
    moustache = near & (roots[:, 1] > head.marks[5, 1] - 0.02)  # over the upper lip
    down = np.where(moustache[:, None], [0.0, -0.35, 0.1], [0.0, -1.0, 0.05])
    aside = np.where(moustache, 0.9 * np.sign(roots[:, 0]), 0.25 * roots[:, 0])
    flow = unit(down + aside[:, None] * [1.0, 0, 0] + 0.55 * normal + 0.30 * rng.standard_normal(roots.shape))
    grown = length * np.where(moustache, 0.45, 1.0) * np.exp(0.25 * rng.standard_normal(len(roots)))
    strands = np.stack(
        [roots + t * grown[:, None] * flow + 0.02 * normal * np.sin(t * 2) for t in (0.0, 0.5, 1.0)], 1
    )
    tint = colour(who) * np.exp(0.25 * rng.standard_normal((len(roots), 1))) * np.array([1.0, 0.92, 0.86])
    width = 0.028 * dense**-0.7 * np.array([1.0, 0.9, 0.4]) * np.ones((len(roots), 1))
    out = np.broadcast_to(normal[:, None], strands.shape)
    return [ribbons(strands, width, out, np.clip(tint, 0.002, 0.9), rng.standard_normal(len(roots)))]


def _bearded(canonical: np.ndarray, who: Mapping[str, float]) -> np.ndarray:
    """(V,) 0..1 where a beard of this shape grows, in the drawn engine's plane."""
    x, y = np.abs(canonical[:, 0]), canonical[:, 1]
    over = (y - 0.60 - 0.35 * x * x) / 0.075
    moustache = np.clip(1.4 - over**2, 0, 1) * (x < 0.40)
    chin = np.clip(1.6 - (x / 0.36) ** 2 - ((y - 1.12) / 0.30) ** 2, 0, 1)
    beside = np.clip(1.4 - ((x - 0.44) / 0.09) ** 2, 0, 1) * (y > 0.62) * (y < 1.1)
    edge = 0.92 - 1.3 * np.maximum(x - 0.40, 0)
    jaw = np.clip((y - edge) * 4 + 0.3, 0, 1) * (y > -0.05) * (x < 1.25) * (who["beard_shape"] > 0.35)
    lips = (y > 0.66) * (y < 0.88) * (x < 0.36)
    return np.asarray(np.maximum.reduce([moustache, chin, beside, jaw]) * (1 - lips) * (y < 1.62))
