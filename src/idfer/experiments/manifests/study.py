"""A comparison's trials: at every place every method is searched alike, and what was chosen is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from idfer.catalogue import method_entry
from idfer.experiments.grid import Plan
from idfer.experiments.jobs import Job, Workers, fail, failures, run_jobs
from idfer.experiments.manifests.places import Place
from idfer.experiments.manifests.trial import job
from idfer.experiments.scores import Row
from idfer.experiments.tuning import select
from idfer.search import at_edge
from idfer.training.settings import Settings

Choose = Literal["weighted", "plain"]


@dataclass(frozen=True)
class Tried:
    """A setting that was tried for a method at every place.

    Attributes:
        given: what it changes.
        settings: what that makes of the budget.
        chosen_at: numbers of the places, from 0, where the rule chose it.
        selection: what it was judged by, mean over places.
        val_ccc: CCC of held-out people, mean over places.
        test_ccc: CCC of the test people, which the rule does not read, at each place.
        edges: settings of it that lie at an edge of what is searched.
    """

    given: Mapping[str, Any]
    settings: Settings
    chosen_at: Sequence[int]
    selection: float
    val_ccc: float
    test_ccc: Sequence[float]
    edges: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "given": dict(self.given), "settings": self.settings.to_dict()}


def regret(tried: Sequence[Tried]) -> float:
    """CCC of the best setting in hindsight minus that of the chosen one on the test people, mean over places.

    nan where one of them has no CCC.
    """
    places = range(len(tried[0].test_ccc))
    chosen = {at: setting.test_ccc[at] for setting in tried for at in setting.chosen_at}
    lost = [max(setting.test_ccc[at] for setting in tried) - chosen[at] for at in places]
    return sum(lost) / len(lost)


@dataclass(frozen=True)
class Study:
    """The trials of a comparison on one set of faces.

    Attributes:
        plan: what every method is given and where it is searched.
        faces: digest of the faces.
        places: divisions and seeds, each written beside the faces.
        choose: what settings are chosen by.
        runs: folder of faces, runs and results.
        workers: where trials run.
        device: where each is trained.
        progress: show bars.
    """

    plan: Plan
    faces: str
    places: Sequence[Place]
    choose: Choose
    runs: Path
    workers: Workers
    device: str
    progress: bool

    def compare(
        self, methods: Sequence[str]
    ) -> tuple[dict[str, list[Tried]], list[Row], dict[str, list[Job]]]:
        """All that was tried per method, a row per method and place of what was chosen, and the trials.

        A row's `seed` is the number of its place, from 0.

        Raises:
            IdferError: trials failed; each is named and the others are kept.
        """
        settings = {method: self.plan.settings(method) for method in methods}
        spots = [
            (method, at, k)
            for at in range(len(self.places))
            for method in methods
            for k in range(len(settings[method]))
        ]
        search = [
            self._job(f"{method}, setting {k + 1}", settings[method][k], at, "selection")
            for method, at, k in spots
        ]
        found = dict(zip(spots, self._run(search, "searching"), strict=True))
        tuning = {
            method: self._tried(
                method, settings[method], [[found[method, at, k] for at in range(len(self.places))]
                for k in range(len(settings[method]))],
            )
            for method in methods
        }  # fmt: skip
        chosen = [
            (method, at, setting.settings)
            for method, tried in tuning.items()
            for setting in tried
            for at in setting.chosen_at
        ]
        jobs = [self._job(method, setting, at, "all") for method, at, setting in chosen]
        rows = [
            Row.of(method, at, result)
            for (method, at, _), result in zip(chosen, self._run(jobs, "measuring"), strict=True)
        ]
        return tuning, rows, {"search": search, "chosen": jobs}

    def _job(self, name: str, settings: Settings, at: int, measure: Literal["selection", "all"]) -> Job:
        place = self.places[at]
        return job(f"{name}, {place.name}", self.faces, place, settings, self.device, measure)

    def _run(self, jobs: Sequence[Job], what: str) -> list[Mapping[str, Any]]:
        return finished(jobs, run_jobs(jobs, self.runs, self.workers, what, self.progress))

    def _tried(
        self, method: str, settings: Sequence[Settings], results: Sequence[Sequence[Mapping[str, Any]]]
    ) -> list[Tried]:
        """A method's settings with what was found of each at every place."""
        rows = [[Row.of(method, at, result) for at, result in enumerate(of)] for of in results]
        score = ("selection",) if self.choose == "weighted" else ("ccc", "val", "mean")
        best = [select([[of[at].value(*score)] for of in rows]) for at in range(len(self.places))]
        ranges = method_entry(method).search

        def mean(of: Sequence[Row], *wanted: str) -> float:
            return sum(row.value(*wanted) for row in of) / len(of)

        return [
            Tried(
                given, setting, [at for at, chosen in enumerate(best) if chosen == k], mean(of, *score),
                mean(of, "ccc", "val", "mean"), [row.value("ccc", "test", "mean") for row in of],
                at_edge(ranges, setting.to_dict()),
            )
            for k, (given, setting, of) in enumerate(
                zip(self.plan.search(method), settings, rows, strict=True)
            )
        ]  # fmt: skip


def finished(jobs: Sequence[Job], results: Sequence[dict[str, Any] | str]) -> list[Mapping[str, Any]]:
    """The results, where all have one.

    Raises:
        IdferError: some failed; each is named.
    """
    fail(failures(jobs, results))
    return [result for result in results if not isinstance(result, str)]
