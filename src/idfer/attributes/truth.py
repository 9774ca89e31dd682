"""Ground truth in place of CLIP's answers: one-hot posteriors from a manifest's columns `factor.NAME` [ours].

For ablations that ask what retrieval errors cost. The ID vectors stay CLIP's text embeddings of the levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from idfer.attributes.table import AttributeTable
from idfer.data.manifest import FACTOR, Manifest
from idfer.errors import IdferError, UsageError


def with_truth(table: AttributeTable, manifest: Manifest) -> AttributeTable:
    """The table of a manifest's rows (aligned) with the true level of every attribute certain.

    A row whose truth is not known has `errors` set; others are free of error.

    Raises:
        UsageError: the manifest lacks the column of an attribute, or it is numeric without named levels.
        IdferError: a value is not among the attribute's levels.
    """
    posteriors, errors = true_posteriors(table.levels, manifest)
    return replace(table, posteriors=posteriors, errors=errors)


def true_posteriors(levels: Mapping[str, Sequence[str]], manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """One-hot posteriors (N, K) float32, NaN where unknown, and (N,) messages, "" = known.

    Raises as `with_truth`.
    """
    errors = np.full(len(manifest), "", object)
    parts = []
    for name, known in levels.items():
        values = _levels(name, levels, manifest)
        matches = values[:, None] == np.array(known, object)[None, :]
        empty = values == ""
        if (foreign := np.flatnonzero(~matches.any(axis=1) & ~empty)).size:
            row = int(foreign[0])
            raise IdferError(
                f"row {row} ({manifest.frame['path'].iloc[row]}): {FACTOR}{name} is {values[row]!r}, but "
                f"the attribute table has the levels {', '.join(known)} ({foreign.size} such rows); retrieve "
                "with a vocabulary whose levels are named as in the manifest."
            )
        errors[empty & (errors == "")] = f"{FACTOR}{name} is empty: its true level is not known."
        parts.append(np.where(empty[:, None], np.nan, matches))
    posteriors = np.concatenate(parts, axis=1).astype(np.float32)
    posteriors[errors != ""] = np.nan
    return posteriors, errors


def _levels(name: str, levels: Mapping[str, Sequence[str]], manifest: Manifest) -> np.ndarray:
    """(N,) the true level's name; text columns as they are, "" where empty."""
    column = FACTOR + name
    if column not in manifest.frame.columns:
        raise UsageError(
            f"the manifest has no column {column!r}, and --retrieval truth needs one per attribute used "
            f"({', '.join(levels)}); leave {name!r} out of --use, or use soft or hard."
        )
    values = manifest.frame[column]
    if values.dtype.kind not in "iuf":
        return values.fillna("").astype(str).to_numpy(object)
    from idfer.synthetic.factors import level  # imports torch

    numbers = values.to_numpy(np.float64)
    try:
        named = level(name, np.nan_to_num(numbers)).astype(object)
    except UsageError as error:
        raise UsageError(
            f"the column {column!r} holds numbers, which have no level names; write the levels "
            f"({', '.join(levels[name])}) as text."
        ) from error
    return np.where(np.isfinite(numbers), named, "")
