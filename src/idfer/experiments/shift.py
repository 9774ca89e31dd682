"""`idfer benchmark shift`: every method under the shift protocol, each tuned alike, over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from idfer.catalogue import names_filled_in
from idfer.errors import UsageError
from idfer.experiments.command import command_line
from idfer.experiments.protocol import CORRELATION
from idfer.names import split_names

if TYPE_CHECKING:
    from idfer.experiments.grid import Plan

PLAN = Path(__file__).with_suffix(".yaml")
SEEDS, TUNE_SEEDS = "11,12,13,14,15,16,17,18,19,20", "201,202,203"
FEWEST_TUNE_SEEDS, FEWEST_SETTINGS = 3, 9  # of a report


@names_filled_in
def benchmark_shift(
    protocol: str = CORRELATION,
    out: str | Path = "benchmarks/results",
    runs: str | Path = "runs/shift",
    methods: list[str] | str | None = None,
    seeds: list[int] | str = SEEDS,
    tune_seeds: list[int] | str = TUNE_SEEDS,
    plan: str | Path | None = None,
    settings: str | Path | None = None,
    epochs: list[int] | str | None = None,
    development: bool = False,
    again: str = "",
    workers: int | None = None,
    ray: bool = False,
    size: Literal["full", "tiny"] = "full",
    device: str = "cpu",
    progress: bool = True,
) -> str:
    """Compare all methods on unseen people under a shortcut that holds, vanishes or turns round.

    Each method is searched over equally many settings on the tuning seeds and then run on the reported seeds:
    same faces, backbone, epochs and augmentation. Trials that are finished are kept under the hash of their
    arguments and never run again, also after an interruption. Writes shift.html, shift.md, shift.json and
    shift.png, and enters a report in the ledger history.md beside them: seeds are reported once.

    Another protocol than correlation is run with the settings that were chosen there, and writes
    shift-NAME.html, .md, .json and .png; `all` also shift-protocols.*, a verdict per protocol.

    Args:
        protocol: what is shifted: {protocols}; several joined by commas, all but the first as `all`, or
            module:NAME of your own.
        out: folder of the results and of their ledger; another folder has a ledger of its own, which does not
            know what this one reports.
        runs: folder of faces, trained runs and trials.
        methods: which of {methods} and oracle, or module:Class of your own; all by default. ERM and oracle
            are the scale of "gap closed".
        seeds: reported seeds: of people, weights and order.
        tune_seeds: seeds that settings are chosen on; none of the reported ones, and 3 or more for a report.
        plan: YAML file of budget and settings per method; the one that comes with idfer by default.
        settings: shift.json whose chosen settings other protocols run with; that in `out` by default.
        epochs: lengths of training, e.g. 8,24: settings are chosen at the shortest and reported at each; the
            plan's alone by default.
        development: look at anything, report nothing: no line in the ledger, and the files say so.
        again: why seeds that were reported before are reported once more; stands in the ledger.
        workers: processes; as many as there are cores by default.
        ray: run on Ray (pip install 'idfer[ray]') instead of processes; `runs` must be visible to every node.
        size: full, or tiny (seconds; shows that everything works, measures nothing, and is no report).
        device: auto, cpu, cuda, cuda:N or mps.
        progress: show progress bars.

    Returns:
        The table of results, and where the files are.

    Raises:
        UsageError: an unknown protocol or method, a seed that both tunes and reports or was reported before,
            methods with unequal searches, epochs that are none, a search too small for a report, a report
            about to be overwritten by what is none, or Ray asked for but not installed.
        IdferError: jobs failed; each is named and the others are kept.
    """
    from idfer.experiments.grid import Plan, contenders, trained_as
    from idfer.experiments.ledger import REPORT, Ledger, kind_of
    from idfer.experiments.protocol import sized
    from idfer.experiments.seeds import lengths as lengths_of
    from idfer.experiments.seeds import numbers

    if protocol != CORRELATION:
        from idfer.experiments.jobs import Workers
        from idfer.experiments.protocol_runs import run_protocols

        if plan is not None:
            raise UsageError(
                f"--plan is of the search under {CORRELATION}; --protocol {protocol} takes no plan."
            )
        return run_protocols(
            protocol, settings=settings, out=Path(out), runs=Path(runs), methods=methods,
            seeds=numbers("seeds", seeds), epochs=lengths_of(epochs) if epochs is not None else None,
            kind=kind_of(size, development), again=again, workers=Workers.of(workers, ray), size=size,
            device=device, progress=progress,
        )  # fmt: skip
    if settings is not None:
        raise UsageError(f"--settings is for other protocols; {CORRELATION} chooses them.")
    wanted = _ordered(split_names(methods), contenders(), trained_as)
    reported, tuned = numbers("seeds", seeds), numbers("tune_seeds", tune_seeds)
    if both := sorted(set(reported) & set(tuned)):
        raise UsageError(f"seed {both[0]} is both tuned on and reported; choose another --tune_seeds.")
    sizes, changes = sized(size)
    shown = Plan.read(Path(plan or PLAN))
    if changes:
        shown = shown.shortened(changes, wanted, 2)
    lengths = lengths_of(epochs) if epochs is not None else [_epochs_of(shown)]
    shown = replace(shown, budget={**shown.budget, "epochs": lengths[0]})
    shown.check_equal(wanted)
    kind = kind_of(size, development)
    command = command_of(
        methods=methods, seeds=reported, tune_seeds=tuned, plan=plan, epochs=epochs and lengths,
        development=development, size=size, device=device,
    )  # fmt: skip
    ledger = Ledger.beside(Path(out))
    if kind == REPORT:
        _check_report(shown, wanted, tuned)
    ledger.check_allowed(kind, "shift", reported, command, again, tuned)

    from idfer.experiments.jobs import Workers
    from idfer.experiments.shift_report import headline, summary, write
    from idfer.experiments.study import Study
    from idfer.experiments.tables import source_text
    from idfer.experiments.trial import provenance
    from idfer.experiments.tuning import RULE

    study = Study(shown, sizes, Path(runs), Workers.of(workers, ray), device, progress)
    tuning, problems = study.tune(wanted, tuned)
    rows, jobs = study.report(tuning, reported, lengths, problems)
    origin = provenance({"tuning": study.tuning_jobs(wanted, tuned), "trials": jobs}, Path(runs))
    entry = None
    if kind == REPORT:
        found = {epochs: summary(of_length) for epochs, of_length in rows.items()}
        entry = ledger.enter(
            "shift", command, reported, tuned, headline(rows), again, found, source_text(origin["source_of"])
        )
    content = {
        "kind": kind,
        "ledger": entry and entry.name,
        "command": command,
        "rule": RULE,
        "budget": dict(shown.budget),
        "protocol": sizes,
        "seeds": reported,
        "tune_seeds": tuned,
        "epochs": lengths,
        **origin,
        "tuning": tuning,
    }
    return write(content, rows, Path(out))


def _ordered(given: Sequence[str] | None, known: Sequence[str], trained_as: Any) -> list[str]:
    """The methods wanted, those that are known first and in their order."""
    from idfer.catalogue import method_entry

    asked = given or known
    for method in asked:
        method_entry(trained_as(method))
    return [m for m in known if m in asked] + [m for m in dict.fromkeys(asked) if m not in known]


def _epochs_of(plan: Plan) -> int:
    """The plan's epochs; the default of a run where it names none."""
    from idfer.training.settings import Settings

    return int(plan.budget.get("epochs", Settings.epochs))


def _check_report(plan: Plan, methods: Sequence[str], tuned: Sequence[int]) -> None:
    """A report keeps to the rule: enough tuning seeds, enough settings."""
    settings = len(plan.search(methods[0]))
    for count, fewest, what in (
        (len(tuned), FEWEST_TUNE_SEEDS, "tuning seeds"), (settings, FEWEST_SETTINGS, "settings per method"),
    ):  # fmt: skip
        if count < fewest:
            raise UsageError(
                f"a report needs {fewest} {what} or more and this run has {count}; give more, or look at it "
                "as --development true."
            )


def command_of(**options: Any) -> str:
    """The command line that gives these results; options at their default are left out."""
    usual = {"seeds": SEEDS, "tune_seeds": TUNE_SEEDS, "size": "full", "device": "cpu"}
    given = {
        name: value
        for name, value in options.items()
        if value and (",".join(map(str, value)) if isinstance(value, list) else value) != usual.get(name)
    }
    return command_line(("benchmark", "shift"), **given)
