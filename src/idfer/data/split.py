"""`split`: folds of a manifest, grouped by person and alike in valence and arousal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from idfer.errors import UsageError, unknown
from idfer.ranges import check_seed

if TYPE_CHECKING:
    from idfer.data.manifest import Manifest

_EDGES = (-1 / 3, 1 / 3)  # thirds of each dimension [ours]: nine strata


@dataclass(frozen=True)
class Folds:
    """A manifest with folds.

    Attributes:
        manifest: with a column `fold`, 0 to K - 1, and, where a fold is named for a split, a new `split`.
        by: the column whose groups were kept together.
        path: where it was written; None where it was not.
    """

    manifest: Manifest
    by: str
    path: Path | None = None

    def __str__(self) -> str:
        frame = self.manifest.frame
        groups = frame.assign(group=groups_of(self.manifest, self.by)).groupby("fold")
        table = groups.agg(
            rows=("path", "size"), groups=("group", "nunique"), valence=("valence", "mean"),
            arousal=("arousal", "mean"),
        )  # fmt: skip
        table = table.rename(columns={"valence": "mean valence", "arousal": "mean arousal"})
        text = table.round(3).to_string()
        if self.by == "subject" and "video" in self.manifest.subject_kinds:
            text += "\nsubjects are videos, a stand-in: a person of several videos can be in several folds"
        return f"{text}\n" + (f"written to {self.path}" if self.path else "not written; give -o")


def split(
    manifest: str | Path | Manifest,
    out: str | Path | None = None,
    by: str = "subject",
    folds: int = 5,
    test: int | None = None,
    val: int | None = None,
    seed: int = 0,
) -> Folds:
    """Deal a manifest into folds: no group in two of them, valence and arousal alike in all.

    Writes a column `fold`. `--folds 10 --test 0 --val 1` also names splits: fold 0 is test, fold 1 is val,
    the rest is train, in place of the splits that were there. Folds are scikit-learn's StratifiedGroupKFold
    over thirds of valence and of arousal [ours].

    Args:
        manifest: manifest.parquet, or a CSV with columns path, valence, arousal.
        out: the manifest to write, a .parquet or a .csv; without it the folds are only shown.
        by: column whose rows stay together: subject, or e.g. video. A row without a value is its own group.
        folds: how many, 2 or more.
        test: the fold that becomes split test.
        val: the fold that becomes split val.
        seed: of the shuffle.

    Raises:
        UsageError: no such column or fold, fewer groups than folds, or `out` is neither .parquet nor .csv.
        IdferError: the manifest cannot be used or `out` cannot be written.
    """
    from idfer.data.manifest import Manifest
    from idfer.data.table_files import check_suffix

    check_seed(seed)
    if out is not None:
        check_suffix(out)
    if folds < 2:
        raise UsageError(f"--folds is {folds}; it must be at least 2.")
    for name, fold in (("--test", test), ("--val", val)):
        if fold is not None and not 0 <= fold < folds:
            raise UsageError(f"{name} is {fold}; folds are numbered 0 to {folds - 1}.")
    if test is not None and test == val:
        raise UsageError(f"--test and --val are both fold {test}; name two folds.")
    if folds == 2 and test is not None and val is not None:
        raise UsageError("--test and --val of 2 folds leave none to train on; use more --folds.")
    faces = manifest if isinstance(manifest, Manifest) else Manifest.read(manifest)
    if by not in faces.frame.columns:
        raise unknown("column", by, list(faces.frame.columns))
    groups = groups_of(faces, by)
    if (count := len(np.unique(groups))) < folds:
        raise UsageError(f"{count} groups of {by!r} do not fill {folds} folds; use fewer --folds.")
    frame = faces.frame.assign(fold=deal(faces.targets, groups, folds, seed))
    if test is not None or val is not None:
        names = np.full(folds, "train", object)
        for name, fold in (("test", test), ("val", val)):
            if fold is not None:
                names[fold] = name
        frame["split"] = names[frame["fold"]]
    dealt = Manifest.from_frame(frame, faces.root, str(faces.root))  # refuses a person in train and test
    if out is not None:
        dealt = dealt.seen_from(Path(out).parent)
        dealt.write(out)
    return Folds(dealt, by, None if out is None else Path(out))


def deal(targets: NDArray[np.floating], groups: NDArray[np.str_], folds: int, seed: int) -> NDArray[np.int64]:
    """(N,) fold of each row, 0 to `folds` - 1.

    Args:
        targets: (N, 2) valence and arousal in [-1, 1].
        groups: (N,) names of what stays together.
        folds: how many, at most the number of groups.
        seed: of the shuffle.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    strata = _strata(targets, folds)
    _, number = np.unique(groups, return_inverse=True)
    alone = number.max() + 1 == len(groups)  # each row a group: the same folds in a hundredth of the time
    kind = StratifiedKFold if alone else StratifiedGroupKFold
    fold = np.empty(len(groups), np.int64)
    dealer = kind(folds, shuffle=True, random_state=seed)
    for k, (_, rows) in enumerate(dealer.split(strata, strata, None if alone else number)):
        fold[rows] = k
    return fold


def _strata(targets: NDArray[np.floating], folds: int) -> NDArray[np.int64]:
    """(N,) which ninth of the plane each label lies in; ninths of fewer rows than folds join the largest."""
    parts = np.digitize(targets, _EDGES)
    strata = 3 * parts[:, 0] + parts[:, 1]
    counts = np.bincount(strata, minlength=9)
    return np.asarray(np.where(counts[strata] < folds, counts.argmax(), strata))


def groups_of(faces: Manifest, by: str) -> NDArray[np.str_]:
    """(N,) names of the groups of a column; a row without one is its own."""
    if by == "subject":
        return np.asarray(faces.subjects)
    column = faces.frame[by]
    values = column.astype(object).where(column.notna(), "").astype(str).to_numpy()
    return np.where(values == "", faces.frame["path"].to_numpy(), values).astype(str)
