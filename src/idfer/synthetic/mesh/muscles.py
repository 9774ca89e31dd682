"""From action units to the expression shapes of each model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

ICT: dict[int, dict[str, float]] = {
    1: {"browInnerUp": 1.0},
    2: {"browOuterUp": 1.0},
    4: {"browDown": 1.2, "noseSneer": 0.25},
    5: {"eyeWide": 1.0},
    6: {"cheekSquint": 1.0, "cheekRaiser": 0.6, "eyeSquint": 0.25},
    7: {"eyeSquint": 0.75, "eyeBlink": 0.05},
    9: {"noseSneer": 1.0, "browDown": 0.15},
    10: {"mouthUpperUp": 0.7, "noseSneer": 0.2},
    12: {"mouthSmile": 0.95, "mouthDimple": 0.12},
    15: {"mouthFrown": 1.0},
    16: {"mouthLowerDown": 0.9},
    17: {"mouthShrugLower": 0.85, "mouthShrugUpper": 0.3},
    20: {"mouthStretch": 0.9},
    23: {"mouthPress": 0.4, "mouthRollLower": 0.3, "mouthRollUpper": 0.3, "mouthPucker": 0.12},
    24: {"mouthPress": 0.9},
    25: {"mouthLowerDown": 0.38, "mouthUpperUp": 0.24, "jawOpen": 0.07},
    26: {"jawOpen": 0.62},
    43: {"eyeBlink": 0.86},
}
"""AU -> ARKit-style shapes, both sides where they have two."""

MAKEHUMAN: dict[int, dict[str, float]] = {
    1: {"eyebrows-*-inner-up": 2.3, "eyebrows-*-up": 0.20},
    2: {"eyebrows-*-extern-up": 0.10, "eyebrows-*-up": 0.80},
    4: {"eyebrows-*-down": 1.2, "nose-*-elevation": 0.2},
    5: {"eye-*-opened-up": 1.3},
    6: {"eye-*-slit": 0.28},
    7: {"eye-*-slit": 0.60},
    9: {"nose-*-elevation": 1.2, "nose-*-dilatation": 0.5, "eyebrows-*-down": 0.2},
    10: {"mouth-elevation": 0.6, "nose-*-dilatation": 0.3},
    12: {"mouth-corner-puller": 0.85, "mouth-retraction": 0.35},
    15: {"mouth-corner-puller": -0.55, "mouth-depression": 0.30},
    16: {"mouth-part-later": 0.5},
    17: {"mouth-depression": 0.15, "mouth-eversion": 0.2},
    20: {"mouth-retraction": 1.0},
    23: {"mouth-eversion": -0.45, "mouth-pursing": 0.12},
    24: {"mouth-eversion": -0.55},
    25: {"mouth-parling": 0.9, "mouth-open": 0.06},
    26: {"mouth-open": 0.50},
    43: {"eye-*-closure": 0.88},
}
"""AU -> MakeHuman's expression units; * is left and right. AU6 has none: `cheeks` raises them."""

_TOOTHY, _LAUGH, _FROWN = 1225, 1226, 401
MAKEHUMAN[_TOOTHY] = {"mouth-upward-retraction": 0.35, "mouth-part-later": 0.10, "mouth-parling": -0.3}
MAKEHUMAN[_LAUGH] = {"mouth-retraction": 0.7, "mouth-open": -0.12}
ICT[_FROWN], MAKEHUMAN[_FROWN] = {"browInnerUp": -0.8}, {"eyebrows-*-inner-up": -0.8}


def weights(
    kind: str, names: tuple[str, ...], units: Mapping[int, float], style: np.ndarray | None = None
) -> np.ndarray:
    """How much of each expression shape of a model the action units call for.

    Args:
        kind: "makehuman" or "ict".
        names: (E,) of the asset.
        units: AU -> intensity, 0 to 1.
        style: (E,) standard normal draws of the person: how strongly her own face moves in each shape.

    Returns:
        (E,) float32.
    """
    table = MAKEHUMAN if kind == "makehuman" else ICT
    units = dict(units)
    # both models lower the middle of a brow most; AU4 lowers its inner end unless AU1 holds that up
    units[_FROWN] = units.get(4, 0.0) * (1 - units.get(1, 0.0))
    if kind == "makehuman":  # its parted lips hide the teeth that a smile shows
        units[_TOOTHY] = units.get(12, 0.0) * units.get(25, 0.0)
        units[_LAUGH] = units.get(12, 0.0) * units.get(26, 0.0)  # an open mouth is narrow, but in laughter
    total: dict[str, float] = {}
    for au, intensity in units.items():
        for shape, share in table.get(au, {}).items():
            for name in _sides(kind, shape):
                total[name] = total.get(name, 0.0) + share * intensity
    # MakeHuman's inner brow hardly moves: AU1 calls for more than all of it, or sadness would frown
    most = np.array([2.3 if name.endswith("inner-up") else 1.3 for name in names], np.float32)
    found = np.array([total.get(name, 0.0) for name in names], np.float32).clip(-0.8, most)
    if style is not None:
        found *= np.exp(0.12 * style[: len(names)].clip(-2, 2)).astype(np.float32)
    return found


def _sides(kind: str, shape: str) -> tuple[str, ...]:
    if kind == "makehuman":
        return tuple(shape.replace("*", side) for side in ("left", "right")) if "*" in shape else (shape,)
    return (f"{shape}_L", f"{shape}_R", shape)
