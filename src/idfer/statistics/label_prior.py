r"""p(y | identity): what is known of a face's label from who it shows, before its expression is seen [ours].

Labels are made Gaussian by ranks, g = Φ⁻¹(F(y)). A linear-Gaussian regression predicts g from the retrieved
posteriors (and their squares), averaged over the person's faces since retrieval errs per image and the person
stays, and, where there are several, from the mean g of the *other* faces of that person, shrunk towards 0
where they are few (rows that show one image are one face: a copy would tell its own label):

    g | identity ~ N(m(c, ḡ_others), s²)        p(y_b | identity) ∝ p(y_b) N(g_b; m, s²) / N(g_b; 0, 1)

on a grid of labels y_b. It is fitted on other people than those it speaks of (cross-fitting). The mean over a
person's other faces holds whatever of the person goes with the labels, named attribute or not.

It may be sharpened, p_t(y_b | identity) ∝ p(y_b) [p(y_b | identity) / p(y_b)]^t, as logit adjustment is by
its temperature (Menon et al. 2021, arXiv:2007.07314): attributes are retrieved with error, and a network
reads more of identity from the image than the regression was given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idfer.errors import IdferError
from idfer.statistics.decorrelation import gaussian_ranks, person_means

Array = NDArray[np.float64]
_SHRINK = 1.0  # other faces that count as much as knowing nothing
_FLOOR = 0.05  # smallest spread of g given identity: a label is never taken to be known


@dataclass(frozen=True)
class LabelPrior:
    """p(y | identity) of n faces.

    Attributes:
        log_p: (n, 2, K) float32, log-probabilities of valence and of arousal on the grid.
        grid: (K,) float32 labels, -1 to 1.
        explained: (2,) share of the variance of g that identity explains, on people not fitted to.
    """

    log_p: NDArray[np.float32]
    grid: NDArray[np.float32]
    explained: tuple[float, float]

    @property
    def mean(self) -> NDArray[np.float32]:
        """(n, 2) expected valence and arousal given identity."""
        return np.asarray(np.exp(self.log_p) @ self.grid)


def label_prior(
    labels: NDArray[np.floating],
    attributes: NDArray[np.floating],
    people: NDArray[np.integer],
    *,
    images: NDArray[np.integer] | None = None,
    by_person: bool = True,
    power: float = 1.0,
    bins: int = 41,
    folds: int = 5,
    ridge: float = 1e-2,
    seed: int = 0,
) -> LabelPrior:
    """Estimate p(y | identity) of every face.

    Args:
        labels: (n, 2) valence and arousal in [-1, 1].
        attributes: (n, k) level posteriors in [0, 1]; k may be 0.
        people: (n,) person of each face.
        images: (n,) number of the image that each row shows; None for one of its own each.
        by_person: also use the person's other faces: their labels and their posteriors.
        power: t; 1 leaves the estimate as it is, more trusts it more, 0 is p(y) for everybody.
        bins: K, points of the grid.
        folds: of the cross-fitting, by person.
        ridge: penalty per sample of the regression.
        seed: deals the people.

    Raises:
        IdferError: an input is not finite, or there are fewer than two people.
    """
    if not (np.isfinite(labels).all() and np.isfinite(attributes).all()):
        raise IdferError("label prior: a label or retrieved posterior is not finite; drop those rows.")
    from scipy.special import log_softmax, logsumexp

    names, person = np.unique(people, return_inverse=True)
    if len(names) < 2:
        raise IdferError(
            "p(y | identity) needs faces of at least two people (column 'subject'); with one, use "
            "--terms.information 0."
        )
    y, c = labels.astype(np.float64), attributes.astype(np.float64)
    g = np.column_stack([gaussian_ranks(column) for column in y.T])
    others = []
    if by_person:
        face, share = _faces(person, images)
        c = person_means(c, person, share)
        others = [_of_others(g, person, face, share)]
    c = (c - c.mean(0)) / np.maximum(c.std(0), 1e-6)
    x = np.column_stack([np.ones(len(g)), c, c**2, *others])
    folds = min(folds, len(names))
    fold = np.random.default_rng(seed).permutation(np.arange(len(names)) % folds)[person]
    mean, spread = np.empty_like(g), np.empty_like(g)
    for held in (fold == k for k in range(folds)):
        fit = x[~held]
        penalty = ridge * len(fit) * np.eye(x.shape[1])
        penalty[0, 0] = 0
        slope = np.linalg.solve(fit.T @ fit + penalty, fit.T @ g[~held])
        mean[held] = x[held] @ slope
        spread[held] = np.maximum((g[~held] - fit @ slope).std(0), _FLOOR)
    grid = np.linspace(-1, 1, bins)
    log_p = np.stack([_on_grid(y[:, d], mean[:, d], spread[:, d], grid) for d in range(2)], axis=1)
    if power != 1:
        anybody = logsumexp(log_p, axis=0, keepdims=True) - np.log(len(log_p))
        log_p = log_softmax(anybody + power * (log_p - anybody), axis=-1)
    left = np.square(g - mean).mean(0) / np.maximum(g.var(0), 1e-12)
    known = tuple(float(v) for v in np.where(g.var(0) > 1e-12, 1 - left, 0.0))
    return LabelPrior(log_p.astype(np.float32), grid.astype(np.float32), (known[0], known[1]))


def _faces(
    person: NDArray[np.integer], images: NDArray[np.integer] | None
) -> tuple[NDArray[np.integer], Array]:
    """(n,) number of each row's face, and (n,) its weight: a face counts once, however often it is there."""
    if images is None:
        return np.arange(len(person)), np.ones(len(person))
    face = np.unique(np.column_stack([person, images]), axis=0, return_inverse=True)[1].reshape(-1)
    return face, 1 / np.bincount(face)[face]


def _of_others(g: Array, person: NDArray[np.integer], face: NDArray[np.integer], share: Array) -> Array:
    """(n, 2) mean of g over the person's other faces, shrunk; 0 where there are none."""
    part = g * share[:, None]
    count = _sums(share[:, None], person) - 1
    return np.asarray((_sums(part, person) - _sums(part, face)) / (count + _SHRINK))


def _sums(x: Array, group: NDArray[np.integer]) -> Array:
    """(n, d) each row's sum of x over its group."""
    return np.stack([np.bincount(group, column)[group] for column in x.T], axis=1)


def _on_grid(y: Array, mean: Array, spread: Array, grid: Array) -> Array:
    """(n, K) log p(y_b | identity): the labels' own histogram, tilted."""
    edges = np.concatenate([[-np.inf], (grid[1:] + grid[:-1]) / 2, [np.inf]])
    share = (np.histogram(y, edges)[0] + 0.5) / (len(y) + 0.5 * len(grid))
    from scipy.special import log_softmax
    from scipy.stats import norm

    g = norm.ppf(np.clip(np.cumsum(share) - share / 2, 1e-6, 1 - 1e-6))
    tilt = 0.5 * g**2 - 0.5 * ((g - mean[:, None]) / spread[:, None]) ** 2
    return np.asarray(log_softmax(np.log(share) + tilt, axis=1))
