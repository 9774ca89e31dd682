"""`idfer split`: folds that share nobody and are alike in their labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from idfer import Manifest, cli, split
from idfer.data.split import deal
from idfer.errors import IdferError, UsageError


def faces(root: Path, people: int = 60, each: int = 10, **columns: object) -> Manifest:
    """People who differ in their mean valence, so that careless folds would too."""
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(people), each)
    valence = np.clip(rng.normal(0, 0.5, people)[subject] + rng.normal(0, 0.2, len(subject)), -1, 1)
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(len(subject))],
            "subject": [f"p{s}" for s in subject],
            "video": [f"v{s // 2}" for s in subject],
            "valence": valence,
            "arousal": rng.uniform(-1, 1, len(subject)),
        }
    )
    return Manifest.from_frame(table.assign(**columns), root)


@pytest.mark.parametrize("by", ["subject", "video"])
def test_no_group_is_in_two_folds_and_labels_are_alike(by: str, tmp_path: Path) -> None:
    frame = split(faces(tmp_path), by=by, folds=5).manifest.frame
    assert (frame.groupby(by)["fold"].nunique() == 1).all()
    assert frame["fold"].value_counts().between(96, 144).all()
    assert frame.groupby("fold")["valence"].mean().std() < 0.06
    by_turns = frame.assign(fold=pd.factorize(frame[by])[0] * 5 // frame[by].nunique())
    assert frame.groupby("fold")["valence"].mean().std() < by_turns.groupby("fold")["valence"].mean().std()


def test_folds_can_name_splits_and_the_seed_deals_anew(tmp_path: Path) -> None:
    manifest = faces(tmp_path, split="old")
    named = split(manifest, folds=5, test=0, val=3).manifest.frame
    assert dict(named.groupby("fold")["split"].first()) == {
        0: "test", 1: "train", 2: "train", 3: "val", 4: "train"
    }  # fmt: skip
    assert set(split(manifest, folds=5).manifest.frame["split"]) == {"old"}
    again, other = (split(manifest, folds=5, seed=s).manifest.frame["fold"] for s in (0, 1))
    assert again.equals(named["fold"])
    assert not other.equals(named["fold"])


def test_rows_of_nobody_are_groups_of_their_own(tmp_path: Path) -> None:
    frame = split(faces(tmp_path, subject=""), folds=4).manifest.frame
    assert frame["fold"].value_counts().between(149, 151).all()
    mixed = faces(tmp_path)
    some = mixed.frame.assign(subject=mixed.frame["subject"].where(mixed.frame.index % 10 > 4, ""))
    dealt = split(Manifest.from_frame(some, tmp_path), folds=4).manifest.frame
    known = dealt[dealt["subject"] != ""]
    assert (known.groupby("subject")["fold"].nunique() == 1).all()


def test_rare_labels_do_not_stop_it() -> None:
    targets = np.r_[np.zeros((20, 2)), [[1, 1]]]
    assert set(deal(targets, np.arange(21).astype(str), 5, 0)) == {0, 1, 2, 3, 4}


def test_written_beside_or_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set").mkdir()
    faces(tmp_path / "set").write(tmp_path / "set" / "manifest.parquet")
    out = tmp_path / "folds" / "m.parquet"
    command = ["split", str(tmp_path / "set"), "--by", "subject", "--folds", "3", "-o", str(out)]
    assert cli.main(command) == 0
    assert "mean valence" in capsys.readouterr().out
    written = Manifest.read(out)
    assert written.files[0] == tmp_path / "set" / "0.png"
    assert set(written.frame["fold"]) == {0, 1, 2}
    text = split(written, tmp_path / "folds" / "m.csv", folds=3).path
    assert text.read_text().startswith("path,")
    assert Manifest.read(text).files[0] == tmp_path / "set" / "0.png"
    with pytest.raises(UsageError, match=r"m\.txt: a manifest is written as"):
        split(tmp_path / "nowhere", tmp_path / "m.txt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "sbject"}, r"unknown column 'sbject'\. Did you mean 'subject'"),
        ({"folds": 1}, "--folds is 1"),
        ({"folds": 61}, "60 groups of 'subject' do not fill 61 folds"),
        ({"test": 5}, "--test is 5; folds are numbered 0 to 4"),
        ({"test": 1, "val": 1}, "both fold 1"),
        ({"folds": 2, "test": 0, "val": 1}, "leave none to train on"),
    ],
)
def test_impossible_wishes(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        split(faces(tmp_path), **options)


def test_splits_by_a_column_that_parts_people_are_refused(tmp_path: Path) -> None:
    manifest = faces(tmp_path, video=[f"{i % 10}" for i in range(600)])
    with pytest.raises(IdferError, match="IDF001 subject"):
        split(manifest, by="video", folds=5, test=0)
