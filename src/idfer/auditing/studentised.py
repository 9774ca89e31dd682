"""The gap of two groups over its standard error: the one statistic of observed, dealt and signed people.

    T = (g_a - g_b) / sqrt(f_a v_a + f_b v_b - 2 v_ab)         g: the metric on its scale (`moments.scaled`)

v are sums over people of squared influences (the delta method with people as clusters), which are quadratic
in the sums: v_a = G_a (sum_s x_s x_s') G_a'. So T of thousands of dealings of people comes from matrix
products with two tables of people, their sums and the products of their sums. f = n / (n - 1).

Groups of 20 people have heavier tails of T than groups of 500, and would alone fill the maximum over all
tests, mostly where their few people happen to be alike and v comes out small. Two remedies, both the same
function before and after dealing, so that they cost no validity:

- v of a group of n people is averaged with what n of everybody would have, as if that came from `PRIOR`
  people: ((n - 1) f v + PRIOR v_all U / n) / (n - 1 + PRIOR). In large groups it vanishes.
- Wallace's (1959) transformation of Student's t with Welch's degrees of freedom to a standard normal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from idfer.auditing.moments import COLUMNS, Array, scaled_gradient

PRIOR = 20.0  # people
_UPPER = np.triu_indices(COLUMNS)
PRODUCTS = len(_UPPER[0])
_FULL = np.zeros((COLUMNS, COLUMNS), np.intp)
_FULL[_UPPER] = np.arange(PRODUCTS)
_FULL = np.maximum(_FULL, _FULL.T)


@dataclass(frozen=True)
class Side:
    """One group's sums (..., 11), sums of products (..., 66) and effective people."""

    total: Array
    products: Array
    people: float


def shrunk(var: Array, people: float, prior: Array) -> Array:
    """A group's variance, averaged with `prior`, that of one of everybody (K)."""
    own = max(people - 1, 1)
    return np.asarray((people * var + PRIOR * prior / people) / (own + PRIOR))


def outer(sums: Array) -> Array:
    """Products of each unit's sums with one another: (U, 11) -> (U, 66)."""
    return sums[:, _UPPER[0]] * sums[:, _UPPER[1]]


def gradients(total: Array, metrics: tuple[str, ...]) -> tuple[Array, Array]:
    """Metrics on their scales (..., K) and their gradients (..., K, 11), K = metrics x 3 dimensions."""
    value, gradient = scaled_gradient(total, metrics)
    flat = (*total.shape[:-1], len(metrics) * 3)
    return value.reshape(flat), np.nan_to_num(gradient.reshape(*flat, COLUMNS), nan=0.0, posinf=0, neginf=0)


def variance(left: Array, products: Array, right: Array) -> Array:
    """G_a Q G_b' metric by metric: (..., K) of gradients (..., K, 11) and products (..., 66)."""
    return np.asarray(((left @ products[..., _FULL]) * right).sum(axis=-1))


def statistic(a: Side, b: Side, shared: Array | None, prior: Array, metrics: tuple[str, ...]) -> Array:
    """T on the normal scale, (..., K); 0 where it is undefined.

    Args:
        a: one group.
        b: the other.
        shared: (..., 66) products of people's sums in one with those in the other; None where nobody is in
            both.
        prior: (K) variance of one person of everybody.
        metrics: which.
    """
    value_a, grad_a = gradients(a.total, metrics)
    value_b, grad_b = gradients(b.total, metrics)
    own_a, own_b = variance(grad_a, a.products, grad_a), variance(grad_b, b.products, grad_b)
    both = None if shared is None else variance(grad_a, shared, grad_b)
    var, df = of_gap(own_a, a.people, own_b, b.people, both, prior)
    return normal(value_a - value_b, var, df)


def of_gap(
    own_a: Array, people_a: float, own_b: Array, people_b: float, both: Array | None, prior: Array
) -> tuple[Array, Array]:
    """Variance of a gap and its degrees of freedom, from the two sides' own and their covariance."""
    var_a, var_b = shrunk(own_a, people_a, prior), shrunk(own_b, people_b, prior)
    df = welch(var_a, people_a, var_b, people_b)
    var = var_a + var_b
    if both is not None:
        with np.errstate(invalid="ignore", divide="ignore"):  # the correlation stays, the variances are new
            r = np.nan_to_num(both / np.sqrt(own_a * own_b))
        var = var - 2 * np.clip(r, -1, 1) * np.sqrt(var_a * var_b)
    return var, df


def welch(var_a: Array, people_a: float, var_b: Array, people_b: float) -> Array:
    """Degrees of freedom of a difference (Welch 1947)."""
    low = var_a**2 / (max(people_a - 1, 1) + PRIOR) + var_b**2 / (max(people_b - 1, 1) + PRIOR)
    return np.asarray(np.maximum((var_a + var_b) ** 2 / np.maximum(low, 1e-300), 1.0))


def normal(gap: Array, var: Array, df: Array) -> Array:
    """gap / sqrt(var), Student with `df`, as a standard normal (Wallace 1959); 0 where undefined."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        square = gap**2 / var
        z = np.sign(gap) * (8 * df + 1) / (8 * df + 3) * np.sqrt(df * np.log1p(square / df))
    return np.where(np.isfinite(z) & (var > 0), z, 0.0)


def student(z: float, df: Array) -> Array:
    """Inverse of the transformation: the t with `df` of a standard normal z >= 0."""
    shrunk = z * (8 * df + 3) / (8 * df + 1)
    return np.asarray(np.sqrt(df * np.expm1(np.minimum(shrunk**2 / df, 500.0))))
