"""Who is drawn and how they are photographed: the distributions of identity and nuisance factors.

Every draw is a row of one random matrix, so identity i is the same person however many are asked for.
Skin tone, age and gender presentation are independent of each other and of every facial-shape dimension.
"""

from __future__ import annotations

import numpy as np

SHAPES = (
    "face_width", "face_length", "jaw_width", "chin_length", "chin_width", "cheekbones", "cheek_fullness",
    "forehead", "eye_size", "eye_spacing", "eye_tilt", "eye_openness", "brow_height", "brow_thickness",
    "brow_tilt", "brow_arch", "nose_width", "nose_length", "mouth_width", "mouth_height", "lip_fullness",
    "mouth_curve", "ear_size",
)  # fmt: skip
"""Facial-shape dimensions, each standard normal clipped to +-2.2; 0 is the average face."""

HAIR_STYLES = ("bald", "buzz", "short", "curly", "bob", "long", "wavy", "bun")
_STYLE_FEMININE = np.array([0.01, 0.03, 0.08, 0.12, 0.18, 0.24, 0.20, 0.14])
_STYLE_MASCULINE = np.array([0.09, 0.26, 0.44, 0.13, 0.03, 0.02, 0.01, 0.02])


def _pick(uniform: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Category drawn by inverting the cumulative weights (N, K) at `uniform` (N,)."""
    bounds = np.cumsum(weights / weights.sum(-1, keepdims=True), -1)
    chosen: np.ndarray = np.minimum((uniform[:, None] > bounds).sum(-1), weights.shape[-1] - 1)
    return chosen.astype(np.float64)


def _spread(uniform: np.ndarray, levels: int, gap: float) -> np.ndarray:
    """Uniform draws moved away from the `levels - 1` inner borders; the density at a border is 1/(1+gap)."""
    turn = 2 * np.pi * levels
    moved: np.ndarray = uniform + gap * np.sin(turn * uniform) / turn
    return moved


OWN = (
    "gender", "age", "skin", "hair_colour", "hair_volume", "fringe", "parting", "beard_shape", "glasses",
    "frame_tone", "lipstick", "iris", "freckles", "expressivity", "asymmetry", *SHAPES,
)  # fmt: skip
"""Factors with one draw of their own, which they rise with: what a label can be correlated with."""


def identities(count: int, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draw people.

    Args:
        count: number of people N.
        seed: any integer >= 0; person i of a seed is always the same.

    Returns:
        factors name -> (N,), and the standard normal scores of those in `OWN`, name -> (N,): the draw that
        the factor comes from, alone or (hair colour and skin, glasses and age) with others.
    """
    from idfer.synthetic.correlation import normal_cdf

    rng = np.random.default_rng([seed, 1])
    draws = rng.standard_normal((count, 24 + len(SHAPES)))
    normal = iter(draws.T[:24])
    uniform = map(normal_cdf, normal)
    scores: dict[str, np.ndarray] = {}

    def own(name: str) -> np.ndarray:  # the next draw, kept as this factor's score
        scores[name] = next(normal)
        return scores[name]

    for name in ("gender", "age", "skin"):
        own(name)
    gender = 1 / (1 + np.exp(-8.0 * scores["gender"]))  # logit-normal: most faces clear, some in between
    # Like gender presentation, age is sparse near the level borders: most people are clearly of a level.
    age = _spread(normal_cdf(scores["age"]), 3, 0.9)
    # The level borders 4 and 7 cut the scale in thirds: sparse there too.
    skin = 1 + 9 * _spread(normal_cdf(scores["skin"]), 3, 0.5)

    style = _pick(next(uniform), (1 - gender)[:, None] * _STYLE_FEMININE + gender[:, None] * _STYLE_MASCULINE)
    # Lighter skin comes with every natural hair colour, darker skin mostly with black and dark brown.
    light = np.clip((6.5 - skin) / 4.5, 0.08, 1)
    colour = np.clip(4.3 * light * normal_cdf(own("hair_colour")) ** (1.6 - 0.8 * light), 0, 4)
    grey = np.clip((age - 0.42 + 0.08 * next(normal)) / 0.36, 0, 1)
    recession = np.clip(gender * (0.15 + 0.9 * (age - 0.2)) + 0.25 * next(normal) * gender, 0, 1)
    beard = np.where(next(uniform) < 0.58 * np.clip(2 * gender - 0.9, 0, 1), 0.25 + 0.75 * next(uniform), 0.0)
    makeup = np.clip((1.15 - 1.6 * gender) * next(uniform) * (next(uniform) < 0.8), 0, 1)
    iris = np.clip(4.2 * np.clip((6.0 - skin) / 4, 0.1, 1) * normal_cdf(own("iris")) ** 1.2, 0, 4)
    worn = normal_cdf(own("glasses"))
    glasses = _pick(worn, np.stack([0.86 - 0.22 * age, 0.07 + 0.11 * age, 0.07 + 0.11 * age], -1))
    factors = {
        "gender": gender, "age": age, "skin": skin,
        "hair_style": style, "hair_colour": colour, "hair_grey": grey, "hairline": recession,
        "hair_volume": own("hair_volume").clip(-2, 2),
        "fringe": np.clip(normal_cdf(own("fringe")) * 2.2 - 1.2, 0, 1),
        "parting": own("parting").clip(-2, 2), "facial_hair": beard,
        "beard_shape": normal_cdf(own("beard_shape")), "glasses": glasses,
        "frame_tone": normal_cdf(own("frame_tone")), "makeup": makeup,
        "lipstick": normal_cdf(own("lipstick")), "iris": iris,
        "freckles": np.clip(normal_cdf(own("freckles")) * 4 - 3, 0, 1) * np.clip((5 - skin) / 3, 0, 1),
        "expressivity": np.clip(np.exp(0.16 * own("expressivity")), 0.65, 1.4),
        "asymmetry": (0.12 * own("asymmetry")).clip(-0.3, 0.3),
    }  # fmt: skip
    scores |= {name: draws[:, 24 + k] for k, name in enumerate(SHAPES)}
    factors |= {name: scores[name].clip(-2.2, 2.2) for name in SHAPES}
    return factors, scores


def nuisance(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Draw pictures: pose, framing, light, background and what a camera does.

    Args:
        rng: the random stream of the pictures.
        count: number of pictures N.

    Returns:
        factors name -> (N,), in the units that `Factors` documents.
    """
    normal = iter(rng.standard_normal((count, 14)).T)
    uniform = iter(rng.random((count, 18)).T)
    occluded = next(uniform)
    return {
        "yaw": (8.5 * next(normal)).clip(-24, 24), "pitch": (5 * next(normal)).clip(-13, 13),
        "roll": (4 * next(normal)).clip(-12, 12), "shift_x": (0.06 * next(normal)).clip(-0.16, 0.16),
        "shift_y": (0.06 * next(normal)).clip(-0.16, 0.16),
        "scale": np.exp(0.05 * next(normal)).clip(0.88, 1.13),
        "gaze_x": (0.35 * next(normal)).clip(-1, 1), "gaze_y": (0.25 * next(normal)).clip(-1, 1),
        "light_x": (0.45 * next(normal)).clip(-1, 1), "light_y": (-0.45 + 0.25 * next(normal)).clip(-1, 0.3),
        "light_strength": 0.25 + 0.75 * next(uniform), "exposure": (0.03 * next(normal)).clip(-0.08, 0.08),
        "warmth": (0.02 * next(normal)).clip(-0.05, 0.05),
        "background_hue": next(uniform), "background_saturation": 0.38 * next(uniform) ** 1.5,
        "background_value": 0.25 + 0.65 * next(uniform), "background_gradient": 2 * next(uniform) - 1,
        "clothes_hue": next(uniform), "clothes_saturation": 0.6 * next(uniform) ** 1.3,
        "clothes_value": 0.12 + 0.75 * next(uniform),
        "blur": np.clip(1.2 * next(uniform) ** 2 - 0.35, 0, 0.7),
        "noise": 0.004 + 0.022 * next(uniform) ** 2,
        "occlusion": np.where(occluded < 0.06, 1 + np.floor(occluded / 0.06 * 4), 0.0),
        "occlusion_x": 2 * next(uniform) - 1, "occlusion_y": 2 * next(uniform) - 1,
        "jpeg": np.floor(55 + 43 * next(uniform) ** 0.6), "noise_seed": np.floor(next(uniform) * 2**24),
    }  # fmt: skip
