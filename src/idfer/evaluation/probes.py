"""The probes themselves: ridge regression, and a small network on what it leaves, for many targets at once.

Everything is chosen inside the training people: ridge's strength, when a network stops and how far its
output is trusted. People are dealt into inner folds, so a choice is judged on people not fitted to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idfer.errors import IdferError
from idfer.evaluation.bootstrap import Array

Kind = Literal["linear", "mlp"]
People = NDArray[np.intp]

MIN_SUBJECTS = 10  # below, five folds of disjoint people say nothing
_INNER = 3  # members of the committee, each blind to a third of the training people
_ALPHAS = np.logspace(-1, 6, 15)
_WIDEST = 256  # the network sees at most this many leading principal components
_HIDDEN = 32
_CHECKS, _STEPS, _BATCH, _PATIENCE = 40, 8, 128, 10  # early stopping: up to 40 checks, one every 8 steps
_WORTH = 0.002  # share of the variance left that counts as progress


def fit_probes(
    x: Array, y: Array, people: People, x_test: Array, kind: Kind, seed: int
) -> tuple[Array, Array]:
    """Fit T probes of K outputs on the training people and predict.

    Args:
        x: (n, D) features of the training people.
        y: (n, T, K) numbers to predict.
        people: (n,) the training people.
        x_test: (m, D) features of other people.
        kind: "linear", or "mlp": networks fitted to what the linear probe leaves.
        seed: deals the inner folds and starts the networks.

    Returns:
        (m, T, K) predictions for `x_test`; (n, T, K) predictions for `x`, each by a probe that has not seen
        the row's person.
    """
    x, x_test = standardise(x, x_test)
    mean, spread = y.mean(axis=0), np.maximum(y.std(axis=0).max(axis=-1), 1e-12)[:, None]
    goal = (y - mean) / spread
    inner = deal(people, _INNER, np.random.default_rng(seed))
    guess, held_out = _ridge(x, goal, inner, x_test)
    if kind == "mlp":
        more, more_held_out = _committee(x, goal - held_out, inner, x_test, seed)
        guess, held_out = guess + more, held_out + more_held_out
    return mean + spread * guess, mean + spread * held_out


def _ridge(x: Array, y: Array, inner: People, x_test: Array) -> tuple[Array, Array]:
    """Ridge regression, its strength chosen per probe on unseen training people; returns as `fit_probes`."""
    flat = y.reshape(len(y), -1)
    held_out = np.empty((len(_ALPHAS), *y.shape))
    for held in range(_INNER):
        fit, test = inner != held, inner == held
        held_out[:, test] = _ridge_path(x[fit], flat[fit], x[test]).reshape(-1, int(test.sum()), *y.shape[1:])
    loss = (
        ((held_out - y) ** 2).sum(axis=(1, 3)) if y.shape[-1] == 1 else _surprise(held_out, y.argmax(axis=-1))
    )
    best = loss.argmin(axis=0)[None, None, :, None]
    path = _ridge_path(x, flat, x_test).reshape(-1, len(x_test), *y.shape[1:])
    return np.take_along_axis(path, best, axis=0)[0], np.take_along_axis(held_out, best, axis=0)[0]


def _ridge_path(x: Array, y: Array, x_test: Array) -> Array:
    """Ridge predictions (strengths, m, columns) for every strength in `_ALPHAS`, from one decomposition."""
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    centred = x - x_mean
    if x.shape[1] <= len(x):
        values, basis = np.linalg.eigh(centred.T @ centred)
        inner, outer = basis.T @ (centred.T @ (y - y_mean)), (x_test - x_mean) @ basis
    else:  # fewer rows than features: the same solution from the rows' Gram matrix
        values, basis = np.linalg.eigh(centred @ centred.T)
        inner, outer = basis.T @ (y - y_mean), (x_test - x_mean) @ centred.T @ basis
    values = np.maximum(values, 0)
    return np.stack([y_mean + outer @ (inner / (values + a)[:, None]) for a in _ALPHAS])


def discriminant(held_out: Array, y: People, guess: Array) -> Array:
    """Log-odds (m, K) of the levels for each row of `guess` (m, K), all equally likely beforehand.

    Linear discriminant analysis on the K indicator predictions: with ridge it is penalised discriminant
    analysis (Hastie, Buja & Tibshirani 1995), which, unlike the largest indicator, does not overlook the
    middle one of ordered levels. Centroids and spread come from predictions for unseen people (`held_out`).
    """
    member = np.eye(guess.shape[1])[y]
    centroid = (member.T @ held_out) / np.maximum(member.sum(axis=0), 1)[:, None]
    rest = held_out - centroid[y]
    within = rest.T @ rest / len(rest)
    metric = np.linalg.pinv(within + 1e-6 * max(float(np.trace(within)), 1e-12) * np.eye(len(within)))
    lift = centroid @ metric
    return np.asarray(guess @ lift.T - 0.5 * (lift * centroid).sum(axis=1))


def _surprise(held_out: Array, y: People) -> Array:
    """Balanced log loss (strengths, T) of the discriminant on predictions `held_out` (strengths, n, T, K)."""
    loss = np.empty((len(held_out), y.shape[1]))
    for i, column in np.ndindex(loss.shape):
        level, score = y[:, column], held_out[i, :, column]
        odds = discriminant(score, level, score)
        odds -= odds.max(axis=1, keepdims=True)
        miss = np.log(np.exp(odds).sum(axis=1)) - odds[np.arange(len(odds)), level]
        loss[i, column] = (np.bincount(level, miss) / np.maximum(np.bincount(level), 1)).mean()
    return loss


def _committee(x: Array, y: Array, inner: People, x_test: Array, seed: int) -> tuple[Array, Array]:
    """One-hidden-layer networks for all T probes at once, as `fit_probes` on standardised arguments.

    Each probe has `_INNER` members, each blind to one inner fold of people. When to stop, and by how much to
    shrink what has been learned (memorised people make outputs too large), is chosen to minimise the members'
    squared error on the people they are blind to; nothing learned, 0, is among the choices. The held-out
    prediction is the members' mean.
    """
    import torch

    x, x_test = _leading(x, x_test)
    generator = torch.Generator().manual_seed(seed)
    probes, outputs = y.shape[1:]
    members = probes * _INNER  # ordered probe by probe
    seen = torch.as_tensor(x, dtype=torch.float32)
    both = torch.as_tensor(np.concatenate([x, x_test]), dtype=torch.float32)
    size = np.maximum(y.std(axis=(0, 2)), 1e-12)
    goal = torch.as_tensor(y / size[:, None], dtype=torch.float32).repeat_interleave(_INNER, dim=1)
    blind = (torch.as_tensor(inner)[:, None] == torch.arange(members)[None] % _INNER).float()  # (n, members)
    trained, watched = (1 - blind) / (1 - blind).mean(dim=0), (blind / blind.sum(dim=0))[..., None]

    start = torch.randn(seen.shape[1], members * _HIDDEN, generator=generator) / seen.shape[1] ** 0.5
    first, shift = torch.nn.Parameter(start), torch.nn.Parameter(torch.zeros(members * _HIDDEN))
    second = torch.nn.Parameter(torch.zeros(members, _HIDDEN, outputs))
    offset = torch.nn.Parameter(torch.zeros(members, 1, outputs))
    optimizer = torch.optim.AdamW([first, shift, second, offset], lr=0.01, weight_decay=0.05, fused=True)

    def forward(rows: torch.Tensor) -> torch.Tensor:
        """(b, D) -> (b, members, K)."""
        unit = torch.relu(torch.addmm(shift, rows, first)).view(len(rows), members, _HIDDEN)
        return torch.baddbmm(offset, unit.transpose(0, 1), second).transpose(0, 1)

    best = torch.zeros(probes)
    kept = torch.zeros(len(both), members, outputs)
    stale = 0
    for _ in range(_CHECKS):
        with torch.no_grad():
            out = forward(both)
            unseen = out[: len(seen)] * watched
            cross = (unseen * goal).sum(dim=(0, 2)).view(probes, _INNER).sum(dim=1)
            power = (unseen * out[: len(seen)]).sum(dim=(0, 2)).view(probes, _INNER).sum(dim=1)
            shrink = (cross / power.clamp(min=1e-12)).clamp(0, 1)
            gain = 2 * shrink * cross - shrink**2 * power  # drop in squared error on people not seen
            better = gain > best + _WORTH
            best[better] = gain[better]
            chosen = better.repeat_interleave(_INNER)
            kept[:, chosen] = (out * shrink.repeat_interleave(_INNER)[:, None])[:, chosen]
        stale = 0 if bool(better.any()) else stale + 1
        if stale == _PATIENCE:
            break
        for _ in range(_STEPS):
            rows = torch.randint(len(seen), (_BATCH,), generator=generator)
            loss = (((forward(seen[rows]) - goal[rows]) ** 2).mean(dim=2) * trained[rows]).mean(dim=0).sum()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    result = kept.view(len(both), probes, _INNER, outputs).double().numpy() * size[:, None, None]
    held_out = (result[: len(x)] * (inner[:, None] == np.arange(_INNER))[:, None, :, None]).sum(axis=2)
    return result[len(x) :].mean(axis=2), held_out


def _leading(x: Array, x_test: Array) -> tuple[Array, Array]:
    """Project features wider than `_WIDEST` on the training people's leading principal components."""
    if x.shape[1] <= _WIDEST:
        return x, x_test
    if len(x) < x.shape[1]:  # the same directions from the rows' Gram matrix, which is smaller
        values, rows = np.linalg.eigh(x @ x.T)
        kept = values[-_WIDEST:] > 1e-10 * max(float(values[-1]), 1e-300)
        directions = rows[:, -_WIDEST:][:, kept] / np.sqrt(values[-_WIDEST:][kept])
        basis = np.zeros((x.shape[1], _WIDEST))  # where there are fewer directions the rest reads nothing
        basis[:, _WIDEST - int(kept.sum()) :] = x.T @ directions
    else:
        _, vectors = np.linalg.eigh(x.T @ x)
        basis = vectors[:, -_WIDEST:]
    basis = basis * np.sqrt(_WIDEST / x.shape[1])  # not whitened: that would inflate noise
    return x @ basis, x_test @ basis


