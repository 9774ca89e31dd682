"""What features tell about identity attributes: probes trained on some people, scored on others.

A feature leaks an attribute when a probe can read the attribute from it *on people the probe has never
seen*. An attribute is a property of a person, so a probe scored on other rows of its training people could
merely recognise them; here people, not rows, are dealt into folds, and every choice inside a probe
(regularisation, when to stop, standardisation) is made on its training people alone.

Scores are 0 at chance and 1 when the attribute is read perfectly:

    continuous   R^2 = 1 - sum (t - t_hat)^2 / sum (t - mean t of the training people)^2
    levels       (b - c) / (1 - c),  b = balanced accuracy, c = b measured with the target shuffled
    identity     2 AUC - 1,          AUC of telling same-person from other-person pairs of unseen people

Chance is measured, not assumed: the target is permuted over people (a person's rows stay together) and the
whole pipeline runs again; the shuffled R^2 is reported beside R^2. A score may be slightly negative.

Two probes: `linear` (ridge regression; for levels, penalised discriminant analysis), and `nonlinear`, which
adds what a linear probe cannot see (`curvature`: the directions along which the target curves, and any smooth
function of a narrow feature). Probing gives a lower bound: a low score means that *these* probes found
nothing. What the nonlinear one finds of planted leaks, R^2 of a number that each person carries in |u.x| of
one coordinate or direction, or in x_j x_k, with nothing for a linear probe to see (standard normal features
beside it; the linear probe scores 0, and so do both without a leak):

    width                     2     8     16    32    128
    500 people x 10 faces
      |x_k|                  1.00  1.00   .98   .94   .75
      |u.x|, small variance  1.00  1.00   .98   .94   .75
      x_j x_k                 .81   .67   .66   .66   .61
    100 people x 10 faces
      |x_k|                  1.00   .99   .86   .63   .02
      x_j x_k                 .68   .65   .63   .58   .17

So 1,000 faces are too few to search 128 equal dimensions (a direction among d is told from noise where
n >> d); features whose spread is uneven fare better, as their 32 leading components are searched alone too.
For comparison at 500 people: boosted trees on whitened components .86, .61, -, .20, -.01 for x_j x_k (and .89
for |x_k| at 128, on a component of its own); a small network .86, .84, -, .79, .51, but .33 for |x_k| at 128
and nothing for a small variance beyond 2; kernel ridge regression nothing at 128, at 32 .19 (Gaussian) to .57
(quadratic) for |x_k|.

Intervals are over people, who are read and learned from (`probe_intervals`); those of identity only over the
people who are told apart (`verification`).

References: Alain & Bengio, Understanding intermediate layers using linear classifier probes, 2016; Hewitt &
Liang, Designing and interpreting probes with control tasks, EMNLP 2019 (the shuffled control); Hastie, Buja
& Tibshirani, Penalized discriminant analysis, Annals of Statistics 23(1), 1995. The protocol is [ours].
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idfer.errors import IdferError, UsageError
from idfer.evaluation.bootstrap import Array, by_subject
from idfer.evaluation.probe_intervals import scored
from idfer.evaluation.probes import (
    Kind,
    check_features,
    check_people,
    deal,
    fit_probes,
    one_thread,
)
from idfer.evaluation.ridge import People, discriminant
from idfer.evaluation.verification import verification

if TYPE_CHECKING:
    import pandas as pd

KINDS: tuple[Kind, ...] = ("linear", "nonlinear")
FOLDS = 5
_SHUFFLES = {"linear": 10, "nonlinear": 2}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """An attribute to probe for.

    Attributes:
        values: (N,) floats (a continuous attribute; nan where unknown) or strings (levels; "" where unknown).
        source: where the values come from, e.g. "ground truth" or "retrieved with builtin".
    """

    values: NDArray[Any]
    source: str

    @property
    def continuous(self) -> bool:
        """Whether the values are numbers to regress rather than levels to tell apart."""
        return bool(np.issubdtype(self.values.dtype, np.number))

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N,) which rows have a value."""
        known = np.isfinite(self.values) if self.continuous else self.values.astype(str) != ""
        return np.asarray(known)

    def rows(self, chosen: NDArray[Any]) -> Target:
        """The target of the rows that an integer array or a mask names."""
        return Target(self.values[chosen], self.source)


