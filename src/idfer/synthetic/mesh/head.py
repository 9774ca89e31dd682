"""The surface of one face: who it is, what it shows, and how the head is turned."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from idfer.synthetic.circumplex import AUS
from idfer.synthetic.mesh import landmarks, muscles, shape_ict, shape_makehuman
from idfer.synthetic.mesh.asset import PARTS, FaceAsset
from idfer.synthetic.mesh.landmarks import EYES_Y, NAMES
from idfer.synthetic.mesh.person import ancestry, stream
from idfer.synthetic.mesh.rims import rims
from idfer.synthetic.mesh.surfaces import pieces

_NOTHING = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Head:
    """A face in canonical units, y up, 0 as in the drawn engine; before the head is turned.

    Attributes:
        rest: (V, 3) without expression.
        points: (V, 3) with it.
        eyes: (2, 3) centres of the eyeballs, left first.
        eye_radius: of the eyeballs.
        marks: (len(NAMES), 3) landmarks, with the expression.
        rest_marks: (len(NAMES), 3) landmarks at rest.
    """

    rest: np.ndarray
    points: np.ndarray
    eyes: np.ndarray
    eye_radius: float
    marks: np.ndarray
    rest_marks: np.ndarray


class Model:
    """An asset, ready to be shaped: what does not depend on who is shown is computed once."""

    def __init__(self, asset: FaceAsset) -> None:
        self.asset = asset
        self._identity = asset.identity.reshape(len(asset.identity), -1)
        self._expression = asset.expression.reshape(*asset.expression.shape[:2], -1)
        eyes = asset.parts == PARTS.index("eyes")
        self._left = eyes & (asset.neutral[:, 0] > 0)
        self._right = eyes & (asset.neutral[:, 0] < 0)
        self._modes = asset.identity[:, asset.points68]
        average = self._average()
        at = landmarks.frame(self._eyes(average)[0], average[asset.landmarks])
        self.average = at.place(average)
        self.canonical = landmarks.texture_place(self.average, self.average[asset.landmarks])
        corners = self.canonical[self.asset.landmarks, 0]
        self.mouth_half = float(corners[NAMES.index("mouth_left")] - corners[NAMES.index("mouth_right")]) / 2
        self.interior = _inside(self)
        centres, radius = self._eyes(average)
        self.rims = rims(
            self.average, (asset.parts == 0) & ~self.interior, at.place(centres), radius / at.unit
        )

    @cached_property
    def sparse(self) -> Model:
        """The same head as its landmarks and eyes alone: a hundred times less to shape."""
        kept = np.union1d(self.asset.landmarks, np.flatnonzero(self._left | self._right))
        few = copy(self)
        few.asset = replace(
            self.asset,
            neutral=self.asset.neutral[kept],
            triangles=np.zeros((0, 3), np.int64),
            parts=self.asset.parts[kept],
            landmarks=np.searchsorted(kept, self.asset.landmarks),
        )
        few._identity = np.ascontiguousarray(self.asset.identity[:, kept]).reshape(len(self._identity), -1)
        expression = np.ascontiguousarray(self.asset.expression[:, :, kept])
        few._expression = expression.reshape(*expression.shape[:2], -1)
        few._left, few._right = self._left[kept], self._right[kept]
        few.__dict__["_arches"] = (_NOTHING, _NOTHING)  # its teeth are not kept
        few.canonical = self.canonical[kept]
        return few

    def head(self, who: Mapping[str, float]) -> Head:
        """The face of a row of factors, by name."""
        rest = self._shaped(who)
        radius_of = self._eyes(rest)
        at = landmarks.frame(radius_of[0], rest[self.asset.landmarks])
        moved = rest + self._moves(who, at.unit)
        placed, shown = at.place(rest), at.place(moved)
        shown += self._cheeks(placed, who)
        self._bite(shown, placed, who)
        eyes = at.place(radius_of[0])
        return Head(
            rest=placed,
            points=shown,
            eyes=eyes,
            eye_radius=float(radius_of[1] / at.unit),
            marks=shown[self.asset.landmarks],
            rest_marks=placed[self.asset.landmarks],
        )

    def _shaped(self, who: Mapping[str, float]) -> np.ndarray:
        asset = self.asset
        draws = stream(who["cohort"], who["identity"], 1).standard_normal(400)
        if asset.kind == "ict":
            found = shape_ict.coefficients(self._modes, who, draws)
        else:
            found = shape_makehuman.coefficients(asset.identity_names, who, draws)
        used = np.flatnonzero(found)
        offset = found[used] @ self._identity[used]
        shaped: np.ndarray = asset.neutral + offset.reshape(-1, 3)
        return shaped

    def _moves(self, who: Mapping[str, float], unit: float) -> np.ndarray:
        """Offsets (V, 3) of the expression, in the model's lengths."""
        asset = self.asset
        units = {au: who[f"au{au}"] for au in AUS}
        age = float(np.clip(who["age"], 0, 1))
        units[43] = min(1.0, units[43] + 0.05 * age)  # lids sink with age
        if asset.kind == "ict":
            units[15] = min(1.0, units[15] + 0.12 * age)
        style = stream(who["cohort"], who["identity"], 2).standard_normal(64)
        amount = muscles.weights(asset.kind, asset.expression_names, units, style)
        used = np.flatnonzero(amount)
        if asset.kind == "makehuman":
            draws = stream(who["cohort"], who["identity"], 1).standard_normal(3)
            shares = ancestry(who["skin"], draws).astype(np.float32)
            offset = np.einsum("s,e,sev->v", shares, amount[used], self._expression[:, used], optimize=True)
        else:
            offset = amount[used] @ self._expression[0, used]
        field = offset.reshape(-1, 3)
        side = np.tanh(1.5 * asset.neutral[:, :1] / unit)
        moved: np.ndarray = field * (1 + 0.8 * who["lopsided"] * side)
        return moved

    def _cheeks(self, rest: np.ndarray, who: Mapping[str, float]) -> np.ndarray:
        """AU6 raises the cheeks and AU12 rounds them, where the model has no shape of its own for it."""
        if self.asset.kind == "ict":
            return np.zeros_like(rest)
        x, y = np.abs(self.canonical[:, 0]), self.canonical[:, 1]
        bump = np.clip(1 - ((x - 0.50) / 0.34) ** 2 - ((y - 0.26) / 0.30) ** 2, 0, 1) ** 2
        bump = bump * (self.asset.parts == 0)
        lift = 0.6 * who["au6"] + 0.4 * who["au12"]
        return np.asarray(bump[:, None] * lift * np.array([0.0, 0.055, 0.075]), np.float32)

    def _bite(self, points: np.ndarray, rest: np.ndarray, who: Mapping[str, float]) -> None:
        """Hang MakeHuman's teeth, which lie high and deep, where teeth are: the edge a little below the lip.

        Its lips rise less than they do in a smile, so there the upper teeth come down a little. And what
        lines its mouth lies too close behind the lips: it would show through thin ones that are drawn up.
        """
        upper, lower = self._arches
        if not len(upper):
            return
        points[self.interior, 2] -= 0.06
        lip = rest[self.asset.landmarks[NAMES.index("lip_upper_inner")]]
        smile = who["au12"]
        for arch, edge, depth in (
            (upper, -0.03 - 0.06 * smile, 0.06 + 0.025 * smile),  # a smile draws the lips back
            (lower, -0.10 * smile, 0.12),
        ):
            aside = np.abs(rest[arch, 0])
            front = rest[arch[aside <= max(0.15, float(aside.min()))]]
            reach = front[:, 1].min() if arch is upper else front[:, 1].max()
            points[arch] += np.array(
                [0, lip[1] + edge - reach, lip[2] - depth - front[:, 2].max()], np.float32
            )

    @cached_property
    def _arches(self) -> tuple[np.ndarray, np.ndarray]:
        """Vertices of MakeHuman's upper and lower teeth; none where they are not two pieces."""
        if self.asset.kind == "ict":
            return _NOTHING, _NOTHING
        teeth = np.flatnonzero(self.asset.parts == PARTS.index("teeth"))
        piece = pieces(self.asset.triangles, len(self.asset.parts))[teeth]
        arches = [teeth[piece == number] for number in np.unique(piece)]
        arches.sort(key=lambda vertices: -float(self.average[vertices, 1].mean()))
        return (arches[0], arches[1]) if len(arches) == 2 else (_NOTHING, _NOTHING)

    def _eyes(self, points: np.ndarray) -> tuple[np.ndarray, float]:
        """Centres (2, 3), left first, and radius of the eyeballs: balls fitted to the vertices."""
        balls = [_ball(points[chosen]) for chosen in (self._left, self._right)]
        centres = np.stack([ball[0] for ball in balls])
        return centres, float(np.mean([ball[1] for ball in balls]))

    def _average(self) -> np.ndarray:
        neutral = self.asset.neutral
        if self.asset.kind == "ict":
            return neutral
        young = [k for k, n in enumerate(self.asset.identity_names) if n.endswith("male-young")]
        average: np.ndarray = neutral + self.asset.identity[young].mean(0)
        return average


