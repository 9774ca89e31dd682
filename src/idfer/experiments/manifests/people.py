"""What was predicted for everybody who was tested, and how far other people would have changed the result.

Tests over folds or seeds ask what training again would change. Here the trained models stay and people are
drawn again (`evaluation.bootstrap`), all methods on the same draws. All test people of a seed are pooled, so
the CCC differs a little from the mean over folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from idfer.data.split import groups_of
from idfer.errors import IdferError
from idfer.evaluation import metrics
from idfer.evaluation.bootstrap import Array, Estimate, by_subject, interval, resample
from idfer.experiments.jobs import Job
from idfer.experiments.manifests.places import TEST, Places
from idfer.experiments.manifests.trial import predictions_file

if TYPE_CHECKING:
    import pandas as pd

    from idfer.data.manifest import Manifest

REPLICATES = 1000


@dataclass(frozen=True)
class OverPeople:
    """A method's accuracy on the people tested, all of a seed together, and how it hangs on who they are.

    Attributes:
        ccc: mean of valence's and arousal's, mean over seeds, with its interval over people.
        difference: its difference to the method compared with; None of that method itself.
    """

    ccc: Estimate
    difference: Estimate | None


def predictions(
    faces: Manifest, places: Places, jobs: Sequence[Job], names: Sequence[tuple[str, int]], runs: Path
) -> pd.DataFrame:
    """A row per method, place and face tested, with its labels and what was predicted.

    Args:
        faces: N faces.
        places: their divisions.
        jobs: the trials that measured.
        names: method and number of the place of each.
        runs: folder of the trials.

    Raises:
        IdferError: the predictions of a trial have disappeared.
    """
    import pandas as pd

    parts = []
    for job, (method, at) in zip(jobs, names, strict=True):
        place = places.every[at]
        rows = np.flatnonzero(place.division == TEST)
        said = _read(predictions_file(runs, job.key), job, len(rows), runs)
        told = faces.frame.iloc[rows][["path", "frame", "subject", "valence", "arousal"]]
        parts.append(
            told.assign(
                row=rows, method=method, place=place.name, fold=place.fold, seed=place.seed,
                predicted_valence=said[:, 0], predicted_arousal=said[:, 1],
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def over_people(
    table: pd.DataFrame, faces: Manifest, places: Places, reference: str
) -> dict[str, OverPeople]:
    """By method; folds of one seed are pooled, seeds are averaged.

    Args:
        table: of `predictions`.
        faces: N faces.
        places: their divisions; what they keep together is drawn together.
        reference: the method that others are compared with.
    """
    groups = groups_of(faces, places.by) if places.kind == "dealt" else faces.subjects
    methods = list(dict.fromkeys(table["method"]))
    sums = np.stack(
        [np.stack([_sums(of, groups) for of in _by_seed(table, method)], axis=1) for method in methods],
        axis=1,
    )  # (S, methods, seeds, 2, 7)
    values, draws = _ccc(sums.sum(0)), _ccc(resample(sums, REPLICATES))
    second = methods.index(reference)
    found = {}
    for k, method in enumerate(methods):
        difference = values[k] - values[second], draws[:, k] - draws[:, second]
        found[method] = OverPeople(
            _estimate(values[k], draws[:, k], len(sums)),
            None if k == second else _estimate(*difference, len(sums)),
        )
    return found


def _by_seed(table: pd.DataFrame, method: str) -> list[pd.DataFrame]:
    of_method = table[table["method"] == method].sort_values(["seed", "row"])
    return [of for _, of in of_method.groupby("seed")]


def _sums(of: pd.DataFrame, groups: NDArray[np.str_]) -> Array:
    """(S, 2, 7) sums of one method at one seed, by group."""
    target = of[["valence", "arousal"]].to_numpy(np.float64)
    said = of[["predicted_valence", "predicted_arousal"]].to_numpy(np.float64)
    return by_subject(metrics.sums(target, said), groups[of["row"].to_numpy()])


def _ccc(sums: Array) -> Array:
    """(...) CCC of sums (..., seeds, 2, 7), mean over dimensions and seeds."""
    return np.asarray(metrics.from_sums(sums)["ccc"].mean(axis=(-2, -1)))


def _estimate(value: float, draws: Array, people: int) -> Estimate:
    low, high = interval(draws) if people > 1 else (np.nan, np.nan)
    return Estimate(float(value), float(low), float(high))


def records(found: Mapping[str, OverPeople]) -> dict[str, dict[str, Estimate | None]]:
    """As JSON."""
    return {method: {"ccc": of.ccc, "difference": of.difference} for method, of in found.items()}


def _read(file: Path, job: Job, count: int, runs: Path) -> NDArray[np.float32]:
    try:
        said: NDArray[np.float32] = np.load(file)
    except (OSError, ValueError) as error:
        raise IdferError(
            f"{file}: the predictions of {job.name} cannot be read ({error}); delete {job.file(runs)} and "
            "run the command again."
        ) from error
    if said.shape != (count, 2):
        raise IdferError(f"{file}: is of other faces; delete {job.file(runs)} and run the command again.")
    return said
