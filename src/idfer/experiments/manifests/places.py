"""Who is learned from, chosen on and tested: folds of people, or a manifest's own splits, and a seed each.

A place is one such division with a seed. At every place the whole procedure is repeated for every method,
its search included, and the test people of a place take no part in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from idfer.data.split import deal, groups_of
from idfer.errors import IdferError, UsageError, unknown
from idfer.files import atomic

if TYPE_CHECKING:
    from idfer.data.manifest import Manifest

PARTS = ("", "train", "val", "test")  # of a division, by number; "" takes no part
TRAIN, VAL, TEST = 1, 2, 3
FOLDS = 5
HELD = 5  # one of so many parts of the people beside a fold is held out to choose settings on
FEWEST = 4  # people beside a fold: two to learn from, two to choose on

Division = NDArray[np.int8]
Kind = Literal["dealt", "column", "official"]


@dataclass(frozen=True)
class Place:
    """A division of N faces, and a seed of weights and order.

    Attributes:
        name: for people: "fold 1", "seed 3".
        fold: the fold that is tested: its number from 1 where folds are dealt, its value in the manifest's
            column, or 0 where the manifest's splits are used.
        seed: of weights and order; of the deal too where folds are dealt.
        division: (N,) number in `PARTS` of each face.
    """

    name: str
    fold: int | str
    seed: int
    division: Division

    @property
    def key(self) -> str:
        """16 hex digits of the division."""
        return hashlib.sha256(self.division.tobytes()).hexdigest()[:16]

    def write(self, runs: Path, digest: str) -> None:
        """Keep the division where a trial of these faces reads it."""
        file = _file(runs, digest, self.key)
        if not file.is_file():
            with atomic(file) as temporary:
                temporary.write_bytes(self.division.tobytes())


@dataclass(frozen=True)
class Places:
    """All places of an experiment.

    Attributes:
        kind: "dealt" folds, folds of the manifest's "column", or its "official" splits.
        by: the column whose groups stay together; "" for official splits.
        every: the places.
        test: which of the manifest's splits is tested where they are official.
        chosen_on: whether official splits have a `val` for the choice, or people of `train` are kept back.
    """

    kind: Kind
    by: str
    every: tuple[Place, ...]
    test: str = ""
    chosen_on: Literal["val", "train"] = "train"

    def of_one_person(self, subjects: NDArray[np.str_]) -> bool:
        """Whether somewhere a single one of these people (N,) is held out to choose settings on."""
        return any(len(np.unique(subjects[place.division == VAL])) < 2 for place in self.every)

    @property
    def overlap(self) -> float:
        """Test rows over training rows of a fold, for the corrected t test; 0 where only seeds differ."""
        if self.kind == "official":
            return 0.0
        counts = [np.bincount(place.division, minlength=len(PARTS)) for place in self.every]
        return float(np.mean([count[TEST] / count[TRAIN] for count in counts]))


def division_of(runs: Path, digest: str, key: str, faces: Manifest) -> Manifest:
    """Faces with the column `split` of a division that was kept: "train", "val", "test" or "".

    Raises:
        IdferError: it has disappeared, or is of other faces.
    """
    file = _file(runs, digest, key)
    numbers = np.frombuffer(file.read_bytes() if file.is_file() else b"", np.int8)
    if len(numbers) != len(faces):
        raise IdferError(f"{file}: has disappeared or is damaged; delete it and run the command again.")
    return replace(faces, frame=faces.frame.assign(split=np.array(PARTS, object)[numbers]))


def places(
    faces: Manifest, folds: int | None = None, by: str | None = None, seeds: Sequence[int] | None = None
) -> Places:
    """The manifest's own splits where it has them, else its folds, else folds dealt by person.

    Args:
        faces: N faces.
        folds: how many folds to deal; None: what the manifest has, or `FOLDS`.
        by: column whose rows stay together when folds are dealt: subject by default.
        seeds: a deal each, or of official splits a training each; 1, or 1 to 5 of official splits.

    Raises:
        UsageError: fewer than two folds or more than people, no such column, no named people, or seeds where
            the manifest fixes the folds.
        IdferError: folds of the manifest that share people.
    """
    if folds is not None and folds < 2:
        raise UsageError(f"--folds is {folds}; it must be at least 2.")
    if by is not None and by not in faces.frame.columns:
        raise unknown("column", by, list(faces.frame.columns))
    if folds is None and by is None:
        if "train" in faces.splits and {"test", "val"} & set(faces.splits):
            return _official(faces, seeds or range(1, 6))
        if "fold" in faces.frame.columns:
            return _column(faces, seeds or [1])
    return _dealt(faces, folds or FOLDS, by or "subject", seeds or [1])


def _official(faces: Manifest, seeds: Sequence[int]) -> Places:
    """Splits train, val and test; with two of them val is tested and people of train are kept back."""
    split = faces.frame["split"].to_numpy()
    test, has_val = ("test", "val" in faces.splits) if "test" in faces.splits else ("val", False)
    every = []
    for seed in seeds:
        division = np.zeros(len(faces), np.int8)
        division[split == "train"], division[split == test] = TRAIN, TEST
        if has_val:
            division[split == "val"] = VAL
        else:
            _keep_back(division, faces, faces.subjects, seed, "the split train")
        every.append(Place(f"seed {seed}", 0, seed, division))
    return Places("official", "", tuple(every), test, "val" if has_val else "train")


def _column(faces: Manifest, seeds: Sequence[int]) -> Places:
    """Folds that `idfer split` wrote."""
    import pandas as pd

    if len(seeds) > 1:
        raise UsageError(
            "the manifest fixes the folds (column `fold`), so more --seeds are no further evidence about "
            "people; give one, or --folds 5 to deal folds anew for each."
        )
    values, names = pd.factorize(faces.frame["fold"], sort=True)
    if (values < 0).any() or values.max() < 1:
        raise IdferError("column `fold` is empty somewhere or the same everywhere; give --folds 5 to deal.")
    shared = faces.frame.assign(number=values).groupby(faces.subjects)["number"].nunique()
    if (shared > 1).any():
        raise IdferError(
            f"column `fold`: subject {shared.index[shared > 1][0]!r} is in several folds; give --folds 5 to "
            "deal by person."
        )
    every = _folds(faces, values, faces.subjects, seeds[0], "fold {}", _plain(names))
    return Places("column", "fold", tuple(every))


def _plain(values: Iterable[Any]) -> list[int | str]:
    """Values of the column `fold`: whole numbers, else text."""
    given = list(values)
    texts: list[int | str] = [str(value) for value in given]
    try:
        numbers: list[int | str] = [int(value) for value in given]
    except (TypeError, ValueError):
        return texts
    return numbers if numbers == given else texts


def _dealt(faces: Manifest, folds: int, by: str, seeds: Sequence[int]) -> Places:
    """Folds dealt anew for each seed, grouped and alike in valence and arousal."""
    if by == "subject" and not (faces.frame["subject"] != "").any():
        raise UsageError(
            "the manifest names no people (column `subject` is missing or empty), so folds could test who "
            "was trained on. Name them in its column `subject`, keep another column's rows together (--by "
            "video), or count every picture as a person of its own: --by path."
        )
    groups = groups_of(faces, by)
    if (count := len(np.unique(groups))) < folds:
        raise UsageError(f"{count} groups of {by!r} do not fill {folds} folds; use fewer --folds.")
    every: list[Place] = []
    for seed in seeds:
        name = "fold {}" if len(seeds) == 1 else f"fold {{}}, seed {seed}"
        dealt = deal(faces.targets, groups, folds, seed)
        every += _folds(faces, dealt, groups, seed, name, range(1, folds + 1))
    return Places("dealt", by, tuple(every))


def _folds(
    faces: Manifest, fold: NDArray[np.int64], groups: NDArray[np.str_], seed: int, name: str,
    values: Sequence[int | str],
) -> list[Place]:  # fmt: skip
    """A place per fold; `values` is what each is called."""
    found = []
    for k, value in enumerate(values):
        division = np.where(fold == k, TEST, TRAIN).astype(np.int8)
        _keep_back(division, faces, groups, seed, f"fold {value}")
        found.append(Place(name.format(value), value, seed, division))
    return found


def _keep_back(division: Division, faces: Manifest, groups: NDArray[np.str_], seed: int, what: str) -> None:
    """Turn a fifth of the people who are trained on (fewer parts where people are few) into `val`."""
    rows = np.flatnonzero(division == TRAIN)
    people = len(np.unique(groups[rows]))
    if people < FEWEST:
        raise UsageError(
            f"{what}: {people} people are left to learn from and to choose settings on, where {FEWEST} are "
            "needed; use fewer --folds or more people."
        )
    part = deal(faces.targets[rows], groups[rows], min(HELD, people // 2), seed)
    counts = [len(np.unique(groups[rows[part == k]])) for k in range(int(part.max()) + 1)]
    fitting = [k for k, count in enumerate(counts) if 2 <= count <= people - 2]
    if fitting:
        division[rows[part == fitting[0]]] = VAL
    else:  # so few people that a deal by labels leaves one of them alone
        names = np.random.default_rng(seed).permutation(np.unique(groups[rows]))
        division[rows[np.isin(groups[rows], names[: people // 2])]] = VAL


def _file(runs: Path, digest: str, key: str) -> Path:
    return runs / "faces" / digest / f"{key}.division"
