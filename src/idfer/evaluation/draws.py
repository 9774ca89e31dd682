"""How leakage grows with what an observer holds: one draw of a feature, many draws, its mean, or many images.

A certificate speaks of one draw of one image. The average of K draws of N(mean, spread^2) is one draw of
N(mean, spread^2 / K), so leakage at K draws is measured without drawing K times; K to infinity is the mean.
A template is the average over images of one person, as face recognition compares people by. [ours]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idfer.errors import UsageError
from idfer.evaluation.bootstrap import Array
from idfer.evaluation.leakage import KINDS, Target, leakage
from idfer.evaluation.probes import Kind, check_features

if TYPE_CHECKING:
    import pandas as pd

DRAWS = (1, 16, 64)
IMAGES = 10


def averaged_draw(mean: ArrayLike, spread: ArrayLike, draws: int = 1, seed: int = 0) -> Array:
    """The average of `draws` independent draws of a sampled feature.

    Args:
        mean: (N, D).
        spread: (N, D) standard deviations.
        draws: K, at least 1.
        seed: of the noise; averages of another K have other noise.

    Returns:
        (N, D) mean + spread / sqrt(K) * noise.

    Raises:
        UsageError: K below 1, or shapes that differ.
    """
    centre, width = np.asarray(mean, np.float64), np.asarray(spread, np.float64)
    if draws < 1 or centre.shape != width.shape:
        raise UsageError(
            f"averaged_draw: {draws} draws of a mean {centre.shape} and a spread {width.shape}; wanted at "
            "least 1 draw and equal shapes."
        )
    noise = np.random.default_rng([seed, draws]).standard_normal(centre.shape)
    return np.asarray(centre + width / np.sqrt(draws) * noise)


def templates(subjects: ArrayLike, images: int = IMAGES) -> NDArray[np.intp]:
    """Which template each row belongs to, (N,): a person's rows in order, `images` to a template.

    Rows left over are -1, unless they are all a person has.
    """
    people = np.unique(np.asarray(subjects), return_inverse=True)[1].ravel()
    count = np.bincount(people)
    order = np.argsort(people, kind="stable")
    turn = np.empty(len(people), np.intp)
    turn[order] = np.arange(len(people)) - np.repeat(np.cumsum(count) - count, count)
    part = turn // images
    spare = part >= np.maximum(count // images, 1)[people]
    label = np.unique(np.stack([people, part], 1), axis=0, return_inverse=True)[1].ravel()
    label[spare] = -1
    label[~spare] = np.unique(label[~spare], return_inverse=True)[1].ravel()
    return label


def template(
    features: ArrayLike, subjects: ArrayLike, images: int = IMAGES
) -> tuple[Array, NDArray[np.intp]]:
    """Average features over up to `images` images of a person.

    Args:
        features: (N, D).
        subjects: (N,) whose face each row is.
        images: rows in a template; a person with more gives several, one with fewer a smaller one.

    Returns:
        (M, D) templates, and (M,) the first row of each, whose person and attributes it has.

    Raises:
        IdferError: a feature is not finite or lengths differ.
    """
    x, people = check_features(features, subjects)
    label = templates(people, images)
    held = label >= 0
    total = np.zeros((int(label.max()) + 1, x.shape[1]))
    np.add.at(total, label[held], x[held])
    first = np.flatnonzero(held)[np.unique(label[held], return_index=True)[1]]
    return total / np.bincount(label[held])[:, None], first


def leak_curve(
    mean: ArrayLike,
    spread: ArrayLike | None,
    targets: Mapping[str, Target],
    subjects: ArrayLike,
    seed: int = 0,
    *,
    draws: Sequence[int] = DRAWS,
    images: int = IMAGES,
    kinds: Sequence[Kind] = KINDS,
) -> pd.DataFrame:
    """Probe a feature as one draw, averages of draws, its mean, and templates of several images.

    Args:
        mean: (N, D) the feature without noise.
        spread: (N, D) standard deviations of its draws; None where nothing is sampled.
        targets: attributes by name, N values each; a template has those of its first image.
        subjects: (N,) whose face each row is.
        seed: of noise and probes.
        draws: how many draws are averaged.
        images: images in a template; as many as a person has where nobody has so many.
        kinds: which probes.

    Returns:
        Rows as `leakage` gives them. Their `features` are "1 draw", "16 draws", ..., "mean" and
        "10-image template" (of means), and where draws are given "10-image template, 1 draw each".

    Raises:
        IdferError: a feature is not finite or arrays differ in length.
    """
    import pandas as pd

    sets = {} if spread is None else {_drawn(k): averaged_draw(mean, spread, k, seed) for k in draws}
    sets["mean"] = np.asarray(mean, np.float64)
    images = min(images, int(np.unique(np.asarray(subjects), return_counts=True)[1].max()))
    of_person = {f"{images}-image template": template(mean, subjects, images)}
    if spread is not None:
        once = averaged_draw(mean, spread, 1, seed)
        of_person[f"{images}-image template, 1 draw each"] = template(once, subjects, images)
    first = next(iter(of_person.values()))[1]
    held = {name: target.rows(first) for name, target in targets.items()}
    averaged = {name: values for name, (values, _) in of_person.items()}
    return pd.concat(
        [
            leakage(sets, targets, subjects, kinds=kinds, seed=seed),
            leakage(averaged, held, np.asarray(subjects)[first], kinds=kinds, seed=seed),
        ],
        ignore_index=True,
    )


def _drawn(count: int) -> str:
    return "1 draw" if count == 1 else f"{count} draws"


def narrowed(features: ArrayLike, width: int, fit: ArrayLike) -> Array:
    """The leading principal components of features, to compare features at equal width.

    Args:
        features: (N, D).
        width: components, from 1 to D.
        fit: (M, D) features of other people (those trained on) that the components are of.

    Returns:
        (N, width), centred as `fit`; not scaled.

    Raises:
        UsageError: a width out of range, or widths of features that differ.
    """
    x, others = np.asarray(features, np.float64), np.asarray(fit, np.float64)
    if x.shape[1] != others.shape[1] or not 1 <= width <= x.shape[1]:
        raise UsageError(
            f"narrowed: width {width} of features {x.shape} fitted on {others.shape}; wanted 1 to the "
            "features' width, which is the same for both."
        )
    mean = others.mean(axis=0)
    _, basis = np.linalg.eigh(np.cov(others, rowvar=False).reshape(len(mean), -1))
    return np.asarray((x - mean) @ basis[:, ::-1][:, :width])


def signal_to_noise(mean: ArrayLike, spread: ArrayLike) -> float:
    """Variance of a sampled feature's mean over faces, by that of its draws; both added over coordinates."""
    between, within = np.asarray(mean, np.float64).var(axis=0), np.square(np.asarray(spread, np.float64))
    return float(between.sum() / within.mean(axis=0).sum())


def noise_matched(features: ArrayLike, ratio: float, seed: int = 0) -> Array:
    """A deterministic feature with noise, so that its signal-to-noise is `ratio`.

    The noise is normal and equally strong in every coordinate: what is large in the feature stays legible. To
    compare with a sampled feature, narrow both to the same width first.

    Args:
        features: (N, D).
        ratio: as `signal_to_noise`, above 0.
        seed: of the noise.
    """
    x = np.asarray(features, np.float64)
    if not ratio > 0:
        raise UsageError(f"noise_matched: a signal-to-noise of {ratio}; it must be above 0.")
    strength = np.sqrt(np.var(x, axis=0).mean() / ratio)
    return np.asarray(x + strength * np.random.default_rng(seed).standard_normal(x.shape))
