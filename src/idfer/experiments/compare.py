"""`idfer benchmark compare`: methods on a user's own manifest, each searched alike, over folds of people."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from idfer.catalogue import names_filled_in
from idfer.errors import UsageError
from idfer.experiments.command import command_line, named
from idfer.names import split_names

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.experiments.grid import Plan
    from idfer.training.settings import Settings

PLAN = Path(__file__).with_suffix(".yaml")
ALONE = "`val` is of one person, so labels and attributes cannot be told apart by weights"
PLACING = ("detector", "alignment", "margin")  # decided once, for all see the same faces


@names_filled_in
def benchmark_compare(
    manifest: str | Path | Manifest | None = None,
    attributes: str | Path | AttributeTable | None = None,
    methods: list[str] | str = "erm,idfer",
    out: str | Path = "compare",
    runs: str | Path = "runs/compare",
    folds: int | None = None,
    by: str | None = None,
    seeds: list[int] | str | None = None,
    tries: int | None = None,
    choose: Literal["weighted", "plain"] | None = None,
    plan: str | Path | None = None,
    budget: dict[str, Any] | None = None,
    workers: int | None = None,
    ray: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> str:
    """Compare methods on your own faces: people unseen in training, every method searched alike.

    The manifest's own splits are used where it has train and test (or val); else folds are dealt by person,
    and each is tested once. For every fold and seed, each method is tried with equally many settings, the one
    that is best on held-out people is taken, and its accuracy and leakage are measured on the people tested.
    Trials are kept under the hash of their arguments and never run again, also after an interruption. Writes
    compare.md, compare.json, compare.png, and compare.parquet: every prediction of every face tested.

    Args:
        manifest: manifest.parquet, or a CSV with columns path, valence, arousal, and for folds subject.
        attributes: attributes.parquet of `idfer retrieve`: for methods that use attributes, for the choice of
            settings by weighted CCC, and to probe for them.
        methods: which of {methods}, or module:Class of your own.
        out: folder of the results.
        runs: folder of trained runs and trials.
        folds: deal so many folds, whatever splits or folds the manifest has; 5 where it has none.
        by: column whose rows stay together in folds: subject by default, or e.g. video. A row without a value
            is its own group.
        seeds: each deals folds anew; of official splits each trains anew. 1 by default, 1,2,3,4,5 of splits.
        tries: settings tried per method; the plan's by default, 9. 1 tries the defaults alone. Not with a
            plan that lists the settings.
        choose: what settings are chosen by on held-out people: weighted (CCC under weights that make labels
            and attributes independent) or plain (CCC); weighted by default where attributes are given.
        plan: YAML file of budget and settings per method; the one that comes with idfer by default.
        budget: options of `idfer fit` that all methods get, over those of the plan, e.g. --budget.epochs 20.
        workers: processes; as many as there are cores by default, 1 on a GPU.
        ray: run on Ray (pip install 'idfer[ray]') instead of processes; `runs` must be visible to every node.
        device: auto, cpu, cuda, cuda:N or mps.
        progress: show progress bars.

    Returns:
        The table of results, and where the files are.

    Raises:
        UsageError: no manifest, an unknown method, setting or column, a method that needs attributes without
            them, too few people or folds, or people that are not named.
        IdferError: the manifest or the table cannot be used, or jobs failed; each is named and the others are
            kept.
    """
    from idfer.experiments.jobs import Workers, origins
    from idfer.experiments.manifests.faces import prepare
    from idfer.experiments.manifests.measures import reference_of
    from idfer.experiments.manifests.people import over_people, predictions
    from idfer.experiments.manifests.places import places
    from idfer.experiments.manifests.report import PLAIN, WEIGHTED, write
    from idfer.experiments.manifests.study import Study
    from idfer.experiments.manifests.words import data_record
    from idfer.experiments.seeds import numbers
    from idfer.files import check_writable

    if manifest is None or not str(manifest):
        raise UsageError("--manifest is missing; give the path of a manifest.parquet or a CSV.")
    wanted = _methods(methods)
    shown = _plan(plan, budget, tries, wanted)
    settings = {method: shown.settings(method) for method in wanted}
    shown.check_equal(wanted)
    _check_placing(settings)
    check_attributes([s for tried in settings.values() for s in tried], attributes, manifest)
    chosen_by = choose or ("weighted" if attributes is not None else "plain")
    if chosen_by == "weighted" and attributes is None:
        raise UsageError("--choose weighted weighs by attributes; give --attributes, or --choose plain.")
    given_seeds = None if seeds is None else numbers("seeds", seeds)
    where, count = device_and_workers(device, workers)
    pool = Workers.of(count, ray)
    try:
        check_writable(Path(out))
    except OSError as error:
        raise UsageError(f"-o {out}: cannot be written ({error.strerror or error}).") from error

    faces = prepare(manifest, attributes, Path(runs), settings[wanted[0]][0], progress)
    divided = places(faces.manifest, folds, by, given_seeds)
    rule = {"weighted": WEIGHTED, "plain": PLAIN}[chosen_by]
    if chosen_by == "weighted" and divided.of_one_person(faces.manifest.subjects):
        if choose == "weighted":
            raise UsageError(f"--choose weighted: {ALONE}; leave it out, or give `val` more people.")
        print(f"idfer: {ALONE}; settings are chosen by CCC as it is.", file=sys.stderr)
        chosen_by, rule = "plain", f"{PLAIN} It is not weighted: {ALONE}."
    for place in divided.every:
        place.write(Path(runs), faces.digest)
    study = Study(shown, faces.digest, divided.every, chosen_by, Path(runs), pool, where, progress)
    tuning, rows, jobs = study.compare(wanted)
    content = {
        "command": command_line(
            ("benchmark", "compare"), manifest=manifest, attributes=attributes, methods=wanted, folds=folds,
            by=by, seeds=given_seeds, tries=tries, choose=choose, plan=plan, budget=budget,
            device=None if device == "auto" else device,
        ),
        "rule": rule,
        "budget": dict(shown.budget),
        "methods": wanted,
        "data": data_record(faces, divided, named(manifest), named(attributes)),
        **origins(jobs, Path(runs)),
        "tuning": tuning,
    }  # fmt: skip
    table = predictions(
        faces.manifest, divided, jobs["chosen"], [(row.name, row.seed) for row in rows], Path(runs)
    )
    people = over_people(table, faces.manifest, divided, reference_of(rows))
    return write(content, rows, people, table, Path(out))


def _methods(given: Sequence[str] | str) -> list[str]:
    """The methods wanted, each once.

    Raises:
        UsageError: none, or one that does not exist.
    """
    from idfer.catalogue import method_entry
    from idfer.experiments.protocol import ORACLE

    wanted = list(dict.fromkeys(split_names(given) or []))
    if not wanted:
        raise UsageError("--methods is empty; name two or more, e.g. erm,idfer.")
    for method in wanted:
        if method == ORACLE:
            raise UsageError(
                "--methods: oracle learns from faces without the shortcut, which only `idfer benchmark "
                "shift` can draw; leave it out."
            )
        method_entry(method)
    return wanted


def _plan(
    path: str | Path | None, budget: Mapping[str, Any] | None, tries: int | None, methods: Sequence[str]
) -> Plan:
    """The plan with what the command line says of it."""
    from idfer.experiments.grid import Plan, merged

    read = Plan.read(Path(path or PLAN))
    both = merged(read.budget, budget or {})
    if both.get("holdout"):
        raise UsageError("--budget.holdout: a fifth of the people is kept back already; leave it out.")
    if tries is not None and tries < 1:
        raise UsageError(f"--tries is {tries}; it must be at least 1.")
    listed = [method for method in methods if read.listed(method) is not None]
    if tries is not None and listed:
        raise UsageError(
            f"--tries {tries}: {path} lists the settings of {', '.join(listed)}, so none are drawn; leave "
            "--tries out, or those lists."
        )
    return replace(read, budget=both, count=read.count if tries is None else tries)


def _check_placing(settings: Mapping[str, Sequence[Settings]]) -> None:
    """Refuse a plan whose settings place or cut faces in several ways."""
    first = next(iter(settings.values()))[0]
    for method, tried in settings.items():
        for name in PLACING:
            if any(getattr(setting, name) != getattr(first, name) for setting in tried):
                raise UsageError(
                    f"the plan: {method}: {name} is not {getattr(first, name)!r} in every setting; all "
                    "methods see the same faces. Put it into the budget, or make two comparisons."
                )


def check_attributes(settings: Sequence[Settings], attributes: object, manifest: object) -> None:
    """Refuse, before any work, what needs attributes where there are none.

    Raises:
        UsageError: there is no table and a setting needs one; the message says how to make it.
    """
    if attributes is not None:
        return
    for setting in settings:
        if setting.needs_attributes:
            raise UsageError(
                f"method {setting.method!r} needs retrieved attributes: run `idfer retrieve "
                f"{named(manifest)} --clip ViT-B-16/openai -o attributes.parquet` (another CLIP as you like; "
                "drawn faces need no --clip), then give --attributes attributes.parquet."
            )


def device_and_workers(device: str, workers: int | None) -> tuple[str, int | None]:
    """The device by its own name, and how many processes: one where they would share a GPU."""
    from idfer.device import resolve_device

    found = str(resolve_device(device))
    return found, workers if workers is not None or found == "cpu" else 1
