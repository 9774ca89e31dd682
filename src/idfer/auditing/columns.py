"""Which column is which: names that are recognised, names that a message suggests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from idfer.auditing.reading import Table, listed
from idfer.errors import IdferError, UsageError, unknown

PREDICTED = ("valence_pred", "arousal_pred")
LABELS = ("valence", "arousal")
OWN = ("input", "face_id")  # columns that only the table of `idfer predict` has
ROLES = (*PREDICTED, *LABELS, "subject", "source")
"""What `--columns` maps to a column of the user's."""

_PERSON = ("subject", "subject_id", "person", "person_id", "participant", "identity", "actor")
NAMES: Mapping[str, tuple[str, ...]] = {
    **{
        f"{d}_pred": (f"{d}_pred", f"predicted_{d}", f"pred_{d}", f"{d}_predicted", f"{d}_prediction")
        for d in LABELS
    },
    **{d: (d, f"{d}_label", f"label_{d}", f"{d}_true", f"true_{d}", f"{d}_gt", f"gt_{d}") for d in LABELS},
    "subject": _PERSON,
    "source": ("source", "dataset"),
}
"""Names that a role's column may have, best first."""

_PREDICTED_WORDS = {"pred", "preds", "predicted", "prediction", "hat", "estimate", "estimated", "est", "out",
                    "output", "score", "p"}  # fmt: skip
_DIMENSION_WORDS = {"valence": {"valence", "val", "v"}, "arousal": {"arousal", "aro", "a"}}


def parse_columns(columns: Mapping[str, str] | str) -> dict[str, str]:
    """`valence_pred=v_hat,subject=who` as a mapping of roles to columns.

    Raises:
        UsageError: not written so, or a role that there is not.
    """
    if isinstance(columns, str):
        pairs = [part.partition("=") for part in columns.split(",") if part.strip()]
        if bad := [part for part in pairs if not (part[0].strip() and part[2].strip())]:
            raise UsageError(f"--columns: {''.join(bad[0])!r} is no NAME=COLUMN; write e.g. valence_pred=v.")
        columns = {role.strip(): column.strip() for role, _, column in pairs}
    for role in columns:
        if role not in ROLES:
            raise unknown("column of an audit", role, list(ROLES))
    return dict(columns)


def find(table: Table, role: str, given: Mapping[str, str]) -> str | None:
    """The table's column of a role: the one that was given, else one of the names known for it."""
    if (chosen := given.get(role)) is not None:
        return chosen if chosen in table else None
    return next((name for name in NAMES[role] if name in table), None)


def pair(table: Table, roles: tuple[str, str], given: Mapping[str, str]) -> tuple[str, str] | None:
    """The table's columns of valence and arousal, or None where it has neither.

    Raises:
        IdferError: it has one of them alone.
    """
    first, second = (find(table, role, given) for role in roles)
    if first is not None and second is not None:
        return first, second
    if first is None and second is None:
        return None
    there, lacking = (first, roles[1]) if first is not None else (second, roles[0])
    raise IdferError(f"{table.name}: has {there!r} but no {lacking!r}.{hint(table, [lacking])}")


def hint(table: Table, roles: Sequence[str]) -> str:
    """What to say of roles that no column has: columns that look like them, or those that there are."""
    found = {role: near for role in roles if (near := suggestion(table.names, role))}
    if found:
        pairs = ",".join(f"{role}={name}" for role, name in found.items())
        return f" Say --columns {pairs} if that is what they are."
    return f" It has the columns {listed(table.names)}; say which with --columns {roles[0]}=COLUMN."


def suggestion(names: Sequence[str], role: str) -> str | None:
    """A column that looks like a role: the right dimension, and about a prediction or not."""
    if role in ("subject", "source"):
        return next((n for n in names if role in n.lower()), None)
    dimension, predicted = role.removesuffix("_pred"), role.endswith("_pred")
    for name in names:
        spelled = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
        words = set(filter(None, re.split(r"[^a-z]+", spelled)))
        if words & _DIMENSION_WORDS[dimension] and bool(words & _PREDICTED_WORDS) == predicted:
            return name
    return None
