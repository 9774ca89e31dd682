"""Who somebody is in MakeHuman's terms: macros, muscle and weight, details of the face."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from idfer.synthetic.mesh.person import ancestry

_SETS = ("african", "asian", "caucasian")
# shape factor -> targets of its positive side and their strength at one standard deviation
_DETAILS: dict[str, tuple[tuple[str, float], ...]] = {
    "face_width": (("head/head-scale-horiz", 0.22),),
    "face_length": (("head/head-scale-vert", 0.16),),
    "jaw_width": (("chin/chin-bones", 0.30),),
    "chin_length": (("chin/chin-height", 0.28),),
    "chin_width": (("chin/chin-width", 0.35),),
    "cheekbones": (("cheek/cheek-bones", 0.40),),
    "cheek_fullness": (("cheek/cheek-volume", 0.35), ("head/head-fat", 0.18)),
    "forehead": (("forehead/forehead-scale-vert", 0.30),),
    "eye_size": (("eyes/eye-scale", 0.22),),
    "eye_spacing": (("eyes/eye-trans:out:in", 0.28),),
    "eye_tilt": (("eyes/eye-corner1:up:down", 0.35),),
    "eye_openness": (("eyes/eye-height2", 0.20), ("eyes/eye-height3", 0.15)),
    "brow_height": (("eyebrows/eyebrows-trans:up:down", 0.30),),
    "brow_tilt": (("eyebrows/eyebrows-angle:down:up", 0.30),),
    "nose_width": (("nose/nose-width2", 0.25), ("nose/nose-width3", 0.30), ("nose/nose-scale-horiz", 0.2)),
    "nose_length": (("nose/nose-scale-vert", 0.30),),
    "mouth_width": (("mouth/mouth-scale-horiz", 0.28),),
    "mouth_height": (("mouth/mouth-trans:down:up", 0.20),),
    "lip_fullness": (
        ("mouth/mouth-upperlip-volume", 0.28), ("mouth/mouth-lowerlip-volume", 0.28),
        ("mouth/mouth-upperlip-height", 0.20), ("mouth/mouth-lowerlip-height", 0.20),
    ),
    "mouth_curve": (("mouth/mouth-angles:up:down", 0.22),),
    "ear_size": (("ears/ear-scale", 0.30),),
}  # fmt: skip
_WIDER = {"eyes/eye-scale-incr": 0.35, "eyes/eye-height2-incr": 0.45, "eyes/eye-height3-incr": 0.2}
"""The model's eyes are small in every mean: opened to what photographs of people at rest show."""
_FREE = 0.16  # deviation of the details that no factor names
_QUIET = ("head/head-age", "head/head-trans", "neck/", "ears/ear-shape", "eyes/eye-push", "mouth/mouth-trans")


def coefficients(names: tuple[str, ...], who: Mapping[str, float], draws: np.ndarray) -> np.ndarray:
    """How much of each identity target somebody has.

    Args:
        names: (K,) of the asset.
        who: factors of the person.
        draws: standard normal draws of the person, 8 and one for each pair of details.

    Returns:
        (K,) float32.
    """
    of: dict[str, float] = {}
    shares = ancestry(who["skin"], draws[:3])
    gender, old = who["gender"], float(np.clip(who["age"], 0, 1))
    muscle = float(np.clip(0.30 * (gender - 0.5) * 2 + 0.30 * draws[3] - 0.2 * old, -0.8, 0.8))
    weight = float(np.clip(0.22 * who["cheek_fullness"] + 0.38 * draws[4] + 0.05, -0.75, 0.95))
    for sex, of_sex in (("female", 1 - gender), ("male", gender)):
        for years, of_years in (("young", 1 - old), ("old", old)):
            for people, share in zip(_SETS, shares, strict=True):
                of[f"{people}-{sex}-{years}"] = share * of_sex * of_years
            for m, of_m in _three("muscle", muscle):
                for w, of_w in _three("weight", weight):
                    of[f"universal-{sex}-{years}-{m}-{w}"] = of_sex * of_years * of_m * of_w
    of |= _WIDER
    for name, amount in _details(names, who, draws[8:]).items():
        of[name] = of.get(name, 0.0) + amount
    return np.array([of.get(name, 0.0) for name in names], np.float32)


def _three(what: str, value: float) -> tuple[tuple[str, float], ...]:
    """Shares of least, average and most."""
    return (
        (f"min{what}", max(-value, 0.0)),
        (f"average{what}", 1 - abs(value)),
        (f"max{what}", max(value, 0.0)),
    )


def pairs(names: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Details that go two ways: (stem, more, less)."""
    found: list[tuple[str, str, str]] = []
    known = set(names)
    for more, less in (("incr", "decr"), ("up", "down"), ("out", "in"), ("forward", "backward"),
                       ("convex", "concave"), ("uncompress", "compress")):  # fmt: skip
        found += [
            (name[: -len(more) - 1], name, f"{name[: -len(more)]}{less}")
            for name in names
            if "/" in name and name.endswith(f"-{more}") and f"{name[: -len(more)]}{less}" in known
        ]
    return found


def _details(names: tuple[str, ...], who: Mapping[str, float], draws: np.ndarray) -> dict[str, float]:
    amount: dict[str, float] = {}

    def add(more: str, less: str, by: float) -> None:
        chosen = more if by > 0 else less
        amount[chosen] = amount.get(chosen, 0.0) + abs(by)

    for (stem, more, less), draw in zip(pairs(names), draws, strict=False):
        if not stem.startswith(_QUIET):
            add(more, less, float(np.clip(_FREE * draw, -0.4, 0.4)))
    for factor, targets in _DETAILS.items():
        for target, strength in targets:
            stem, _, ways = target.partition(":")
            more, less = ways.split(":") if ways else ("incr", "decr")
            add(f"{stem}-{more}", f"{stem}-{less}", strength * who[factor])
    return amount
