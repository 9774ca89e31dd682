"""`idfer benchmark shift`: every method under the shift protocol, each tuned alike, over several seeds."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from idfer.errors import IdferError, UsageError, unknown
from idfer.names import split_names

if TYPE_CHECKING:
    from idfer.experiments.jobs import Job, Workers
    from idfer.experiments.protocol import Protocol

PLAN = Path(__file__).with_suffix(".yaml")
METHODS = (
    "erm", "oracle", "idfer", "lineage", "adversarial", "hsic", "groupdro", "caf", "avce", "elim", "dice",
)  # fmt: skip
RULE = (
    "Among a method's settings, the one with the highest mean CCC on held-out people of the *training* "
    "distribution (`val`, tuning seeds only) under decorrelation weights, estimated from retrieved "
    "attributes and labels: an importance-weighted estimate of accuracy without the shortcut, from data "
    "that have it. "
    "The oracle's own `val` has no shortcut. No test split is looked at. [ours]"
)


@dataclass(frozen=True)
class Plan:
    """What every method is given, and where each is searched.

    Attributes:
        budget: settings common to all.
        grid: per method its settings, as many for each.
    """

    budget: Mapping[str, Any]
    grid: Mapping[str, Sequence[Mapping[str, Any]]]

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a plan.

        Raises:
            IdferError: it is not one, or methods differ in their number of settings.
        """
        import yaml

        try:
            content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise IdferError(f"{path}: cannot be read as YAML ({reason}).") from error
        try:
            plan = cls(content["budget"], content["grid"])
            counts = {method: len(settings) for method, settings in plan.grid.items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise IdferError(f"{path}: is no plan; it needs `budget` and `grid`.") from error
        if len(set(counts.values())) > 1:
            raise IdferError(
                f"{path}: methods must have equally many settings: "
                f"{', '.join(f'{method} {count}' for method, count in counts.items())}."
            )
        return plan

    def settings(self, method: str) -> list[dict[str, Any]]:
        """All settings of a method, every default written out.

        Raises:
            IdferError: the plan has none for it; UsageError: a setting that does not exist.
        """
        from idfer.experiments.trial import resolve

        if method not in self.grid:
            raise IdferError(
                f"the plan has no settings for {method!r}; it has them for {', '.join(self.grid)}."
            )
        name = "erm" if method == "oracle" else method
        found = []
        for k, one in enumerate(self.grid[method], start=1):
            try:
                found.append(resolve({**self.budget, **one, "method": name}))
            except IdferError as error:
                raise type(error)(f"plan, {method}, setting {k}: {error}") from error
        return found


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
        methods: which, e.g. erm,oracle,idfer; all by default. ERM and oracle are the scale of "gap closed".
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
    wanted = split_names(methods) or list(METHODS)
    for method in wanted:
        if method not in METHODS:
            raise unknown("method", method, list(METHODS))
    reported, tuned = numbers("seeds", seeds), numbers("tune_seeds", tune_seeds)
    if both := sorted(set(reported) & set(tuned)):
        raise UsageError(f"seed {both[0]} is both tuned on and reported; choose another --tune_seeds.")

    from idfer.experiments.jobs import Workers, sources
    from idfer.experiments.shift_report import write

    shown, protocol = _sized(Plan.read(Path(plan or PLAN)), size)
    study = _Study(shown, protocol, Path(runs), Workers.of(workers, ray), device, progress)
    chosen, tuning, problems = study.tune([m for m in METHODS if m in wanted], tuned)
    rows, jobs = study.report(chosen, reported, problems)
    command = _command(methods=methods, seeds=reported, tune_seeds=tuned, plan=plan, size=size, device=device)
    content = {
        "command": command,
        "rule": RULE,
        "budget": dict(shown.budget),
        "protocol": jobs[0].arguments["protocol"],
        "seeds": reported,
        "tune_seeds": tuned,
        "source": sources(jobs, Path(runs)),
        "tuning": tuning,
        "rows": rows,
    }
    return write(content, Path(out))


def numbers(name: str, given: list[int] | str) -> list[int]:
    """Seeds as people type them, ascending.

    Raises:
        UsageError: none, or one that is not a whole number from 0.
    """
    parts = (split_names(given) or []) if isinstance(given, str) else [str(one) for one in given]
    if bad := [part for part in parts if not part.isdecimal()]:
        raise UsageError(f"--{name}: {bad[0]!r} is not a seed; give whole numbers, e.g. 1,2,3.")
    if not parts:
        raise UsageError(f"--{name} is empty; give at least one.")
    return sorted({int(part) for part in parts})


def sized(protocol_size: str) -> tuple[Protocol, dict[str, Any]]:
    """The protocol of a size, and what it changes in the budget.

    Held-out people are many, for they choose between settings.
    """
    from idfer.experiments.protocol import Protocol

    if protocol_size == "tiny":
        protocol = Protocol(train=(24, 8), val=(16, 5), test=(16, 5), size=32)
        return protocol, {"epochs": 1, "batch_size": 32, "size": 32}
    return Protocol(val=(60, 20)), {}


def _sized(plan: Plan, size: str) -> tuple[Plan, Protocol]:
    protocol, changes = sized(size)
    grid = {method: list(settings)[:2] for method, settings in plan.grid.items()} if changes else plan.grid
    return Plan({**plan.budget, **changes}, grid), protocol


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

    def _job(self, name: str, method: str, seed: int, settings: Mapping[str, Any]) -> Job:
        from idfer.experiments.protocol import ORACLE, SHIFTED
        from idfer.experiments.trial import job

        data = ORACLE if method == "oracle" else SHIFTED
        return job(f"{name}, seed {seed}", self.protocol, seed, data, settings, self.device)

    def tune(
        self, methods: Sequence[str], seeds: Sequence[int]
    ) -> tuple[dict[str, dict[str, Any]], dict[str, list[dict[str, Any]]], list[str]]:
        """Per method the chosen settings and all that was tried; and what failed.

        A method with a failed trial is not chosen for: its search would be smaller than the others'.
        """
        from idfer.experiments.trial import run_trials

        tried = {method: self.plan.settings(method) for method in methods}
        places = [(m, k, seed) for m in methods for k in range(len(tried[m])) for seed in seeds]
        jobs = [self._job(f"{m}, setting {k + 1}", m, seed, tried[m][k]) for m, k, seed in places]
        results = run_trials(jobs, self.runs, self.workers, "tuning", self.progress)
        found = dict(zip(places, results, strict=True))
        problems = [f"{j.name}: {r}" for j, r in zip(jobs, results, strict=True) if isinstance(r, str)]
        chosen, tuning = {}, {}
        for m in methods:
            own = [[found[m, k, seed] for seed in seeds] for k in range(len(tried[m]))]
            if any(isinstance(one, str) for line in own for one in line):
                continue
            scores = [{name: _mean(line, name) for name in _TUNED} for line in own]
            best = max(range(len(scores)), key=lambda k: scores[k]["selection"])
            chosen[m] = tried[m][best]
            tuning[m] = [
                {"given": dict(self.plan.grid[m][k]), "settings": tried[m][k], "chosen": k == best} | score
                for k, score in enumerate(scores)
            ]
        return chosen, tuning, problems

    def report(
        self, chosen: Mapping[str, dict[str, Any]], seeds: Sequence[int], problems: Sequence[str]
    ) -> tuple[list[dict[str, Any]], list[Job]]:
        """A row of numbers per method and seed.

        Raises:
            IdferError: a job of this stage or one before failed.
        """
        from idfer.experiments.jobs import fail
        from idfer.experiments.trial import run_trials

        places = [(method, seed) for seed in seeds for method in chosen]
        jobs = [self._job(method, method, seed, chosen[method]) for method, seed in places]
        results = run_trials(jobs, self.runs, self.workers, "trials", self.progress)
        failed = [f"{j.name}: {r}" for j, r in zip(jobs, results, strict=True) if isinstance(r, str)]
        fail([*problems, *failed])
        rows = [
            {"name": method, "seed": seed} | result
            for (method, seed), result in zip(places, results, strict=True)
            if not isinstance(result, str)
        ]
        return rows, jobs


_TUNED = ("selection", "val_ccc", "val_effective")


def _mean(results: Sequence[Any], name: str) -> float:
    return float(sum(result[name] for result in results) / len(results))
