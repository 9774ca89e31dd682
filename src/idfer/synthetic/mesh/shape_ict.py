"""Who somebody is in the modes of ICT FaceKit, which have no names: measures of the face, met by the modes.

A measure is a difference of landmarks' coordinates, so it is linear in the modes' coefficients c ~ N(0, I).
Divided by its deviation over that population it is a z-score, like the drawn engine's shape factors. Random
coefficients are then moved, by the smallest change there is, to where the measures are what the factors say:

    c' = c + M^T (M M^T + lambda I)^-1 (target - M c).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from idfer.synthetic.mesh.person import ancestry

# measure -> (axis, {one of the 68 points: weight})
MEASURES: dict[str, tuple[int, dict[int, float]]] = {
    "face_width": (0, {16: 1, 0: -1}),
    "face_length": (1, {27: 1, 8: -1}),
    "jaw_width": (0, {12: 1, 4: -1}),
    "chin_width": (0, {10: 1, 6: -1}),
    "chin_length": (1, {57: 1, 8: -1}),
    "eye_size": (0, {45: 1, 42: -1, 36: -1, 39: 1}),
    "eye_spacing": (0, {42: 1, 39: -1}),
    "eye_tilt": (1, {45: 1, 42: -1, 36: 1, 39: -1}),
    "eye_openness": (1, {43: 1, 44: 1, 47: -1, 46: -1, 37: 1, 38: 1, 41: -1, 40: -1}),
    "brow_height": (1, {19: 1, 24: 1, 37: -1, 44: -1}),
    "brow_ridge": (2, {19: 1, 24: 1, 36: -1, 45: -1}),
    "nose_width": (0, {35: 1, 31: -1}),
    "nose_length": (1, {27: 1, 33: -1}),
    "nose_bridge": (2, {27: 1, 28: 1, 36: -1, 45: -1}),
    "nose_tip": (2, {30: 1, 33: 1, 31: -1, 35: -1}),
    "mouth_width": (0, {54: 1, 48: -1}),
    "mouth_height": (1, {33: 1, 51: -1}),
    "lip_fullness": (1, {51: 1, 62: -1, 66: 1, 57: -1}),
    "lips_forward": (2, {51: 1, 57: 1, 8: -2}),
}
_MASCULINE = {
    "face_length": 0.5, "jaw_width": 0.9, "chin_width": 0.9, "chin_length": 0.6, "eye_size": -0.4,
    "eye_openness": -0.6, "brow_height": -0.9, "brow_ridge": 1.1, "nose_width": 0.5, "nose_length": 0.4,
    "lip_fullness": -0.7, "mouth_width": 0.4, "face_width": 0.3,
}  # fmt: skip
_OLD = {
    "lip_fullness": -1.3, "eye_openness": -0.9, "nose_length": 0.9, "nose_width": 0.5, "brow_height": -0.6,
    "chin_width": 0.5, "mouth_width": 0.4, "eye_tilt": -0.6, "lips_forward": -0.5,
}  # fmt: skip
_PEOPLE: tuple[dict[str, float], ...] = (  # African, Asian, Caucasian
    {"nose_width": 1.5, "lip_fullness": 1.5, "lips_forward": 1.2, "nose_bridge": -0.8, "nose_tip": -0.5},
    {"nose_bridge": -1.3, "face_width": 0.6, "eye_openness": -0.7, "brow_ridge": -0.8, "eye_tilt": 0.6},
    {"nose_bridge": 1.0, "nose_width": -0.7, "nose_tip": 0.5, "lip_fullness": -0.5, "brow_ridge": 0.3},
)
_OWN = 0.75  # share of the shape factors in the measures
_LAMBDA = 0.1


def coefficients(modes: np.ndarray, who: Mapping[str, float], draws: np.ndarray) -> np.ndarray:
    """Coefficients (K,) of a person.

    Args:
        modes: (K, 68, 3) what the modes do to the 68 points.
        who: factors of the person.
        draws: standard normal draws of the person, 3 for ancestry and K.
    """
    measure = np.stack(
        [sum(w * modes[:, point, axis] for point, w in points.items()) for axis, points in MEASURES.values()]
    )
    measure /= np.linalg.norm(measure, axis=1, keepdims=True) + 1e-9
    shares = ancestry(who["skin"], draws[:3])
    target = np.array(
        [
            _OWN * who.get(name, 0.0)
            + 1.1 * (2 * who["gender"] - 1) * _MASCULINE.get(name, 0.0)
            + float(np.clip(who["age"], 0, 1)) * _OLD.get(name, 0.0)
            + 1.2 * sum(s * of.get(name, 0.0) for s, of in zip(shares, _PEOPLE, strict=True))
            for name in MEASURES
        ]
    )
    random = 0.75 * draws[3 : 3 + len(modes)].clip(-2.2, 2.2)
    gram = measure @ measure.T + _LAMBDA * np.eye(len(measure))
    met: np.ndarray = random + measure.T @ np.linalg.solve(gram, target - measure @ random)
    return met.clip(-2.8, 2.8).astype(np.float32)
