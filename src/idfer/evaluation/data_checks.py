"""`check`: coded checks of a manifest, before anything is trained on it.

The first five refuse a manifest wherever it is read (`idfer.data.manifest`); here all rows are looked at and
counted. The others stand in no command's way: they say what would make scores too good, or worthless.

    IDF001 error    a person is in train and in another split
    IDF002 error    a label is outside [-1, 1]
    IDF003 error    a label is not a number
    IDF004 error    a face box is none
    IDF005 error    a frame number that cannot be read
    IDF201 error    the same picture is in two splits
    IDF202 warning  pictures that look the same are in two splits
    IDF203 error    a file is not there
    IDF204 error    a file cannot be read as an image
    IDF205 warning  labels go with an attribute, so a model can read them off identity
    IDF206 warning  people are not known (note: of some rows)
    IDF207 note     videos stand in for people
    IDF208 warning  labels of one dimension are all alike, or of one sign
    IDF209 warning  a person is in two splits, none of them train
    IDF210 note     rows occur twice within a split
    IDF211 warning  two sources hold one video under two names (error: in train and another split)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.errors import IdferError
from idfer.evaluation.checks import LEVELS, Check, Level
from idfer.progress import bar

if TYPE_CHECKING:
    import pandas as pd

    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.data.pictures import Read

# Under 5 % of its variance an attribute moves a label's mean by less than a quarter of its spread.
ASSOCIATED = 0.05
_THREADS = 8
_LARGEST = 1000  # rows with one picture that are compared with one another


@dataclass(frozen=True)
class Findings:
    """What the checks found.

    Attributes:
        checks: worst first, then by code.
        rows: looked at.
        files: images and frames of videos opened; 0 where only the table was looked at.
    """

    checks: tuple[Check, ...]
    rows: int
    files: int

    @property
    def exit_code(self) -> int:
        """1 where there is an error, else 0: what the command ends with."""
        return int(any(check.level == "error" for check in self.checks))

    def frame(self) -> pd.DataFrame:
        """A row per finding: `code, level, message`."""
        import pandas as pd

        return pd.DataFrame([check.to_dict() for check in self.checks], columns=["code", "level", "message"])

    def __str__(self) -> str:
        looked = f"{self.rows:,} rows, {self.files:,} images opened"
        if not self.checks:
            return f"{looked}: nothing to say against them"
        counts = [(level, sum(c.level == level for c in self.checks)) for level in LEVELS]
        said = ", ".join(f"{n} {level}{'s' * (n > 1)}" for level, n in counts if n)
        lines = [f"{check.code}  {check.level:<8} {check.message}" for check in self.checks]
        return "\n".join([f"{looked}: {said}", *lines])


def check(
    manifest: str | Path | Manifest,
    attributes: str | Path | AttributeTable | None = None,
    images: bool = True,
    near: bool = True,
    progress: bool = True,
) -> Findings:
    """Look a manifest over: people and pictures in two splits, labels, files, shortcuts. Exit code 1: errors.

    Every image is opened once, so a large set takes a while; `--images false` looks at the table alone.

    Args:
        manifest: manifest.parquet, or a CSV with columns path, valence, arousal.
        attributes: attributes.parquet of `idfer retrieve`, to look for labels that go with an attribute.
        images: open every image: missing and unreadable files, the same picture in two splits.
        near: also look for pictures in two splits that only look the same (other size, other compression).
        progress: show a progress bar.

    Raises:
        IdferError: the manifest cannot be read as a table, has no rows or lacks a column, or `attributes` is
            of other faces.
    """
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest, read_table

    if isinstance(manifest, Manifest):
        table, root, name = manifest.frame, manifest.root, "manifest"
    else:
        table, file = read_table(manifest)
        root, name = file.parent, str(file)
    rows = len(table)
    faces, found = _table_checks(table, root, name)
    found += [*_people(faces), *_labels(faces), *_repeats(faces), *_same_videos(faces)]
    if isinstance(attributes, (str, Path)):
        attributes = AttributeTable.read(attributes)
    if attributes is not None and len(faces) != rows:
        raise IdferError(f"{name}: some rows cannot be used ({found[0]}); mend them before --attributes.")
    found += _associations(faces, attributes)
    opened = 0
    if images:
        files, opened = _files(faces, near, progress)
        found += files
    ordered = sorted(found, key=lambda c: (LEVELS.index(c.level), c.code))
    return Findings(tuple(ordered), rows, opened)


def _table_checks(table: pd.DataFrame, root: Path, name: str) -> tuple[Manifest, list[Check]]:
    """The rows whose labels can be used, and what IDF001 to IDF005 say of the others."""
    import pandas as pd

    from idfer.data import columns
    from idfer.data.manifest import LABELS, REQUIRED, Manifest

    if missing := [column for column in REQUIRED if column not in table.columns]:
        raise IdferError(f"{name}: column {missing[0]!r} is missing; a manifest needs {', '.join(REQUIRED)}.")
    found: list[Check] = []
    table = table.reset_index(drop=True)
    usable = np.ones(len(table), bool)
    for column in LABELS:
        values = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)
        for code, bad, what, cure in (
            ("IDF003", np.isnan(values), "is not a number", "label or drop them"),
            ("IDF002", np.abs(values) > 1, "is outside [-1, 1]", "rescale the labels or drop invalid frames"),
        ):
            found += _rows(table, np.flatnonzero(bad), code, f"{column} {what}", cure, column)
            usable &= ~bad
    if not usable.any():
        raise IdferError(
            f"{name}: no row has labels that can be used; {found[0] if found else 'it is empty'}"
        )
    kept = table[usable].reset_index(drop=True)
    filled = kept.assign(path=kept["path"].astype(object).where(kept["path"].notna(), "").astype(str))
    if "frame" not in filled.columns:
        filled["frame"] = columns.STILL
    for code, asked in (("IDF004", columns.boxes), ("IDF005", columns.frames)):
        try:
            asked(filled, name)
        except IdferError as error:  # both name the first such row
            found.append(Check(code, "error", str(error).replace(f"{code} ", "")))
            if code == "IDF004":
                filled = filled.drop(columns=["box", *columns.BOX], errors="ignore")
            else:  # a frame of each file that can be looked at
                filled["frame"] = np.where(columns.videos(filled["path"]), 0, columns.STILL)
    split = filled["split"] if "split" in filled.columns else None
    faces = Manifest.from_frame(filled.drop(columns="split", errors="ignore"), root, name)
    if split is not None:
        names = split.astype(object).where(split.notna(), "").astype(str)
        faces = Manifest(faces.frame.assign(split=names), faces.root)
    return faces, found


def _rows(
    table: pd.DataFrame, rows: NDArray[np.intp], code: str, what: str, cure: str, column: str
) -> Iterator[Check]:
    if rows.size:
        first = f"row {rows[0]}, {table['path'].iloc[rows[0]]}: {_plain(table[column].iloc[rows[0]])}"
        yield Check(code, "error", f"{what} in {_count(rows.size)} ({first}); {cure}.")


def _people(faces: Manifest) -> Iterator[Check]:
    """IDF001, IDF206, IDF207, IDF209: who is where."""
    frame = faces.frame
    known = frame[frame["subject"] != ""]
    pairs = known[["subject", "split"]].drop_duplicates()
    shared = pairs[pairs["subject"].duplicated(keep=False)]
    trained = shared["subject"].isin(shared.loc[shared["split"] == "train", "subject"])
    kinds = "videos" if "video" in faces.subject_kinds else "people"
    for code, level, part in (
        ("IDF001", "error", shared[trained]), ("IDF209", "warning", shared[~trained]),
    ):  # fmt: skip
        if names := list(dict.fromkeys(part["subject"])):
            splits = " and ".join(
                repr(split) for split in part.loc[part["subject"] == names[0], "split"].tolist()
            )
            yield Check(
                code, _level(level),
                f"{len(names)} {kinds} are in several splits (the first, {names[0]!r}, in {splits}); deal "
                "them anew with `idfer split --by subject`.",
            )  # fmt: skip
    if unknown := len(frame) - len(known):
        every = unknown == len(frame)
        yield Check(
            "IDF206", "warning" if every else "note",
            f"the person of {'any row' if every else _count(unknown)} is not known: each such row counts as "
            "a person, splits may share people, and intervals are too narrow; give a column subject.",
        )  # fmt: skip
    if "video" in faces.subject_kinds:
        yield Check(
            "IDF207", "note",
            "subjects are videos, which stand in for people: somebody who is in several videos can be in "
            "several splits, and intervals hold for other videos rather than other people.",
        )  # fmt: skip


def _labels(faces: Manifest) -> Iterator[Check]:
    """IDF208: labels that are all of one kind."""
    if len(faces) < 10:
        return
    for i, name in enumerate(("valence", "arousal")):
        values = faces.targets[:, i]
        if np.ptp(values) == 0:
            said = f"{name} is {values[0]:g} in every row: nothing can be learned of it"
        elif values.min() >= 0 or values.max() <= 0:
            said = (
                f"{name} lies between {values.min():g} and {values.max():g}: it never changes sign, so it "
                "may be on another scale"
            )
        else:
            continue
        yield Check("IDF208", "warning", f"{said}; check the range of the labels.")


def _repeats(faces: Manifest) -> Iterator[Check]:
    """IDF210: a row that stands twice weighs twice."""
    frame = faces.frame
    keys = frame[
        ["path", "split", "frame", *(c for c in ("x", "y", "width", "height") if c in frame.columns)]
    ]
    if (rows := np.flatnonzero(keys.duplicated())).size:
        first = frame["path"].iloc[rows[0]]
        yield Check("IDF210", "note", f"{_count(rows.size)} repeat an earlier one (the first: {first}).")


def _same_videos(faces: Manifest) -> Iterator[Check]:
    """IDF211: one video under two names, told by its labels."""
    from idfer.evaluation.same_labels import twins

    found = twins(faces)
    if not found:
        return
    frame = faces.frame
    names = list(zip(frame["source"], frame["subject"], strict=True))
    splits: dict[tuple[str, str], set[str]] = {}
    for name, split in zip(names, frame["split"], strict=True):
        splits.setdefault(name, set()).add(split)
    apart = [
        pair
        for pair in found
        if "train" in (both := splits[pair.first] | splits[pair.second]) and len(both) > 1
    ]
    first = (apart or found)[0]
    where = f", {len(apart)} of them in train and another split" if apart else ""
    yield Check(
        "IDF211", _level("error" if apart else "warning"),
        f"{len(found)} videos are in two sources under two names, by their labels{where} (the first: "
        f"{first.first[1]!r} of {first.first[0]} and {first.second[1]!r} of {first.second[0]}, "
        f"{first.share:.0%} alike); drop one of each.",
    )  # fmt: skip


def _associations(faces: Manifest, table: AttributeTable | None) -> Iterator[Check]:
    """IDF205: how much of a label's variance each attribute accounts for, corrected for chance."""
    from idfer.evaluation.selection import probe_targets

    people = len(np.unique(faces.subjects))
    for name, target in probe_targets(faces, (), table)[0].items():
        for i, label in enumerate(("valence", "arousal")):
            known = target.known
            share = explained(faces.targets[known, i], target.values[known], people)
            if share >= ASSOCIATED:
                yield Check(
                    "IDF205", "warning",
                    f"{name} ({target.source}) accounts for {share:.0%} of the variance of {label}: a model "
                    f"can guess {label} from {name} alone. Decorrelation weights (method idfer) or a "
                    "balanced test split show what is left without it.",
                )  # fmt: skip


