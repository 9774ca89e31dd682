"""Sets of photographs on a user's own disk whose expressions are known; none is in this repository."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from idfer.data.images import SUFFIXES
from idfer.data.manifest import Manifest
from idfer.errors import IdferError, UsageError

NEUTRAL, SMILE = "neutral", "smile"
CLASSES = ("happiness", "neutral", "sadness", "anger", "surprise")
_WORDS = {"neutral": NEUTRAL, **dict.fromkeys(("smile", "smiling", "happy", "happiness"), SMILE)}
_LEGEND = "data/legend.csv"
FIRST_NAME, _FIRST_NAMES = "first name", Path(__file__).parent / "first_names.yaml"
COUNT = 200  # photographs a class, by default


@dataclass(frozen=True)
class Photographs:
    """Photographs and what is known of them.

    Attributes:
        name: of the set.
        frame: a row each: path (relative to root), subject, expression, and a column per grouping.
        root: folder.
        groupings: columns by which people are told apart, e.g. gender.
        counts: what was left out and why, and the like, for the record.
        draw: which photographs of the set these are: `seed 0`, or `all`.
    """

    name: str
    frame: pd.DataFrame
    root: Path
    groupings: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    draw: str = "all"

    def manifest(self) -> Manifest:
        """As a manifest without labels or boxes."""
        table = self.frame[["path", "subject"]].assign(valence=0.0, arousal=0.0)
        return Manifest.from_frame(table, self.root, name=self.name)


def muxspace(checkout: Path, count: int = COUNT, seed: int = 0) -> Photographs:
    """Random photographs of each class of a checkout of `muxspace/facial_expressions`.

    Web photographs, most of them of LFW, with one student's word for the expression each. The legend writes
    words in both cases, lists some images twice and has some pictures under two names: these are used once,
    and not at all where the words disagree. Who is shown is read from LFW's names (`First_Last_0001.jpg`);
    elsewhere each photograph counts as a person of its own.

    Args:
        checkout: the folder that holds data/legend.csv and images/.
        count: photographs a class; all of a class that has fewer.
        seed: another seed draws others.

    Raises:
        IdferError: no such checkout, or a legend of another form.
    """
    usable, counts = _usable(checkout)
    rows = []
    for number, word in enumerate(CLASSES):
        names = [name for name, of in usable if of == word]
        chosen = np.random.default_rng([seed, number]).permutation(len(names))[:count]
        rows += [(f"images/{names[i]}", _person(names[i]), word) for i in sorted(chosen)]
    if not rows:
        raise _nothing(checkout)
    frame = pd.DataFrame(rows, columns=["path", "subject", "expression"])
    draw = f"seed {seed}" + ("" if count == COUNT else f", {count} a class")
    return Photographs("muxspace", frame, checkout, counts=counts, draw=draw)


def muxspace_people(checkout: Path, seed: int = 0) -> Photographs:
    """Neutral faces and smiles of people whom LFW names, told apart by how their first names are given.

    One photograph of each kind of everybody who has a neutral one, where the first name is in
    `first_names.yaml`: `first name` is "women's" or "men's".

    Args:
        checkout: as for `muxspace`.
        seed: another seed draws other photographs of people who have several.

    Raises:
        IdferError: no such checkout, a legend of another form, or nobody to be used.
    """
    lists = yaml.safe_load(_FIRST_NAMES.read_text(encoding="utf-8"))
    given = {name: f"{group}'s" for group, names in lists.items() for name in names}
    usable, counts = _usable(checkout)
    by_person: dict[str, dict[str, list[str]]] = {}
    for name, word in usable:
        if _person(name) != name and word in _WORDS:
            by_person.setdefault(_person(name), {}).setdefault(_WORDS[word], []).append(name)
    with_neutral = {person: files for person, files in sorted(by_person.items()) if NEUTRAL in files}
    rng, rows = np.random.default_rng(seed), []
    for person, files in with_neutral.items():
        group = given.get(person.split("_")[0])
        if group:
            kinds = [word for word in (NEUTRAL, SMILE) if word in files]
            rows += [(f"images/{rng.choice(files[word])}", person, word, group) for word in kinds]
    if not rows:
        raise _nothing(checkout)
    frame = pd.DataFrame(rows, columns=["path", "subject", "expression", FIRST_NAME])
    people = frame.groupby(FIRST_NAME)["subject"].nunique()
    counts |= {f"people of {group} first names": int(count) for group, count in people.items()}
    counts |= {"first names not in the list": len(with_neutral) - int(people.sum())}
    return Photographs("muxspace-people", frame, checkout, (FIRST_NAME,), counts, f"seed {seed}")


def _nothing(checkout: Path) -> IdferError:
    return IdferError(f"{checkout}: none of the photographs that its legend names is there.")


def _usable(checkout: Path) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Images and their words, each picture once, sorted; and what was left out."""
    said, counts = _legend(checkout)
    by_content: dict[str, tuple[str, str]] = {}
    refused: set[str] = set()
    for name, word in said.items():
        file = checkout / "images" / name
        if not file.is_file():
            counts["missing"] += 1
            continue
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        if content in by_content:
            counts["same picture under two names"] += 1
            if by_content[content][1] != word:
                refused.add(content)
            continue
        by_content[content] = (name, word)
    counts["words disagree"] += len(refused)
    usable = (pair for content, pair in by_content.items() if content not in refused)
    return sorted(usable), counts