def _ball(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and radius of the ball nearest to points: |p|^2 = 2 p.c + (r^2 - c^2), by least squares."""
    matrix = np.concatenate([2 * points, np.ones((len(points), 1))], 1).astype(np.float64)
    found = np.linalg.lstsq(matrix, (points.astype(np.float64) ** 2).sum(1), rcond=None)[0]
    centre = found[:3]
    return centre.astype(np.float32), float(np.sqrt(max(found[3] + centre @ centre, 1e-12)))


def _inside(model: Model) -> np.ndarray:
    """(V,) bool: skin behind the lips, of the average face, that is the inside of the mouth."""
    points, parts = model.average, model.asset.parts
    lips = dict(zip(NAMES, points[model.asset.landmarks], strict=True))
    top, bottom = lips["lip_top"][1] + 0.1, lips["lip_bottom"][1] - 0.35
    corner = lips["mouth_left"][0]
    wide = corner + 0.12
    near = (parts == 0) & (np.abs(points[:, 0]) < wide) & (points[:, 1] < top) & (points[:, 1] > bottom)
    cell = 0.05
    keys = np.round(points[:, :2] / cell).astype(int)
    front: dict[tuple[int, int], float] = {}
    for (i, j), z in zip(keys[near], points[near, 2], strict=True):
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                front[i + di, j + dj] = max(front.get((i + di, j + dj), -9.0), float(z))
    deepest = lips["mouth_left"][2] - 1.3
    hidden = np.zeros(len(points), bool)
    for k in np.flatnonzero(near):
        z = float(points[k, 2])
        behind = deepest < z < front[int(keys[k, 0]), int(keys[k, 1])] - 0.13
        at_corner = abs(points[k, 0]) > 0.85 * corner and z > lips["mouth_left"][2] - 0.15
        hidden[k] = behind and not at_corner  # whose skin would be dark
    return hidden


def turn(points: np.ndarray, who: Mapping[str, float], pivot: np.ndarray, rigid: bool = False) -> np.ndarray:
    """Turn the head by yaw, pitch and roll, bending the neck.

    Args:
        points: (V, 3) canonical, y up.
        who: factors with yaw, pitch, roll in degrees.
        pivot: (3,) the point that does not move.
        rigid: True for what belongs to the head as a whole (eyes, glasses).
    """
    matrix = rotation(who["yaw"], who["pitch"], who["roll"])
    turned = (points - pivot) @ matrix.T + pivot
    if rigid:
        return np.asarray(turned, np.float32)
    # the neck follows less the lower it is
    share = np.clip((points[:, 1] + 2.35) / 0.95, 0, 1)[:, None]
    share = share * share * (3 - 2 * share)
    return np.asarray(points + share * (turned - points), np.float32)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3); yaw > 0 turns to image right, pitch > 0 looks down, roll > 0 is clockwise in the image."""
    a, b, c = np.deg2rad([yaw, pitch, -roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    matrix: np.ndarray = about_z @ about_y @ about_x
    return matrix


__all__ = ["EYES_Y", "Head", "Model", "rotation", "turn"]
