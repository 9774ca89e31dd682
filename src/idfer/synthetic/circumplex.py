"""The one map from (valence, arousal) to facial action units (AUs).

Each emotion is an anchor in the pleasure-arousal-dominance space of Russell & Mehrabian (1977, "Evidence for
a three-factor theory of emotions", J. Res. Pers. 11) and a prototype of AU intensities (Ekman & Friesen's
Facial Action Coding System, FACS). Between the anchors, AU intensities are a kernel-weighted mean
(Nadaraya-Watson) of the prototypes:

    AU(p) = sum_e w_e(p) P_e / sum_e w_e(p),    w_e(p) = exp(-(dv^2 + da^2 + kappa dd^2) / (2 tau^2)),

smooth over the whole plane. Valence and arousal alone do not tell anger from fear (their anchors nearly
coincide), so the third coordinate, dominance, is drawn per image, independent of both labels: the same label
can show either face, as on real faces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

AUS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 16, 17, 20, 23, 24, 25, 26, 43)
"""Action units drawn: 1 inner and 2 outer brow raiser, 4 brow lowerer, 5 upper lid raiser, 6 cheek raiser,
7 lid tightener, 9 nose wrinkler, 10 upper lip raiser, 12 lip corner puller, 15 lip corner depressor, 16 lower
lip depressor, 17 chin raiser, 20 lip stretcher, 23 lip tightener, 24 lip pressor, 25 lips part, 26 jaw drop,
43 eye closure."""

ANCHORS: dict[str, tuple[float, float, float]] = {
    # Russell & Mehrabian 1977: valence, arousal, dominance
    "happy": (0.81, 0.51, 0.46),
    "sad": (-0.63, -0.27, -0.33),
    "angry": (-0.51, 0.59, 0.25),
    "fearful": (-0.64, 0.60, -0.43),
    "disgusted": (-0.60, 0.35, 0.11),
    "surprised": (0.40, 0.67, -0.13),
    # [ours]: the corners and the low-arousal half, which those six leave empty
    "neutral": (0.0, 0.0, 0.0),
    "alert": (0.0, 0.45, 0.0),
    "astonished": (0.05, 0.95, 0.0),
    "elated": (0.90, 0.95, 0.30),
    "furious": (-0.85, 0.95, 0.50),
    "terrified": (-0.85, 0.95, -0.50),
    "pleased": (0.55, 0.05, 0.1),
    "content": (0.75, -0.35, 0.1),
    "serene": (0.70, -0.90, 0.0),
    "drowsy": (0.0, -0.90, 0.0),
    "calm": (0.0, -0.45, 0.0),
    "displeased": (-0.45, 0.0, 0.2),
    "miserable": (-0.90, -0.15, -0.2),
    "bored": (-0.65, -0.85, 0.0),
}

PROTOTYPES: dict[str, dict[int, float]] = {
    "happy": {6: 0.8, 12: 0.95, 25: 0.7},
    "sad": {1: 0.8, 4: 0.5, 15: 0.75, 17: 0.4, 43: 0.2},
    "angry": {4: 1.0, 5: 0.5, 7: 0.6, 10: 0.2, 23: 0.8, 24: 0.6, 17: 0.4},
    "fearful": {1: 0.9, 2: 0.5, 4: 0.6, 5: 0.9, 20: 0.9, 25: 0.6, 26: 0.3},
    "disgusted": {9: 0.9, 10: 0.7, 15: 0.5, 17: 0.5, 4: 0.5, 7: 0.4},
    "surprised": {1: 0.8, 2: 0.8, 5: 0.7, 25: 0.7, 26: 0.6, 12: 0.25},
    "neutral": {},
    "alert": {1: 0.25, 2: 0.35, 5: 0.4, 25: 0.15},
    "astonished": {1: 1.0, 2: 1.0, 5: 1.0, 25: 0.9, 26: 0.95},
    "elated": {1: 0.4, 2: 0.5, 5: 0.3, 6: 0.9, 12: 1.0, 25: 1.0, 26: 0.75},
    "furious": {4: 1.0, 5: 0.8, 7: 0.7, 9: 0.4, 10: 0.7, 16: 0.7, 20: 0.4, 25: 1.0, 26: 0.35},
    "terrified": {1: 1.0, 2: 0.6, 4: 0.7, 5: 1.0, 15: 0.2, 20: 0.9, 25: 1.0, 26: 0.75},
    "pleased": {6: 0.3, 12: 0.6},
    "content": {6: 0.4, 12: 0.65, 43: 0.3},
    "serene": {6: 0.3, 12: 0.5, 43: 0.65},
    "drowsy": {43: 0.65},
    "calm": {43: 0.2},
    "displeased": {4: 0.35, 15: 0.35, 24: 0.3, 7: 0.2},
    "miserable": {1: 1.0, 4: 0.7, 15: 1.0, 17: 0.7, 7: 0.2, 20: 0.2},
    "bored": {15: 0.55, 17: 0.2, 24: 0.2, 43: 0.6},
}

TAU = 0.20  # kernel width [ours]: prototypes stay recognisable at their anchors and blend between them
KAPPA = 0.8  # weight of dominance in the distance [ours]


def action_units(
    valence: np.ndarray,
    arousal: np.ndarray,
    dominance: np.ndarray | float = 0.0,
    anchors: Mapping[str, tuple[float, float, float]] = ANCHORS,
    prototypes: Mapping[str, Mapping[int, float]] = PROTOTYPES,
) -> dict[int, np.ndarray]:
    """AU intensities of a point of the circumplex.

    Args:
        valence: (N,) in [-1, 1].
        arousal: (N,) in [-1, 1].
        dominance: (N,) or a number in [-1, 1]; tells anger (positive) from fear (negative).
        anchors: emotion -> (valence, arousal, dominance); sources disagree, so it can be changed.
        prototypes: emotion -> {AU: intensity in [0, 1]}; the same emotions as `anchors`.

    Returns:
        AU number -> (N,) float64 intensity in [0, 1], for every AU of `AUS`.
    """
    weight = weights(valence, arousal, dominance, anchors)
    blended = weight @ intensities([prototypes[e] for e in anchors])
    return {au: blended[:, k] for k, au in enumerate(AUS)}


def intensities(ways: Sequence[Mapping[int, float]]) -> np.ndarray:
    """(W, A) intensity of every AU of `AUS` in W ways to show something."""
    return np.array([[way.get(au, 0.0) for au in AUS] for way in ways])


def weights(
    valence: np.ndarray,
    arousal: np.ndarray,
    dominance: np.ndarray | float = 0.0,
    anchors: Mapping[str, tuple[float, float, float]] = ANCHORS,
) -> np.ndarray:
    """(N, E) share of each emotion at N points of the circumplex; rows sum to 1. As `action_units`."""
    point = np.stack(np.broadcast_arrays(valence, arousal, dominance), -1).astype(np.float64)
    centre = np.array([anchors[e] for e in anchors], np.float64)
    scale = np.array([1.0, 1.0, KAPPA])
    distance = ((point[:, None] - centre) ** 2 * scale).sum(-1)
    distance -= distance.min(-1, keepdims=True)  # so that far corners do not underflow
    weight: np.ndarray = np.exp(-distance / (2 * TAU**2))
    weight /= weight.sum(-1, keepdims=True)
    return weight