def explained(label: NDArray[np.floating[Any]], attribute: NDArray[Any], people: int) -> float:
    """Share of a label's variance that an attribute accounts for, in [0, 1]; 0 where it is undefined.

    The correlation ratio eta^2 over levels, r^2 of a number, adjusted for its degrees of freedom with the
    number of people as sample size: 1 - (1 - eta^2) (S - 1) / (S - k). A few people share anything by
    chance.

    Args:
        label: (N,) valence or arousal.
        attribute: (N,) numbers, or strings: levels.
        people: S, how many people the rows are of.
    """
    label = label.astype(np.float64)
    total = float(np.var(label)) if len(label) else 0.0
    if total == 0:
        return 0.0
    if np.issubdtype(attribute.dtype, np.number):
        values = attribute.astype(np.float64)
        spread = float(np.var(values))
        between = (
            0.0 if spread == 0 else float(np.mean((values - values.mean()) * (label - label.mean()))) ** 2
        )
        share, k = between / (spread or 1.0) / total, 2
    else:
        _, level, counts = np.unique(attribute, return_inverse=True, return_counts=True)
        means = np.bincount(level, label) / counts
        share, k = float(np.sum(counts * (means - label.mean()) ** 2) / len(label) / total), len(counts)
    if k < 2 or people <= k:
        return 0.0
    return max(0.0, 1 - (1 - share) * (people - 1) / (people - k))


