"""`idfer benchmark shift --protocol NAME|all`: the contenders under other shifts, as they were tuned for one.

Nothing is chosen here. A method's setting is the one that the rule chose under `correlation` and that its
shift.json names, so that a protocol shows what a choice made on one shift is worth on another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idfer.catalogue import PROTOCOLS
from idfer.errors import IdferError, UsageError
from idfer.experiments.grid import contenders, trained_as
from idfer.experiments.jobs import Job, Workers, fail
from idfer.experiments.ledger import REPORT, TINY, Ledger, check_no_report
from idfer.experiments.protocol import CORRELATION, ORACLE, SHIFTED, sized
from idfer.experiments.protocol_measures import Levels
from idfer.experiments.protocols.design import Design, load_design
from idfer.experiments.scores import Row
from idfer.experiments.tuning import read_chosen
from idfer.names import split_names
from idfer.training.settings import Settings

# The scale, idfer, and each baseline that was the best of all on a test of `correlation` at either length
# (report shift-3): the strongest known before any other protocol was run.
CONTENDERS = ("erm", ORACLE, "adversarial", "caf", "groupdro", "idfer")
ALL = "all"


@dataclass(frozen=True)
class Tuned:
    """What `benchmark shift` chose under `correlation`.

    Attributes:
        path: its shift.json.
        chosen: changes of the budget by method.
        content: the whole file.
    """

    path: Path
    chosen: Mapping[str, Mapping[str, Any]]
    content: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Tuned:
        """Read a shift.json.

        Raises:
            IdferError: it is missing, unreadable, or names no chosen settings.
        """
        if not path.is_file():
            raise IdferError(
                f"{path}: no such file. Protocols run with the settings chosen under `{CORRELATION}`: run "
                "`idfer benchmark shift` first, or name its shift.json with --settings."
            )
        chosen = read_chosen(path)
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content.get("budget"), dict):
            raise IdferError(f"{path}: says nothing of a budget; run `idfer benchmark shift` again.")
        return cls(path, chosen, content)

    def settings(self, method: str, changes: Mapping[str, Any]) -> Settings:
        """A method's setting: the budget, what was chosen, and what a size changes.

        Raises:
            UsageError: nothing was chosen for it, or what was chosen does not exist any more.
        """
        if method not in self.chosen:
            raise UsageError(
                f"{self.path} has no setting of {method}: run `idfer benchmark shift --methods {method},...` "
                "first, or leave it out with --methods."
            )
        trained = trained_as(method)
        try:
            return Settings.of(
                **{**self.content["budget"], **self.chosen[method], **changes, "method": trained}
            )
        except IdferError as error:
            raise type(error)(f"{self.path}, {method}: {error}") from error


@dataclass(frozen=True)
class Campaign:
    """What all protocols of one command share.

    Attributes:
        tuned: where settings come from.
        settings: of each method.
        missing: contenders that have no settings.
        left_out: other methods that have settings and are not run.
        size: "full" or "tiny".
        seeds: of people, weights and order.
        epochs: lengths of training, ascending.
        kind: whether this is a report, and if not, what it is.
        again: why seeds are reported again.
        out: folder of results.
        runs: folder of faces, runs and trials.
        workers: where trials run.
        device: where each is trained.
        progress: show bars.
    """

    tuned: Tuned
    settings: Mapping[str, Settings]
    missing: Sequence[str]
    left_out: Sequence[str]
    size: str
    seeds: Sequence[int]
    epochs: Sequence[int]
    kind: str
    again: str
    out: Path
    runs: Path
    workers: Workers
    device: str
    progress: bool

    def trials(self, name: str, design: Design) -> tuple[dict[int, Levels], list[Job]]:
        """Rows by level, by number of epochs; the oracle is trained once and stands in every level.

        Raises:
            IdferError: a trial failed.
        """
        from idfer.experiments.trial import job, run_trials

        sizes = sized(self.size)[0]
        places = [
            (epochs, level, method, seed)
            for epochs in self.epochs
            for seed in self.seeds
            for level in design.levels
            for method in self.settings
        ]
        jobs = [
            job(
                f"{name}, {level}, {method}, seed {seed}", sizes, seed, ORACLE if method == ORACLE else level,
                self.settings[method].changed(epochs=epochs), self.device, "effects", name,
            )
            for epochs, level, method, seed in places
        ]  # fmt: skip
        found = run_trials(jobs, self.runs, self.workers, name, self.progress)
        fail(list(dict.fromkeys(f"{j.name}: {r}" for j, r in zip(jobs, found, strict=True) if _failed(r))))
        lengths: dict[int, Levels] = {}
        for epochs in self.epochs:
            rows: dict[str, list[Row]] = {level: [] for level in design.levels}
            for (length, level, method, seed), result in zip(places, found, strict=True):
                if length == epochs and not isinstance(result, str):
                    rows[level].append(Row.of(method, seed, result))
            lengths[epochs] = rows
        return lengths, jobs


def _failed(result: Any) -> bool:
    return isinstance(result, str)


def run_protocols(
    protocol: str,
    *,
    settings: str | Path | None,
    out: Path,
    runs: Path,
    methods: Sequence[str] | str | None,
    seeds: Sequence[int],
    epochs: Sequence[int] | None,
    kind: str,
    again: str,
    workers: Workers,
    size: str,
    device: str,
    progress: bool,
) -> str:
    """Run shift protocols other than `correlation` and write shift-NAME.json, .md and .png of each.

    Args:
        protocol: a name, several joined by commas, or `all`, which also writes shift-protocols.*: a verdict
            per protocol, that of `correlation` read from the settings' file.
        settings: a shift.json of `correlation`; that in `out` by default.
        out: folder of the results.
        runs: folder of faces, trained runs and trials.
        methods: which contenders; by default those of `CONTENDERS` that have settings.
        seeds: of people, weights and order.
        epochs: lengths of training, ascending; None: the budget's.
        kind: whether this is a report, and if not, what it is.
        again: why seeds that were reported before are reported once more.
        workers: where trials run.
        size: "full" or "tiny".
        device: where each is trained.
        progress: show bars.

    Returns:
        The tables, and where the files are.

    Raises:
        UsageError: no such protocol or method, a method without settings, a seed that was tuned on, a
            report with settings of what is none, or one about to be overwritten by what is none.
        IdferError: no settings, or jobs failed; each is named and the others are kept.
    """
    from idfer.experiments.protocol_report import OVERVIEW

    names = _names(protocol)
    designs = {name: load_design(name) for name in names}
    tuned = Tuned.read(Path(settings) if settings else out / "shift.json")
    if used := sorted({*seeds} & {*tuned.content.get("tune_seeds", ())}):
        raise UsageError(f"seed {used[0]} was tuned on ({tuned.path}); choose other --seeds.")
    if kind == REPORT and tuned.content.get("kind") != REPORT:
        raise UsageError(
            f"{tuned.path} is no report, so what runs with its settings is none either; report "
            "`idfer benchmark shift` first, or look at this as --development true."
        )
    given = split_names(methods)
    wanted = given or [name for name in CONTENDERS if name in contenders() and name in tuned.chosen]
    changes = sized(size)[1]
    chosen = {method: tuned.settings(method, changes) for method in dict.fromkeys(wanted)}
    if not chosen:
        raise UsageError(f"{tuned.path} has settings of no contender; name some with --methods.")
    lengths = list(epochs) if epochs else [next(iter(chosen.values())).epochs]
    campaign = Campaign(
        tuned, chosen, [] if given else [n for n in CONTENDERS if n not in chosen],
        [name for name in tuned.chosen if name not in chosen], size, seeds, lengths, kind, again, out, runs,
        workers, device, progress,
    )  # fmt: skip
    asked = {
        "methods": methods, "seeds": list(seeds), "settings": settings, "epochs": epochs and list(epochs),
        "development": kind != REPORT and size == "full", "size": size, "device": device,
    }  # fmt: skip
    ready = {name: _prepare(campaign, name, asked) for name in names}  # refuses before anything is trained
    if protocol == ALL and kind != REPORT:
        check_no_report(out / f"{OVERVIEW}.json")
    said, found, failed = [], {}, []
    for name, design in designs.items():
        try:
            text, found[name] = _one(campaign, name, design, *ready[name])
        except IdferError as error:
            if len(designs) == 1:
                raise
            failed.append(f"{name}: {error}")
        else:
            said.append(text)
    if failed:
        kept = f"Written: {', '.join(found)}. " if found else ""
        raise IdferError("\n".join([*failed, f"{kept}The same command runs what failed again."]))
    if protocol == ALL:
        said.append(_overview(campaign, found, asked))
    return "\n\n".join(said)


def _names(protocol: str) -> list[str]:
    others = [name for name in PROTOCOLS if name != CORRELATION]
    names = others if protocol == ALL else split_names(protocol) or []
    if not names:
        raise UsageError(f"--protocol is empty; give one of {', '.join(PROTOCOLS)}, or {ALL}.")
    if CORRELATION in names:
        raise UsageError(
            f"--protocol {protocol}: `{CORRELATION}` chooses the settings of the others; run it alone."
        )
    return list(dict.fromkeys(names))


def _prepare(campaign: Campaign, name: str, asked: Mapping[str, Any]) -> tuple[str, Ledger]:
    """The command of one protocol, and the ledger it may be entered in."""
    from idfer.experiments.protocol_report import file_of
    from idfer.experiments.shift import command_of

    command = command_of(protocol=name, **asked)
    ledger = Ledger.beside(campaign.out)
    ledger.check_allowed(campaign.kind, file_of(name), campaign.seeds, command, campaign.again)
    return command, ledger


def _one(
    campaign: Campaign, name: str, design: Design, command: str, ledger: Ledger
) -> tuple[str, dict[str, Any]]:
    """Run and write one protocol; returns what to print, and its results and report at the first length."""
    from idfer.experiments.protocol_report import file_of, headline, results, write
    from idfer.experiments.tables import source_text
    from idfer.experiments.trial import provenance

    lengths, jobs = campaign.trials(name, design)
    entry, origin = None, provenance({"trials": jobs}, campaign.runs)
    if campaign.kind == REPORT:
        tuned_on = campaign.tuned.content.get("tune_seeds", ())
        ledger = Ledger.beside(campaign.out)  # others were entered since
        said = headline(design, lengths)
        summary = {epochs: results(design, levels)["summary"] for epochs, levels in lengths.items()}
        entry = ledger.enter(
            file_of(name), command, campaign.seeds, tuned_on, said, campaign.again, summary,
            source_text(origin["source_of"]),
        )  # fmt: skip
    content = {
        "kind": campaign.kind,
        "ledger": entry and entry.name,
        "command": command,
        "settings_from": campaign.tuned.content.get("command", str(campaign.tuned.path)),
        "settings": dict(campaign.settings),
        "chosen": {method: campaign.tuned.chosen[method] for method in campaign.settings},
        "budget": campaign.tuned.content["budget"] | sized(campaign.size)[1],
        "protocol": sized(campaign.size)[0],
        "seeds": list(campaign.seeds),
        "epochs": list(campaign.epochs),
        "missing": list(campaign.missing),
        "left_out": list(campaign.left_out),
        **origin,
    }
    text = write(name, design, content, lengths, campaign.out)
    return text, {"ledger": content["ledger"], **results(design, lengths[campaign.epochs[0]])}


def _overview(campaign: Campaign, found: Mapping[str, dict[str, Any]], asked: Mapping[str, Any]) -> str:
    from idfer.experiments.protocol_report import overview, results
    from idfer.experiments.shift import command_of

    rows, note = _of_correlation(campaign)
    first = {CORRELATION: results(load_design(CORRELATION), {SHIFTED: rows})} if rows else {}
    if first and campaign.kind == REPORT:
        first[CORRELATION]["ledger"] = campaign.tuned.content.get("ledger")
    command = command_of(protocol=ALL, **asked)
    return overview(first | dict(found), command, campaign.out, campaign.kind, note)


def _of_correlation(campaign: Campaign) -> tuple[list[Row], str]:
    """Rows of `correlation` that the others' stand beside, and in words what differs or why there are none.

    They are of the same length of training and methods, for else the row would tell of something else, and of
    the seeds that it was reported on: no seed is used twice to fill a row.
    """
    content, file, epochs = campaign.tuned.content, campaign.tuned.path.name, campaign.epochs[0]
    left_out = f"`{CORRELATION}` is left out: {file}"
    first = (content.get("epochs") or [content["budget"].get("epochs", Settings.epochs)])[0]
    longer = content.get("lengths", {}).get(str(epochs), {})
    lines = content.get("rows", ()) if epochs == first else longer.get("rows", ())
    if not lines or (content.get("kind") == TINY) != (campaign.kind == TINY):
        return [], f"{left_out} has no rows of it at {epochs} epochs and this size."
    rows = [Row.of(line["name"], line["seed"], line) for line in lines]
    rows = [row for row in rows if row.name in campaign.settings]
    if not rows:
        return [], f"{left_out} shares no method with the others."
    seeds, methods = {row.seed for row in rows}, {row.name for row in rows}
    lacking = [method for method in campaign.settings if method not in methods]
    differs = [f"of seeds {', '.join(map(str, sorted(seeds)))}"] if seeds != {*campaign.seeds} else []
    differs += [f"without {', '.join(lacking)}"] if lacking else []
    return rows, " ".join(f"The row of `{CORRELATION}` is {what}." for what in differs)