@dataclass(frozen=True)
class Leak:
    """What one probe found.

    Attributes:
        features: name of the probed features.
        target: name of the attribute.
        kind: "linear", "nonlinear" or "verification" (identity).
        measure: "R2", "balanced accuracy" or "AUC": what `raw` and `chance` are.
        score: 0 = chance, 1 = read perfectly (see the module); nan where it could not be measured.
        low: lower end of the 95 % interval of `score`.
        high: its upper end.
        raw: the measure itself.
        chance: the measure with the target shuffled over people, mean over the shuffles.
        rows: rows used.
        subjects: people among them, the effective sample size.
        source: where the target's values come from.
        note: why there is no score, or what was left out; "" otherwise.
    """

    features: str
    target: str
    kind: str
    measure: str
    score: float
    low: float
    high: float
    raw: float
    chance: float
    rows: int
    subjects: int
    source: str
    note: str = ""


def probe(
    features: ArrayLike, target: ArrayLike, subjects: ArrayLike, kind: Kind = "linear", seed: int = 0
) -> Leak:
    """Probe features for one attribute.

    Args:
        features: (N, D).
        target: (N,) numbers to regress, or strings to tell apart.
        subjects: (N,) whose face each row is; equal values are never on both sides of a split.
        kind: "linear" or "nonlinear".
        seed: deals the people, draws the cosines, shuffles and resamples.

    Raises:
        IdferError: NaN features, a constant target or fewer than 10 people; the message says which.
    """
    values = np.asarray(target)
    wanted = Target(values if np.issubdtype(values.dtype, np.number) else values.astype(str), "given")
    x, people = check_features(features, subjects)
    keep = wanted.known
    _check_target(wanted, people, keep)
    with one_thread():
        return _probe_group("features", x, {"target": wanted}, people, keep, kind, seed)[0]