def _legend(checkout: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Word by image, and what was left out."""
    file = checkout / _LEGEND
    if not file.is_file():
        raise IdferError(
            f"{file}: not there; give a checkout of github.com/muxspace/facial_expressions, which has it."
        )
    with file.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    if not lines or not {"image", "emotion"} <= set(lines[0]):
        raise IdferError(f"{file}: has no columns image and emotion; it may be of another version.")
    words: dict[str, set[str]] = {}
    for line in lines:
        words.setdefault(line["image"].strip(), set()).add(line["emotion"].strip().lower())
    counts = {
        "listed": len(lines), "listed twice": len(lines) - len(words), "missing": 0,
        "same picture under two names": 0, "words disagree": sum(len(of) > 1 for of in words.values()),
    }  # fmt: skip
    return {name: next(iter(of)) for name, of in words.items() if len(of) == 1}, counts


def _person(name: str) -> str:
    """The person that LFW's naming says, else the file's own name."""
    named = re.fullmatch(r"(.+)_\d{4}\.\w+", name)
    return named[1] if named else name


def own(given: Path) -> Photographs:
    """A user's own photographs: people with a neutral face and a smile.

    Args:
        given: a folder with folders `neutral` and `smile`, in which a person's files have one name (before
            the suffix); or a table, .csv or .parquet, with columns path (relative to it), subject, expression
            (neutral, smile) and a column for each grouping, e.g. gender; who has no subject is a person of
            her own.

    Raises:
        UsageError: neither.
        IdferError: no photograph of both kinds, or a column is missing.
    """
    if given.is_dir():
        files = [
            (str(file.relative_to(given)), file.stem, _WORDS[folder.name.lower()])
            for folder in sorted(given.iterdir())
            if folder.is_dir() and folder.name.lower() in _WORDS
            for file in sorted(folder.iterdir())
            if file.suffix.lower() in SUFFIXES
        ]
        frame, root = pd.DataFrame(files, columns=["path", "subject", "expression"]), given
    elif given.suffix.lower() in (".csv", ".parquet") and given.is_file():
        read = pd.read_csv if given.suffix.lower() == ".csv" else pd.read_parquet
        frame, root = read(given), given.parent
        for column in ("path", "subject", "expression"):
            if column not in frame.columns:
                raise IdferError(
                    f"{given}: column {column!r} is missing; needed are path, subject, expression."
                )
        frame["expression"] = frame["expression"].map(lambda word: _WORDS.get(str(word).strip().lower(), ""))
    else:
        raise UsageError(f"{given}: is neither a folder nor a table (.csv, .parquet) of photographs.")
    left_out = int((frame["expression"] == "").sum())
    frame = frame[frame["expression"] != ""].reset_index(drop=True)
    for word in (NEUTRAL, SMILE):
        if not (frame["expression"] == word).any():
            raise IdferError(f"{given}: has no photograph of a {word} face; see --help for what is read.")
    frame["subject"] = (
        frame["subject"].astype(object).where(frame["subject"].notna(), frame["path"]).astype(str)
    )
    groupings = tuple(c for c in frame.columns if c not in ("path", "subject", "expression"))
    counts = {"other expressions": left_out, "people": frame["subject"].nunique()}
    return Photographs(given.stem, frame, root, groupings, counts)
