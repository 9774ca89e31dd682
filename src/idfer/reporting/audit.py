"""`audit`: what a model, its predictions or a data set tell about people; as files and a page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.errors import IdferError, UsageError
from idfer.names import split_names
from idfer.reporting.folder import REPORT, check_out

if TYPE_CHECKING:
    from idfer.auditing.compare import Comparison
    from idfer.auditing.engine import Audit, AuditSettings

# Ways in -> options that they alone use. `device` and `batch_size` change no number and go with all.
_GO_WITH = {
    ("predictions",): ("labels", "features"),
    ("model",): ("interventions", "size", "detector"),
    ("predictions", "model"): ("predicted_range",),
    ("predictions", "model", "data"): (
        "attributes", "subject", "key", "columns", "use", "bins", "ordered", "range", "splits", "name",
    ),
}  # fmt: skip


def audit(
    inputs: Sequence[Any] | Any = None,
    predictions: Any = None,
    attributes: Any = None,
    labels: Any = None,
    features: Any = None,
    model: Any = None,
    data: Any = None,
    out: str | Path | None = None,
    subject: Any = None,
    key: str = "path",
    columns: str | dict[str, str] = "",
    use: list[str] | str | None = None,
    bins: str | dict[str, Any] = "",
    ordered: list[str] | str | None = None,
    range: str = "",
    predicted_range: str = "",
    splits: list[str] | str | None = None,
    min_people: int = 20,
    intersections: int = 2,
    level: float = 0.95,
    permutations: int = 2000,
    interventions: bool | None = None,
    size: int | None = None,
    detector: str | None = None,
    batch_size: int = 256,
    device: str = "auto",
    seed: int = 0,
    fail_on: str | dict[str, float] = "",
    name: str = "",
    progress: bool = True,
) -> Audit | Comparison:
    """Audit a valence-arousal model: what it tells about people, and whom it fails.

    Accuracy, gaps between groups with tests by person that are corrected over all of them, what probes read
    of each attribute against what the labels alone tell, how large a gap this sample could have found, and
    coded checks. Three ways in, and a comparison:

    predictions that you have: `idfer audit --predictions preds.csv --attributes attrs.parquet -o DIR`;
    a model: `idfer audit --model module:function|model.onnx|RUN MANIFEST --attributes attrs.parquet -o DIR`;
    a data set before any model: `idfer audit --data MANIFEST --attributes attrs.parquet -o DIR`;
    two audits of the same faces: `idfer audit A/audit.json B/audit.json -o DIR`.

    The exit code is 0 whatever is found, unless --fail-on says otherwise. docs/audit.md says what the numbers
    mean and what they do not.

    Args:
        inputs: the manifest of --model; or two audits to compare.
        predictions: a CSV or Parquet table with the key, valence_pred, arousal_pred and, where known, the
            labels valence, arousal, and subject; what `idfer predict` and `idfer evaluate` write as it is. In
            Python also a DataFrame, or an array (N, 2).
        attributes: a table with the key and a column per attribute (categories, numbers, or posteriors
            age/young, age/older), or attributes.parquet of `idfer retrieve`; by default ground truth
            `factor.NAME` of the faces' own table.
        labels: a table with the key, valence and arousal, where the predictions have none.
        features: a .npy array with a row per prediction, or a Parquet table with the key and columns of
            lists; probed for what it tells of attributes.
        model: module:function from uint8 crops (B, S, S, 3) to (B, 2) or to (features, (B, 2)); an ONNX file
            with a YAML file beside it; or a run.
        data: the manifest of a data set, or any table with the key, valence and arousal.
        out: folder for audit.json, tables, faces.parquet and report.html; None writes nothing.
        subject: the column that says whose face it is, where it is not called subject; in Python also an
            array.
        key: the column that names a face in every table; several with commas between, e.g. path,frame.
        columns: columns under other names, e.g. valence_pred=v,arousal_pred=a.
        use: which attributes, e.g. age,gender; all by default.
        bins: borders of numbers, e.g. age=0,30,60,120, or how many quantiles, e.g. age=4; thirds by default,
            halves where thirds would have too few people.
        ordered: attributes of a few whole numbers that are ranks (age groups 0 to 4), not codes (1 woman, 2
            man): small ones are then merged with a neighbour; none by default.
        range: of the labels, e.g. 1,9; stretched to [-1, 1].
        predicted_range: of the predictions.
        splits: only these splits, e.g. test.
        min_people: groups of fewer people are merged or withheld.
        intersections: largest number of attributes that are crossed; 1 for none.
        level: confidence of intervals; 1 - level is the chance of any false alarm among all tests of gaps.
        permutations: of people, for the tests.
        interventions: for --model, also the effect of each attribute on drawn faces of one expression; true
            by default.
        size: side of the crops of a function that does not say it.
        detector: what finds faces that the manifest does not place; as in training by default.
        batch_size: faces per call of a model.
        device: auto, cpu, cuda, cuda:N or mps.
        seed: of every draw.
        fail_on: exit with 3 where a limit is passed, e.g. gap=0.1,leak=0.3 (also effect, label).
        name: of the model or data set in the report.
        progress: show progress bars.

    Returns:
        The audit (`frame`, `to_dict`, `write`), or the comparison of two.

    Raises:
        UsageError: options that do not go together, names that are not there.
        IdferError: unusable data; the message counts and names what. Or `fail_on` limits what could not be
            measured (no two groups of enough people, no probe, no labels, a model that could not be run on
            drawn faces): everything is written, and the gate does not pass.
    """
    from idfer.auditing import ways
    from idfer.auditing.bins import parse_bins
    from idfer.auditing.columns import parse_columns
    from idfer.auditing.engine import AuditSettings, run
    from idfer.auditing.gate import failures, parse_gate, unmeasured
    from idfer.auditing.inputs import Reading, read_sample
    from idfer.auditing.scales import parse_range

    given = _inputs(inputs)
    way = _way(given, predictions, model, data)
    _check_options(way, locals())
    settings = AuditSettings(
        level=level, permutations=permutations, min_people=min_people,
        intersections=intersections, seed=seed,
    )  # fmt: skip
    limits = parse_gate(fail_on)
    _check_limits(limits, way, interventions)
    if out is not None:
        check_out(out, _files(way))
    command = _command(locals())
    if way == "comparison":
        return _compare(given, settings, out, command)
    roles = parse_columns(columns)
    person = subject
    if isinstance(subject, str):
        roles, person = roles | {"subject": subject}, None
    how = Reading(
        key, roles, parse_bins(bins), split_names(use), parse_range(range),
        parse_range(predicted_range, "--predicted-range"), split_names(splits), split_names(ordered) or (),
        min_people,
    )  # fmt: skip
    kept = None
    if way == "model":
        read, own = ways.of_model(
            model, given[0], attributes, how, settings, intervene=interventions is not False, size=size,
            detector=detector, batch_size=batch_size, device=device, progress=progress,
        )  # fmt: skip
        name, kept = name or own, read.sample.features
    elif way == "data":
        read = ways.of_data(data, attributes, how, person)
        name = name or _name(data, "data set")
    else:
        read = read_sample(predictions, attributes, labels, features, subject=person, how=how)
        name = name or _name(predictions, "predictions")
    found = run(read.sample, settings, name=name)
    found = ways.completed(found, read, settings, {"kind": way, "name": name, "command": command})
    found = replace(found, failures=failures(found, limits))
    if out is not None:
        _write(found, Path(out), kept)
    if missing := unmeasured(found, limits):
        raise IdferError(f"--fail-on {'; '.join(missing)}. Without it the limit would always pass.")
    return found


def _inputs(inputs: Any) -> list[Any]:
    """What stands without an option's name, as a list."""
    if inputs is None:
        return []
    return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]


