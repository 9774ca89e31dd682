"""A `Sample` from tables: predictions, labels, attributes and features, joined by the faces' keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idfer.auditing import columns as naming
from idfer.auditing.checks import Check
from idfer.auditing.choosing import choose
from idfer.auditing.feature_files import read_features
from idfer.auditing.joining import KEY, key_columns, keys, places
from idfer.auditing.levels import attributes_of
from idfer.auditing.pairs import labels_of, predictions_of
from idfer.auditing.reading import Table, open_table
from idfer.auditing.sample import Sample
from idfer.auditing.scales import UNIT, Range
from idfer.errors import IdferError, UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """How the tables are to be read.

    Attributes:
        key: the column that names a face in every table, or several with commas between.
        columns: role (see `columns.ROLES`) to column, where names are not recognised.
        bins: borders of numbers by attribute, see `bins.parse_bins`.
        use: attributes to audit; None for all.
        label_range: of the labels.
        predicted_range: of the predictions.
        splits: values of the column `split` whose faces count; None for all.
        ordered: attributes whose few whole numbers are in order.
        min_people: of a group that is shown.
    """

    key: str = KEY
    columns: Mapping[str, str] = field(default_factory=dict)
    bins: Mapping[str, Sequence[float]] = field(default_factory=dict)
    use: Sequence[str] | None = None
    label_range: Range = UNIT
    predicted_range: Range = UNIT
    splits: Sequence[str] | None = None
    ordered: Sequence[str] = ()
    min_people: int = 20


@dataclass(frozen=True)
class Read:
    """What was read.

    Attributes:
        sample: to audit.
        checks: what was left out and how columns were taken.
    """

    sample: Sample
    checks: tuple[Check, ...]


def read_sample(
    predictions: Any = None,
    attributes: Any = None,
    labels: Any = None,
    features: Any = None,
    *,
    subject: ArrayLike | None = None,
    how: Reading | None = None,
) -> Read:
    """Read and join the tables of an audit.

    The faces are those of `predictions`, or without it those of `labels` (a data set before any model).

    Args:
        predictions: a path, DataFrame or mapping; or an array (N, 2) of valence and arousal.
        attributes: the same of attributes, a column each; without it `how.use` names columns of the faces'
            own table.
        labels: a path, DataFrame, mapping or array (N, 2); without it the labels are columns of the
            predictions, or there are none.
        features: see `feature_files.read_features`.
        subject: (N,) person of each face, where no column says it.
        how: names, borders and ranges.

    Raises:
        UsageError: names that are not there.
        IdferError: what cannot be used, with counts and examples.
    """
    import pandas as pd

    how = how or Reading()
    if predictions is None and labels is None:
        raise UsageError("nothing to audit: give predictions, a model with a manifest, or a data set.")
    modelled = predictions is not None
    faces = _table(predictions, "predictions", predicted=True) if modelled else _table(labels, "labels")
    others: dict[str, Table] = {}
    if modelled and labels is not None:
        others["labels"] = _table(labels, "labels")
    if attributes is not None:
        others["attributes"] = open_table(attributes, "attributes")
    _check_roles([faces, *others.values()], how.columns)
    faces, others, key = _with_keys(faces, others, how.key)
    named = key_columns(faces, key, list(others.values()))
    own = keys(faces, named)
    place: dict[str, NDArray[np.intp]] = {faces.name: np.arange(len(own))}
    used_keys = set(named)
    for what, table in others.items():
        their = key_columns(table, key, [faces])
        used_keys |= set(their)
        place[table.name] = places(own, keys(table, their), table.name, faces.name, what)
    checks: list[Check] = []
    predicted = None
    if modelled:
        predicted = predictions_of(faces, how.columns, how.predicted_range, labels is not None, checks)
    labelled = others.get("labels", faces)
    label = labels_of(
        labelled, place[labelled.name], own, how.columns, how.label_range, checks, needed=labels is not None
    )
    keep = _split_rows(faces, len(own), how.splits)
    for values, what in ((predicted, "prediction"), (label, "label")):
        if values is not None:
            _leave_out(keep, np.asarray(np.isfinite(values).all(axis=1)), own, what, checks)
    rows = np.flatnonzero(keep)
    tables = [faces, *others.values()]
    person = _subjects(tables, place, own, subject, how)
    person = None if person is None else person[rows]
    people = rows if person is None else pd.factorize(person)[0]  # a sort of a million texts takes seconds
    if "attributes" not in others and how.use is None and not any(_marked(name) for name in faces.names):
        raise UsageError(
            f"no attributes: give --attributes, or name columns of {faces.name} with --use, e.g. "
            "--use age,gender."
        )
    holder = others.get("attributes", faces)
    taken = used_keys | set(how.columns.values())  # by role: what names a face, a person or a label
    chosen = choose(holder, sorted(taken), how.use)
    found, more = attributes_of(
        holder, chosen, place[holder.name][rows], people, how.bins, asked=how.use is not None,
        ordered=how.ordered, min_people=how.min_people,
    )  # fmt: skip
    source = _texts(tables, "source", place, how)
    sample = Sample(
        key=own[rows],
        label=None if label is None else label[rows],
        predicted=None if predicted is None else predicted[rows],
        subject=person,
        attributes=tuple(found),
        features={} if features is None else read_features(features, own[rows], rows, len(own), key),
        source=None if source is None or len(set(source[rows])) < 2 else source[rows],
    )
    return Read(sample, (*checks, *more))


def _table(given: Any, what: str, predicted: bool = False) -> Table:
    """A table, or an array (N, 2) as one."""
    import pandas as pd

    if isinstance(given, (str, Path, pd.DataFrame, Mapping)):
        return open_table(given, what)
    array = np.asarray(given)
    if array.ndim != 2 or array.shape[1] != 2:
        raise IdferError(f"{what}: shape {array.shape}; give (N, 2), valence and arousal of each face.")
    return open_table(dict(zip(naming.PREDICTED if predicted else naming.LABELS, array.T, strict=True)), what)


def _check_roles(tables: Sequence[Table], given: Mapping[str, str]) -> None:
    for role, column in given.items():
        if not any(column in table for table in tables):
            raise UsageError(
                f"--columns {role}={column}: no table has a column {column!r}; {tables[0].name} has "
                f"{', '.join(tables[0].names[:12])}."
            )


def _with_keys(faces: Table, others: dict[str, Table], key: str) -> tuple[Table, dict[str, Table], str]:
    """Tables in memory without keys are aligned by row: they all get row numbers for keys."""
    tables = [faces, *others.values()]
    wanted = key.split(",")
    if any(table.file for table in tables) or key != KEY or any(n in t for t in tables for n in wanted):
        return faces, others, key
    count = len(faces.columns(faces.names))
    numbered = []
    for table in tables:
        frame = table.columns(table.names)
        if len(frame) != count:
            raise IdferError(
                f"{table.name}: {len(frame):,} rows for {count:,} {faces.name}; give one per face, in "
                f"their order, or a column {key!r} in each table."
            )
        numbered.append(
            open_table(frame.reset_index(drop=True).assign(**{key: np.arange(count)}), table.name)
        )
    return numbered[0], dict(zip(others, numbered[1:], strict=True)), key


def _split_rows(faces: Table, count: int, splits: Sequence[str] | None) -> NDArray[np.bool_]:
    """(N,) whether each face is of one of the splits."""
    if splits is None:
        return np.ones(count, bool)
    if "split" not in faces:
        raise UsageError(f"--splits: {faces.name} has no column `split`.")
    of = faces.columns(["split"])["split"].astype(str).to_numpy(object)
    for name in splits:
        if name not in of:
            raise unknown("split", name, sorted(set(of)))
    return np.isin(of, np.array(list(splits), object))


def _leave_out(
    keep: NDArray[np.bool_],
    there: NDArray[np.bool_],
    own: NDArray[np.object_],
    what: str,
    checks: list[Check],
) -> None:
    """Leave faces without a prediction or label out, and say so."""
    lost = keep & ~there
    keep &= there
    if not keep.any():
        raise IdferError(f"no face has a {what}.")
    if lost.any():
        rows = np.flatnonzero(lost)
        examples = ", ".join(repr(str(own[r])) for r in rows[:3])
        share = rows.size / (rows.size + keep.sum())
        checks.append(
            Check(
                "IDF321", "warning" if share > 0.01 else "info",
                f"{rows.size:,} of {len(own):,} faces have no {what} and are left out (e.g. {examples}).",
            )
        )  # fmt: skip


def _subjects(
    tables: Sequence[Table], place: Mapping[str, NDArray[np.intp]], own: NDArray[np.object_],
    given: ArrayLike | None, how: Reading,
) -> NDArray[np.object_] | None:  # fmt: skip
    """(N,) person of each face; a face without one is its own; None where nobody is known."""
    import pandas as pd

    if given is not None:
        values = np.asarray(given, object).ravel()
        if len(values) != len(own):
            raise IdferError(f"subject: {len(values):,} people for {len(own):,} faces; give one per face.")
        named = np.array(["" if pd.isna(value) else str(value).strip() for value in values], object)
        person = np.where(named == "", own, named)
    else:
        found = _texts(tables, "subject", place, how)
        if found is None:
            return None
        person = np.where(found == "", own, found)
    return None if (person == own).all() else person


def _texts(
    tables: Sequence[Table], role: str, place: Mapping[str, NDArray[np.intp]], how: Reading
) -> NDArray[np.object_] | None:
    """(N,) texts of the first table that has a role's column, "" where empty; None where none has."""
    for table in tables:
        if (name := naming.find(table, role, how.columns)) is not None and name not in (how.use or ()):
            column: pd.Series = table.columns([name])[name]
            texts = column.astype(object).where(column.notna(), "").map(_stripped).to_numpy(object)
            at = place[table.name]
            return np.where(at < 0, "", texts[at])
    return None


def _stripped(value: Any) -> str:
    """A text without spaces about it: "P1 " of a table made by hand is P1."""
    return str(value).strip()


def _marked(name: str) -> bool:
    """Whether a column can only be an attribute."""
    return name.startswith("factor.") or ("/" in name.strip("/"))
