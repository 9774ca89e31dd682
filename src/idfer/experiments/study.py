"""The two stages of a benchmark: choose a setting per method by the rule, then run it on other seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from idfer.catalogue import method_entry
from idfer.experiments.grid import Plan, trained_as
from idfer.experiments.jobs import Job, Workers, fail, failures
from idfer.experiments.protocol import ORACLE, SHIFTED, Protocol
from idfer.experiments.scores import Row
from idfer.experiments.trial import Measured, job, run_trials
from idfer.experiments.tuning import Tried, chosen_of, select
from idfer.training.settings import Settings


@dataclass(frozen=True)
class Study:
    """A benchmark's trials.

    Attributes:
        plan: what every method is given and where it is searched.
        protocol: sizes of the splits.
        runs: folder of faces, runs and results.
        workers: where trials run.
        device: where each is trained.
        progress: show bars.
    """

    plan: Plan
    protocol: Protocol
    runs: Path
    workers: Workers
    device: str
    progress: bool

    def _job(self, name: str, method: str, seed: int, settings: Settings, measure: Measured) -> Job:
        data = ORACLE if method == ORACLE else SHIFTED
        return job(f"{name}, seed {seed}", self.protocol, seed, data, settings, self.device, measure)

    def tuning_jobs(self, methods: Sequence[str], seeds: Sequence[int]) -> list[Job]:
        """The trials of `tune`: by method, setting and seed."""
        return [
            self._job(f"{method}, setting {number}", method, seed, setting, "selection")
            for method in methods
            for number, setting in enumerate(self.plan.settings(method), start=1)
            for seed in seeds
        ]

    def tune(self, methods: Sequence[str], seeds: Sequence[int]) -> tuple[dict[str, list[Tried]], list[str]]:
        """Per method all that was tried, with what is chosen; and what failed.

        A method with a failed trial is not chosen for: its search would be smaller than the others'.
        """
        settings = {method: self.plan.settings(method) for method in methods}
        places = [(m, k, seed) for m in methods for k in range(len(settings[m])) for seed in seeds]
        jobs = self.tuning_jobs(methods, seeds)
        results = run_trials(jobs, self.runs, self.workers, "tuning", self.progress)
        by_place = dict(zip(places, results, strict=True))
        problems = failures(jobs, results)
        tuning = {}
        for method in methods:
            rows = []
            for k in range(len(settings[method])):
                of_setting = {seed: by_place[method, k, seed] for seed in seeds}
                rows.append([Row.of(method, s, r) for s, r in of_setting.items() if not isinstance(r, str)])
            if any(len(of_setting) < len(seeds) for of_setting in rows):
                continue
            best = select([[row.value("selection") for row in of_setting] for of_setting in rows])
            ranges = method_entry(trained_as(method)).search
            tuning[method] = [
                Tried.of(changes, setting, of_setting, k == best, ranges)
                for k, (changes, setting, of_setting) in enumerate(
                    zip(self.plan.search(method), settings[method], rows, strict=True)
                )
            ]
        return tuning, problems

    def report(
        self,
        tuning: Mapping[str, Sequence[Tried]],
        seeds: Sequence[int],
        lengths: Sequence[int],
        problems: Sequence[str],
    ) -> tuple[dict[int, list[Row]], list[Job]]:
        """A row of scores per method and seed, for each number of epochs; the chosen settings stay.

        Raises:
            IdferError: a job of this stage or one before failed.
        """
        chosen = {method: chosen_of(tried).settings for method, tried in tuning.items()}
        places = [(epochs, method, seed) for epochs in lengths for seed in seeds for method in chosen]
        jobs = [
            self._job(
                _name(method, epochs, lengths), method, seed, chosen[method].changed(epochs=epochs), "all"
            )
            for epochs, method, seed in places
        ]
        results = run_trials(jobs, self.runs, self.workers, "trials", self.progress)
        fail([*problems, *failures(jobs, results)])
        rows: dict[int, list[Row]] = {epochs: [] for epochs in lengths}
        for (epochs, method, seed), result in zip(places, results, strict=True):
            if not isinstance(result, str):
                rows[epochs].append(Row.of(method, seed, result))
        return rows, jobs


def _name(method: str, epochs: int, lengths: Sequence[int]) -> str:
    return method if len(lengths) == 1 else f"{method}, {epochs} epochs"