def _way(given: list[Any], predictions: Any, model: Any, data: Any) -> str:
    """Which of the ways in was asked for: predictions, model, data or comparison.

    Raises:
        UsageError: none, or more than one.
    """
    asked = [
        way
        for way, value in (("predictions", predictions), ("model", model), ("data", data))
        if value is not None
    ]
    if len(asked) > 1:
        raise UsageError(f"--{asked[0]} and --{asked[1]} are two ways in; give one of them.")
    way = asked[0] if asked else "comparison" if given else ""
    if not way:
        raise UsageError(
            "nothing to audit: give --predictions FILE, --model MODEL MANIFEST, --data MANIFEST, or two "
            "audits A/audit.json B/audit.json."
        )
    wanted = {"model": 1, "comparison": 2}.get(way, 0)
    if len(given) != wanted:
        what = {"model": "one manifest", "comparison": "two audits, A/audit.json B/audit.json"}.get(way)
        if what is None:
            raise UsageError(f"--{way} takes no further input; {given[0]!r} is one too many.")
        if way == "comparison":
            raise UsageError(
                f"{len(given)} input(s) without an option: give {what}, or --predictions, --model, --data."
            )
        raise UsageError(f"--model needs {what} after it: idfer audit --model MODEL MANIFEST.")
    return way


