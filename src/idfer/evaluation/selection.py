"""Which rows of a manifest are evaluated, probed and shown, and what they are probed for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from idfer.data.manifest import FACTOR, Manifest
from idfer.errors import unknown

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.evaluation.leakage import Target

ATTRIBUTES = ("gender", "age", "skin")  # probed wherever the data tell them, so that runs compare
PROBED_ROWS = 3000  # more rows of the same people hardly sharpen a probe
SHOWN_FACES = 24
_log = logging.getLogger(__name__)


def evaluated_rows(faces: Manifest, splits: Sequence[str] | None) -> NDArray[np.intp]:
    """Rows of the splits named; all but `train` by default, or all where there is nothing else."""
    if splits is not None:
        for split in splits:
            if split not in faces.splits:
                raise unknown("split", split, faces.splits)
        return np.flatnonzero(faces.frame["split"].isin(list(splits)).to_numpy())
    rows = np.flatnonzero((faces.frame["split"] != "train").to_numpy())
    if not len(rows):
        _log.warning("the manifest has only the split 'train': these scores may be of people trained on.")
        return np.arange(len(faces))
    return rows


def probed_rows(faces: Manifest, seed: int) -> tuple[NDArray[np.intp], list[str]]:
    """Rows to probe: of `balanced` where it exists (labels tell nothing of attributes there), else all.

    At most `PROBED_ROWS`, as evenly over people as can be.
    """
    splits = ["balanced"] if "balanced" in faces.splits else faces.splits
    rows = np.flatnonzero(faces.frame["split"].isin(splits).to_numpy())
    if len(rows) > PROBED_ROWS:
        rows = np.random.default_rng(seed).permutation(rows)
        turn = faces.frame["subject"].where(faces.frame["subject"] != "", faces.frame["path"])
        turns = turn.iloc[rows].groupby(turn.iloc[rows]).cumcount().to_numpy()  # a person's 1st, 2nd, ... row
        rows = np.sort(rows[np.argsort(turns, kind="stable")[:PROBED_ROWS]])
        _log.warning("leakage is probed on %d of the rows, evenly over people.", PROBED_ROWS)
    return rows, list(splits)


def probe_targets(
    faces: Manifest, attributes: Sequence[str], table: AttributeTable | None
) -> tuple[dict[str, Target], list[str]]:
    """What to probe for, with its source: ground truth where the manifest has it, else retrieved."""
    from idfer.evaluation.leakage import Target

    aligned = None if table is None else table.align(faces)
    targets, problems = {}, []
    for name in dict.fromkeys([*ATTRIBUTES, *attributes, *(aligned.levels if aligned else ())]):
        if FACTOR + name in faces.frame.columns:
            values = faces.frame[FACTOR + name]
            numeric = values.dtype.kind in "fiub"
            known = values.to_numpy(np.float64) if numeric else values.fillna("").astype(str).to_numpy(str)
            targets[name] = Target(known, "ground truth")
        elif aligned is not None and name in aligned.levels:
            clip = aligned.source.get("clip", "CLIP")
            targets[name] = Target(aligned.top(name).astype(str), f"retrieved with {clip}")
        else:
            problems.append(f"{name}: neither factor.{name} in the manifest nor retrieved; not probed.")
    return targets, problems


def shown_rows(faces: Manifest, probed: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """Rows to show: of different people while there are enough."""
    rows = np.random.default_rng(seed).permutation(probed if len(probed) else np.arange(len(faces)))
    first = np.unique(faces.subjects[rows], return_index=True)[1]
    order = np.concatenate([rows[np.sort(first)], np.delete(rows, first)])
    return order[:SHOWN_FACES]
