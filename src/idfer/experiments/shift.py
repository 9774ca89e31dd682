"""`idfer benchmark shift`: every method under the shift protocol, each tuned alike, over several seeds."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from idfer.catalogue import names_filled_in
from idfer.errors import UsageError
from idfer.names import split_names

if TYPE_CHECKING:
    from idfer.experiments.grid import Plan
    from idfer.experiments.jobs import Job, Workers
    from idfer.experiments.protocol import Protocol
    from idfer.experiments.scores import Row
    from idfer.experiments.tuning import Tried
    from idfer.training.settings import Settings

PLAN = Path(__file__).with_suffix(".yaml")
RULE = (
    "Among a method's settings, the one with the highest mean CCC on held-out people of the *training* "
    "distribution (`val`, tuning seeds only) under decorrelation weights, estimated from retrieved "
    "attributes and labels: an importance-weighted estimate of accuracy without the shortcut, from data "
    "that have it. "
    "The oracle's own `val` has no shortcut. No test split is looked at. [ours]"
)


@names_filled_in
def benchmark_shift(
    out: str | Path = "benchmarks/results",
    runs: str | Path = "runs/shift",
    methods: list[str] | str | None = None,
    seeds: list[int] | str = "1,2,3,4,5",
    tune_seeds: list[int] | str = "101",
    plan: str | Path | None = None,
    workers: int | None = None,
    ray: bool = False,
    size: Literal["full", "tiny"] = "full",
    device: str = "cpu",
    progress: bool = True,
) -> str:
    """Compare all methods on unseen people under a shortcut that holds, vanishes or turns round.

    Each method is searched over equally many settings on the tuning seeds and then run on the reported seeds:
    same faces, backbone, epochs and augmentation. Trials that are finished are kept under the hash of their
    arguments and never run again, also after an interruption. Writes shift.md, shift.json and shift.png.

    Args:
        out: folder of the results.
        runs: folder of faces, trained runs and trials.
        methods: which of {methods} and oracle, or module:Class of your own; all by default. ERM and oracle
            are the scale of "gap closed".
        seeds: reported seeds: of people, weights and order.
        tune_seeds: seeds that settings are chosen on; none of the reported ones.
        plan: YAML file of budget and settings per method; the one that comes with idfer by default.
        workers: processes; as many as there are cores by default.
        ray: run on Ray (pip install 'idfer[ray]') instead of processes; `runs` must be visible to every node.
        size: full, or tiny (seconds; shows that everything works, measures nothing).
        device: auto, cpu, cuda, cuda:N or mps.
        progress: show progress bars.

    Returns:
        The table of results, and where the files are.

    Raises:
        UsageError: an unknown method, a seed that both tunes and reports, or Ray asked for but not installed.
        IdferError: jobs failed; each is named and the others are kept.
    """
    from idfer.catalogue import method_entry
    from idfer.experiments.grid import Plan, contenders, trained_as
    from idfer.experiments.protocol import sized
    from idfer.experiments.seeds import numbers

    known = contenders()
    given = split_names(methods) or known
    for method in given:
        method_entry(trained_as(method))
    wanted = [method for method in known if method in given]
    wanted += [method for method in dict.fromkeys(given) if method not in known]
    reported, tuned = numbers("seeds", seeds), numbers("tune_seeds", tune_seeds)
    if both := sorted(set(reported) & set(tuned)):
        raise UsageError(f"seed {both[0]} is both tuned on and reported; choose another --tune_seeds.")

    from idfer.experiments.jobs import Workers, sources
    from idfer.experiments.shift_report import write

    protocol, changes = sized(size)
    shown = Plan.read(Path(plan or PLAN))
    if changes:
        shown = shown.shortened(changes, wanted, 2)
    shown.check_equal(wanted)
    study = _Study(shown, protocol, Path(runs), Workers.of(workers, ray), device, progress)
    chosen, tuning, problems = study.tune(wanted, tuned)
    rows, jobs = study.report(chosen, reported, problems)
    command = _command(methods=methods, seeds=reported, tune_seeds=tuned, plan=plan, size=size, device=device)
    content = {
        "command": command,
        "rule": RULE,
        "budget": dict(shown.budget),
        "protocol": protocol,
        "seeds": reported,
        "tune_seeds": tuned,
        "source": sources(jobs, Path(runs)),
        "tuning": tuning,
        "rows": rows,
    }
    return write(content, Path(out))


def _command(**options: Any) -> str:
    """The command line that gives these results; options at their default are left out."""
    given = {
        "methods": None, "seeds": [1, 2, 3, 4, 5], "tune_seeds": [101], "plan": None, "size": "full",
        "device": "cpu",
    }  # fmt: skip
    words = ["idfer", "benchmark", "shift"]
    for name, value in options.items():
        if value != given[name]:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words += [f"--{name}", text]
    return shlex.join(words)


@dataclass(frozen=True)
class _Study:
    """The two stages: choose settings, then report."""

    plan: Plan
    protocol: Protocol
    runs: Path
    workers: Workers
    device: str
    progress: bool

    def _job(self, name: str, method: str, seed: int, settings: Settings) -> Job:
        from idfer.experiments.protocol import ORACLE, SHIFTED
        from idfer.experiments.trial import job

        data = ORACLE if method == ORACLE else SHIFTED
        return job(f"{name}, seed {seed}", self.protocol, seed, data, settings, self.device)

    def tune(
        self, methods: Sequence[str], seeds: Sequence[int]
    ) -> tuple[dict[str, Settings], dict[str, list[Tried]], list[str]]:
        """Per method the chosen settings and all that was tried; and what failed.

        A method with a failed trial is not chosen for: its search would be smaller than the others'.
        """
        from idfer.experiments.scores import Row
        from idfer.experiments.trial import run_trials
        from idfer.experiments.tuning import Tried, select

        settings = {method: self.plan.settings(method) for method in methods}
        places = [(m, k, seed) for m in methods for k in range(len(settings[m])) for seed in seeds]
        jobs = [self._job(f"{m}, setting {k + 1}", m, seed, settings[m][k]) for m, k, seed in places]
        results = run_trials(jobs, self.runs, self.workers, "tuning", self.progress)
        by_place = dict(zip(places, results, strict=True))
        problems = [f"{j.name}: {r}" for j, r in zip(jobs, results, strict=True) if isinstance(r, str)]
        chosen, tuning = {}, {}
        for method in methods:
            rows = []
            for k in range(len(settings[method])):
                of_setting = {seed: by_place[method, k, seed] for seed in seeds}
                rows.append([Row.of(method, s, r) for s, r in of_setting.items() if not isinstance(r, str)])
            if any(len(of_setting) < len(seeds) for of_setting in rows):
                continue
            best = select([[row.value("selection") for row in of_setting] for of_setting in rows])
            chosen[method] = settings[method][best]
            tuning[method] = [
                Tried.of(changes, setting, of_setting, k == best)
                for k, (changes, setting, of_setting) in enumerate(
                    zip(self.plan.search(method), settings[method], rows, strict=True)
                )
            ]
        return chosen, tuning, problems

    def report(
        self, chosen: Mapping[str, Settings], seeds: Sequence[int], problems: Sequence[str]
    ) -> tuple[list[Row], list[Job]]:
        """A row of scores per method and seed.

        Raises:
            IdferError: a job of this stage or one before failed.
        """
        from idfer.experiments.jobs import fail
        from idfer.experiments.scores import Row
        from idfer.experiments.trial import run_trials

        places = [(method, seed) for seed in seeds for method in chosen]
        jobs = [self._job(method, method, seed, chosen[method]) for method, seed in places]
        results = run_trials(jobs, self.runs, self.workers, "trials", self.progress)
        failed = [f"{j.name}: {r}" for j, r in zip(jobs, results, strict=True) if isinstance(r, str)]
        fail([*problems, *failed])
        rows = [
            Row.of(method, seed, result)
            for (method, seed), result in zip(places, results, strict=True)
            if not isinstance(result, str)
        ]
        return rows, jobs