def _files(faces: Manifest, near: bool, progress: bool) -> tuple[list[Check], int]:
    """IDF201 to IDF204: what is on the disk; and how many pictures were opened."""
    from idfer.data.pictures import Pictures

    names = faces.frame["path"].astype(str) + "|" + faces.frame["frame"].astype(str)
    _, first, picture = np.unique(names.to_numpy(str), return_index=True, return_inverse=True)
    rows_of = np.split(np.argsort(picture, kind="stable"), np.cumsum(np.bincount(picture))[:-1])
    split = faces.frame["split"].to_numpy(str)
    hashing = near and len(np.unique(split)) > 1
    files = faces.files
    there = {file: file.exists() for file in set(files)}
    missing = [row for row in first.tolist() if not there[files[row]]]
    broken: list[tuple[int, str]] = []
    hashed: list[tuple[int, NDArray[np.uint8]]] = []

    def look(row: int, read: Read) -> tuple[str, list[tuple[int, NDArray[np.uint8]]]]:
        return _open(read, faces, rows_of[picture[row]], hashing)

    with (
        bar("checking images", len(first), progress) as advance,
        Pictures(faces, min(os.cpu_count() or 1, _THREADS)) as pictures,
    ):
        advance(len(missing))
        once = set(first.tolist()) - set(missing)
        for row, (reason, hashes) in pictures.each([r for r in pictures.order.tolist() if r in once], look):
            if reason:
                broken.append((row, reason))
            hashed += hashes
            advance()
    found = []
    if missing:
        count = sum(not present for present in there.values())
        found.append(
            Check("IDF203", "error", f"{_files_count(count)} not there (the first: {files[missing[0]]}).")
        )
    if broken:
        of_videos = (faces.frames[[row for row, _ in broken]] >= 0).any()
        what = "picture" if of_videos else "file"
        said = f"{_files_count(len(broken), what)} unreadable; the first: {min(broken)[1]}"
        found.append(Check("IDF204", "error", said))
    good = np.setdiff1d(np.arange(len(faces)), np.flatnonzero(np.isin(first[picture], missing)))
    same = _same_pictures(faces, good, split)
    found += _told("IDF201", "error", same, faces, "the same picture", "drop one of each")
    if hashing and hashed:
        found += _told(
            "IDF202", "warning", _near_pictures(hashed, split, same), faces, "pictures that look the same",
            "look at them, and drop one of each that is a copy",
        )  # fmt: skip
    return found, len(first) - len(missing)