@contextmanager
def one_thread() -> Iterator[None]:
    """Run on one thread: probes are many small operations, which waiting threads slow tenfold."""
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(threads)


def check_features(features: ArrayLike, subjects: ArrayLike, name: str = "features") -> tuple[Array, People]:
    """Features as finite float64 (N, D) and people as 0..S-1."""
    x = np.asarray(features, np.float64)
    people = np.unique(np.asarray(subjects), return_inverse=True)[1].ravel()
    if x.ndim != 2 or len(x) != len(people):
        raise IdferError(
            f"{name}: shape {x.shape} with {len(people)} subjects; wanted (N, D) and N subjects."
        )
    if (bad := np.flatnonzero(~np.isfinite(x).all(axis=1))).size:
        raise IdferError(
            f"{name}: row {bad[0]} is not finite ({bad.size} such rows); the network has diverged "
            "or the face was not read. Drop these rows, or train again with a smaller learning rate."
        )
    return x, people


def check_people(people: People, what: str) -> None:
    """Raise where there are too few people to hold some out."""
    if (count := len(np.unique(people))) < MIN_SUBJECTS:
        raise IdferError(f"only {count} {what}; probing unseen people needs at least {MIN_SUBJECTS}.")


def deal(people: People, folds: int, rng: np.random.Generator) -> People:
    """Deal people into folds of nearly equal numbers: (N,) fold of each row."""
    names, index = np.unique(people, return_inverse=True)
    return (rng.permutation(len(names)) % folds)[index]


def standardise(x: Array, *others: Array) -> tuple[Array, ...]:
    """Standardise `x` and others by the mean and spread of `x`; its constant columns become 0.

    Values beyond 10 standard deviations are cut there: one outlier must not carry a probe.
    """
    mean, spread = x.mean(axis=0), x.std(axis=0)
    scale = np.where(spread > 1e-8 * np.maximum(np.abs(mean), 1.0), 1 / np.maximum(spread, 1e-300), 0.0)
    return tuple(np.clip((values - mean) * scale, -10, 10) for values in (x, *others))