def leakage(
    features: Mapping[str, ArrayLike],
    targets: Mapping[str, Target],
    subjects: ArrayLike,
    *,
    kinds: Sequence[Kind] = KINDS,
    identity: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    """Probe every feature set for every target.

    A target that cannot be measured (constant, too few people) stays in the table with score nan and a
    note, and is logged; the others are measured.

    Args:
        features: (N, D) arrays by name.
        targets: attributes by name, N values each.
        subjects: (N,) whose face each row is.
        kinds: which probes.
        identity: also ask how well unseen people are told apart (`verification`).
        seed: as for `probe`.

    Returns:
        A row per feature set, target and probe with the fields of `Leak`.

    Raises:
        IdferError: a feature is NaN or arrays differ in length.
    """
    import pandas as pd

    sets = [(name, *check_features(values, subjects, name)) for name, values in features.items()]

    def probe_set(of: tuple[str, Array, People]) -> list[Leak]:
        with one_thread():
            leaks = _probe_features(*of, targets, kinds, seed)
            return [*leaks, _identity(*of, seed)] if identity else leaks

    with one_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:  # a feature set per core
        leaks = [leak for of_set in pool.map(probe_set, sets) for leak in of_set]
    return pd.DataFrame([asdict(leak) for leak in leaks], columns=list(Leak.__dataclass_fields__))


def _probe_features(
    name: str, x: Array, people: People, targets: Mapping[str, Target], kinds: Sequence[Kind], seed: int
) -> list[Leak]:
    """Every probe of one feature set; targets of one type known on the same rows are fitted together."""
    leaks: list[Leak] = []
    groups: dict[tuple[bool, bytes], dict[str, Target]] = {}
    for target, wanted in targets.items():
        try:
            _check_target(wanted, people, wanted.known, target)
        except IdferError as error:
            _log.warning("leakage of %s from %s not measured: %s", target, name, error)
            leaks += [_unmeasured(name, target, kind, wanted, str(error)) for kind in kinds]
            continue
        groups.setdefault((wanted.continuous, wanted.known.tobytes()), {})[target] = wanted
    for (_, known), members in groups.items():
        for kind in kinds:
            leaks += _probe_group(name, x, members, people, np.frombuffer(known, dtype=bool), kind, seed)
    return leaks


def _probe_group(
    name: str,
    x: Array,
    targets: Mapping[str, Target],
    people: People,
    keep: NDArray[np.bool_],
    kind: Kind,
    seed: int,
) -> list[Leak]:
    """Probe for several targets of one type, known on the same rows, together with their shuffles."""
    if kind not in KINDS:
        raise UsageError(f"unknown probe {kind!r}. Known: {', '.join(KINDS)}.")
    x, people = x[keep], np.unique(people[keep], return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    fold = deal(people, FOLDS, rng)
    orders = [np.arange(len(x))] + [shuffle(people, rng) for _ in range(_SHUFFLES[kind])]
    first = next(iter(targets.values()))
    values = [t.values[keep] for t in targets.values()]
    if first.continuous:
        y = np.stack([v[o].astype(np.float64) for v in values for o in orders], axis=1)
        sums = _regression(x, y, people, fold, kind, seed)
    else:
        coded = [np.unique(v.astype(str), return_inverse=True)[1] for v in values]
        sums = _classification(
            x, np.stack([c[o] for c in coded for o in orders], 1), people, fold, kind, seed
        )
    per_target = len(orders)
    leaks = []
    for i, (target, wanted) in enumerate(targets.items()):
        of_target = sums[:, i * per_target : (i + 1) * per_target]  # the target, then its shuffles
        found = scored(of_target, wanted.continuous, seed)
        leaks.append(
            Leak(
                features=name,
                target=target,
                kind=kind,
                measure="R2" if wanted.continuous else "balanced accuracy",
                score=found.score,
                low=found.low,
                high=found.high,
                raw=found.raw,
                chance=found.chance,
                rows=len(x),
                subjects=len(sums),
                source=wanted.source,
            )
        )
    return leaks


def _regression(x: Array, y: Array, people: People, fold: People, kind: Kind, seed: int) -> Array:
    """Held-out predictions of every column of y (N, T), as per-subject sums (S, T, 2) of SSE and SST."""
    parts = np.empty((len(x), y.shape[1], 2))
    for held in range(FOLDS):
        fit, test = fold != held, fold == held
        guess, _ = fit_probes(x[fit], y[fit][..., None], people[fit], x[test], kind, seed + held)
        parts[test, :, 0] = (y[test] - guess[..., 0]) ** 2
        parts[test, :, 1] = (y[test] - y[fit].mean(axis=0)) ** 2
    return by_subject(parts, people)


def _classification(x: Array, y: People, people: People, fold: People, kind: Kind, seed: int) -> Array:
    """Held-out decisions for the levels y (N, T), as per-subject sums (S, T, K, 2) of correct and seen."""
    seen = np.eye(int(y.max()) + 1)[y]  # (N, T, K) indicators
    parts = np.zeros((*seen.shape, 2))
    parts[..., 1] = seen
    for held in range(FOLDS):
        fit, test = fold != held, fold == held
        guess, held_out = fit_probes(x[fit], seen[fit], people[fit], x[test], kind, seed + held)
        for column in range(y.shape[1]):
            decided = discriminant(held_out[:, column], y[fit, column], guess[:, column]).argmax(axis=1)
            parts[test, column, :, 0] = seen[test, column] * (decided == y[test, column])[:, None]
    return by_subject(parts, people)


def _identity(name: str, x: Array, people: People, seed: int) -> Leak:
    """`verification` as a row of the table: AUC rescaled so that 0 = chance."""
    try:
        v = verification(x, people, seed)
    except IdferError as error:
        _log.warning("identity in %s not measured: %s", name, error)
        nan = float("nan")
        return Leak(
            name, "identity", "verification", "AUC", nan, nan, nan, nan, nan, 0, 0, "subjects", str(error)
        )
    score, low, high = (2 * value - 1 for value in (v.auc, v.low, v.high))
    return Leak(
        name,
        "identity",
        "verification",
        "AUC",
        score,
        low,
        high,
        v.auc,
        v.chance,
        v.rows,
        v.subjects,
        "subjects",
    )


def _unmeasured(name: str, target: str, kind: str, wanted: Target, note: str) -> Leak:
    measure, nan = "R2" if wanted.continuous else "balanced accuracy", float("nan")
    return Leak(name, target, kind, measure, nan, nan, nan, nan, nan, 0, 0, wanted.source, note)


def _check_target(target: Target, people: People, keep: NDArray[np.bool_], name: str = "target") -> None:
    """Raise where a target cannot be probed for on these people."""
    if len(target.values) != len(people):
        raise IdferError(f"{name}: {len(target.values)} values for {len(people)} faces; give one per face.")
    check_people(people[keep], f"people with a known {name}")
    values = target.values[keep]
    if len(np.unique(values)) < 2 or (target.continuous and np.ptp(values) <= 1e-6 * np.abs(values).max()):
        raise IdferError(f"{name} is {values[0]} for every face: nothing to read from features.")
    if target.continuous:
        return
    for level in np.unique(values):
        if (holders := len(np.unique(people[keep][values == level]))) < FOLDS:
            raise IdferError(
                f"{name}: only {holders} people show level {str(level)!r}; "
                f"probing unseen people needs {FOLDS}."
            )


def shuffle(people: People, rng: np.random.Generator) -> People:
    """(N,) row whose target each row takes when targets are permuted over people, blocks kept together.

    People are 0..S-1. A person with more rows than the donor gets the donor's over again.
    """
    count = np.bincount(people)
    by_person = np.argsort(people, kind="stable")
    start = np.cumsum(count) - count
    turn = np.arange(len(people)) - np.repeat(start, count)  # a person's 1st, 2nd, ... row
    donor = np.repeat(rng.permutation(len(count)), count)
    order = np.empty(len(people), np.intp)
    order[by_person] = by_person[start[donor] + turn % count[donor]]
    return order