def _check_options(way: str, values: Mapping[str, Any]) -> None:
    """Raise for an option that this way in does not use: it would seem to have been followed.

    Args:
        way: see `_way`.
        values: of all arguments of `audit`.
    """
    for ways, options in _GO_WITH.items():
        for option in options:
            value = values[option]
            empty = value is False or (isinstance(value, (str, dict, list)) and not value)
            if way not in ways and not empty and not _is_default(option, value):
                listed = " or ".join(f"--{name}" for name in ways)
                raise UsageError(f"--{option.replace('_', '-')} goes with {listed}, not with {_option(way)}.")
    if way == "model" and values["subject"] is not None and not isinstance(values["subject"], str):
        raise UsageError("subject: with a model the people are a column of the manifest; give its name.")


def _check_limits(limits: Mapping[str, float], way: str, interventions: bool | None) -> None:
    """Raise for a limit on what this way in never measures: such a gate would always pass."""
    measured = {
        "predictions": ("gap", "leak", "label"),
        "model": ("gap", "leak", "label") if interventions is False else ("gap", "leak", "label", "effect"),
        "data": ("label",),
    }.get(way, ())
    if strangers := [name for name in limits if name not in measured]:
        here = _option(way) + (" without drawn faces" if way == "model" else "")
        can = f"; it can limit {', '.join(measured)}" if measured else ""
        raise UsageError(
            f"--fail-on {strangers[0]}: {here} does not measure it, so it would always pass{can}."
        )


def _option(way: str) -> str:
    return "a comparison" if way == "comparison" else f"--{way}"


def _files(way: str) -> tuple[str, ...]:
    """Names of what is written."""
    from idfer.auditing.compare import COMPARISON
    from idfer.auditing.folder import AUDIT, FACES, FEATURES

    if way == "comparison":
        return (COMPARISON, REPORT)
    return (AUDIT, REPORT, FACES, FEATURES)


def _compare(given: list[Any], settings: AuditSettings, out: Any, command: str) -> Comparison:
    from idfer.auditing.compare import compare

    found = compare(*given, settings=settings)
    found.content["about"]["command"] = command
    if out is not None:
        from idfer.reporting import audit_page

        found.write(out)
        audit_page.write(found.to_dict(), Path(out))
    return found


def _write(found: Audit, folder: Path, features: Any) -> None:
    """All files of an audit; the page last, from what audit.json holds."""
    from idfer.auditing.folder import FEATURES
    from idfer.auditing.model_run import write_features
    from idfer.reporting import audit_page

    if features:
        assert found.sample is not None
        write_features(features, found.sample.key, folder)
    elif (folder / FEATURES).is_file():
        (folder / FEATURES).unlink()  # of an earlier audit
    found.write(folder)
    audit_page.write(found.to_dict(), folder)


def _name(given: Any, otherwise: str) -> str:
    """A name for the report from a file's."""
    if not isinstance(given, (str, Path)):
        return otherwise
    path = Path(given)
    stem = path.stem if path.suffix else path.name
    return path.resolve().parent.name if stem in ("manifest", "predictions", "faces") else stem


def _command(values: Mapping[str, Any]) -> str:
    """The command line that does the same, of the arguments that are no defaults."""
    words = ["idfer", "audit", *(_shown(value) for value in _inputs(values["inputs"]))]
    for parameter in signature(audit).parameters:
        value = values[parameter]
        if parameter in ("inputs", "progress") or _is_default(parameter, value):
            continue
        option = "-o" if parameter == "out" else f"--{parameter.replace('_', '-')}"
        words += [option, _shown(value)]
    return shlex.join(words)


def _is_default(option: str, value: Any) -> bool:
    """Whether an argument of `audit` is what it would be, had nobody given it."""
    default = signature(audit).parameters[option].default
    plain = isinstance(value, (bool, int, float, str))  # tables have an equality of their own
    return value is None or value is default or (plain and bool(value == default))


def _shown(value: Any) -> str:
    """An argument as it would be typed; what only Python can give by its kind."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, Path, int, float)):
        return str(value)
    if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
        return ",".join(value)
    if isinstance(value, Mapping) and all(isinstance(v, (str, int, float)) for v in value.values()):
        return ",".join(f"{k}={v}" for k, v in value.items())
    return f"<{type(value).__name__}>"
