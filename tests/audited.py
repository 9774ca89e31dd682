"""Small audits that several tests share."""

from __future__ import annotations

from typing import Any

import numpy as np

from idfer.auditing.engine import AuditSettings
from idfer.auditing.sample import Attribute, Sample


def quick(**given: Any) -> AuditSettings:
    """Settings without probes, and few permutations."""
    plain: dict[str, Any] = {"permutations": 199, "probes": (), "verification": False, "information": False}
    return AuditSettings(**{**plain, **given})


def faces(
    people: int = 120,
    rows: int = 5,
    *,
    bias: float = 0.0,
    noise: float = 1.0,
    happier: float = 0.0,
    seed: int = 0,
    soft: float | None = None,
    varying: bool = False,
    subjects: bool = True,
    features: bool = False,
) -> Sample:
    """Predictions of two genders and three ages; `bias`, `noise` and `happier` concern women's valence.

    Args:
        people: how many, half of them women, ages 50, 30 and 20 %.
        rows: of each.
        bias: added to predictions.
        noise: factor of the error.
        happier: added to labels.
        seed: of everything.
        soft: how noisy a classifier's probabilities of gender are; None gives the level.
        varying: adds `glasses`, which people put on and off.
        subjects: whether it is known who is who.
        features: adds features that hold the gender.
    """
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), rows)
    gender = np.arange(people) % 2
    age = np.searchsorted([0.5, 0.8], (np.arange(people) // 2) / (people / 2), side="right")
    woman = gender[who] == 0
    state = 0.2 * rng.normal(size=(people, 2))[who] + 0.4 * rng.normal(size=(len(who), 2))
    state[woman, 0] += happier
    label = np.tanh(state)
    error = 0.06 * rng.normal(size=(people, 2))[who] + 0.15 * rng.normal(size=(len(who), 2))
    error[woman, 0] *= noise
    predicted = 0.8 * label + error
    predicted[woman, 0] += bias
    posterior = np.eye(2)[gender[who]]
    if soft is not None:
        score = np.exp(2 * posterior + soft * rng.normal(size=posterior.shape))
        posterior = score / score.sum(axis=1, keepdims=True)
    attributes = [
        Attribute("gender", ("women", "men"), posterior, soft is not None, "CLIP" if soft else "given"),
        Attribute("age", ("young", "middle", "old"), np.eye(3)[age[who]], False, "given", ordered=True),
    ]
    if varying:
        on = rng.random(len(who)) < 0.4
        attributes.append(Attribute("glasses", ("no", "yes"), np.eye(2)[on.astype(int)], False, "given"))
    held = np.concatenate([np.eye(2)[gender[who]], rng.normal(size=(len(who), 3))], axis=1)
    return Sample(
        key=np.array([f"{i}.png" for i in range(len(who))], object),
        label=label,
        predicted=predicted,
        subject=np.array([f"p{i}" for i in who], object) if subjects else None,
        attributes=tuple(attributes),
        features={"z": held.astype(np.float32)} if features else {},
    )