def _open(
    read: Read, faces: Manifest, rows: NDArray[np.intp], hashing: bool
) -> tuple[str, list[tuple[int, NDArray[np.uint8]]]]:
    """Why a picture cannot be read, and the hash of each row's face in it."""
    from idfer.data.near import difference_hash

    try:
        image, factor = read()
    except IdferError as error:
        return str(error), []
    hashes = []
    for row in rows.tolist() if hashing else []:
        part = image
        if (box := faces.box(row)) is not None:
            x, y, width, height = (value / factor for value in box)
            left, top = max(0, int(x)), max(0, int(y))
            part = image[top : max(0, int(y + height)), left : max(0, int(x + width))]
        if part.size and (made := difference_hash(np.ascontiguousarray(part))) is not None:
            hashes.append((row, made))
    return "", hashes


def _same_pictures(faces: Manifest, rows: NDArray[np.intp], split: NDArray[np.str_]) -> NDArray[np.int64]:
    """(P, 2) rows of different splits with the same picture and, where there are boxes, the same face."""
    from idfer.data.content import image_keys

    if len(np.unique(split)) < 2 or not len(rows):
        return np.empty((0, 2), np.int64)
    keys = image_keys(faces.rows(rows))
    order = np.lexsort((split[rows], keys))
    ends = np.flatnonzero(np.r_[keys[order][1:] != keys[order][:-1], True]) + 1
    files, pairs = faces.files, []
    for start, end in zip(np.r_[0, ends[:-1]], ends, strict=True):
        group = rows[order[start:end]]
        if len(group) < 2 or split[group[0]] == split[group[-1]]:
            continue
        if len(group) > _LARGEST:  # one blank picture, thousands of times: its ends tell enough
            group = np.r_[group[: _LARGEST // 2], group[-_LARGEST // 2 :]]
        contents = {row: _content(files[row]) for row in group.tolist()}
        for i, row in enumerate(group.tolist()):
            other = next(
                (
                    o
                    for o in group[i + 1 :].tolist()
                    if split[o] != split[row]
                    and contents.get(o) == contents.get(row)
                    and _same_face(faces.box(o), faces.box(row))
                ),
                None,
            )
            if other is not None:
                pairs.append((min(row, other), max(row, other)))
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def _content(path: Path) -> bytes:
    """SHA-256 of a file; its name where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return str(path).encode()


def _same_face(a: Sequence[float] | None, b: Sequence[float] | None) -> bool:
    """Whether two boxes are of one face: they share half of what they cover. No box is the whole picture."""
    if a is None or b is None:
        return True
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared >= 0.5 * (a[2] * a[3] + b[2] * b[3] - shared)


def _near_pictures(
    hashed: list[tuple[int, NDArray[np.uint8]]], split: NDArray[np.str_], same: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(P, 2) rows of different splits that look the same; those of equal content are told elsewhere."""
    from idfer.data.near import near_pairs

    rows = np.array([row for row, _ in hashed], np.int64)
    pairs = rows[
        near_pairs(np.stack([made for _, made in hashed]), np.unique(split, return_inverse=True)[1][rows])
    ]
    known = np.isin(pairs, same.ravel()).all(axis=1)
    return np.sort(pairs[~known], axis=1)


def _told(
    code: str, level: str, pairs: NDArray[np.int64], faces: Manifest, what: str, cure: str
) -> Iterator[Check]:
    if not len(pairs):
        return
    frame = faces.frame
    first, second = (f"{frame['path'].iloc[i]} ({frame['split'].iloc[i] or 'no split'})" for i in pairs[0])
    yield Check(
        code, _level(level),
        f"{what} in two splits: {_count(len(np.unique(pairs)))} (the first: {first} and {second}); {cure}.",
    )  # fmt: skip


def _plain(value: Any) -> str:
    return repr(value) if isinstance(value, str) else f"{value:g}" if value == value else "empty"


def _level(level: str) -> Level:
    return next(known for known in LEVELS if known == level)


def _count(number: int) -> str:
    return f"{number:,} row{'s' * (number != 1)}"


def _files_count(number: int, what: str = "file") -> str:
    return f"{number:,} {what} is" if number == 1 else f"{number:,} {what}s are"
