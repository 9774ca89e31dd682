"""Who is learned from, chosen on and tested at each place of a comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from idfer import Manifest
from idfer.errors import IdferError, UsageError
from idfer.experiments.manifests.faces import prepare
from idfer.experiments.manifests.places import Place, division_of, places
from idfer.training.settings import Settings


def faces(people: int = 20, each: int = 5, **columns: object) -> Manifest:
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(people), each)
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(len(subject))],
            "subject": [f"p{s}" for s in subject],
            "video": [f"v{s // 2}" for s in subject],
            "valence": np.clip(rng.normal(0, 0.5, people)[subject], -1, 1),
            "arousal": rng.uniform(-1, 1, len(subject)),
        }
    )
    return Manifest.from_frame(table.assign(**columns), "unused")


def groups(manifest: Manifest, place: Place, part: int, by: str = "subject") -> set[str]:
    return set(manifest.frame.loc[place.division == part, by])


@pytest.mark.parametrize("by", [None, "video"])
def test_everybody_is_tested_once_and_is_in_one_part_at_a_time(by: str | None) -> None:
    manifest = faces()
    found = places(manifest, folds=4, by=by)
    assert found.kind == "dealt"
    tested = [name for place in found.every for name in groups(manifest, place, 3)]
    assert sorted(tested) == sorted(set(manifest.subjects))
    for place in found.every:
        parts = [groups(manifest, place, part, by or "subject") for part in (1, 2, 3)]
        assert all(parts)
        assert sum(map(len, parts)) == len(set.union(*parts))
        assert len(parts[1]) >= 2
        assert (place.division > 0).all()
    rates = [np.sum(place.division == 3) / np.sum(place.division == 1) for place in found.every]
    assert found.overlap == pytest.approx(np.mean(rates))


def test_seeds_deal_anew_and_the_same_seed_deals_the_same() -> None:
    manifest = faces()
    one, both = places(manifest, seeds=[7]), places(manifest, seeds=[7, 8])
    assert [place.name for place in one.every] == [f"fold {k}" for k in range(1, 6)]
    assert [place.name for place in both.every[:2]] == ["fold 1, seed 7", "fold 2, seed 7"]
    assert [place.key for place in both.every[:5]] == [place.key for place in one.every]
    assert len({place.key for place in both.every}) == 10
    assert [place.seed for place in both.every] == [7] * 5 + [8] * 5


def test_official_splits_are_used_as_they_are_unless_folds_are_asked_for() -> None:
    split = np.repeat(["train", "val", "test", "other"], [60, 15, 20, 5])
    manifest = faces(split=split)
    found = places(manifest)
    assert (found.kind, found.test, found.chosen_on, found.overlap) == ("official", "test", "val", 0.0)
    assert [place.seed for place in found.every] == [1, 2, 3, 4, 5]
    assert len({place.key for place in found.every}) == 1  # the people are the same, the seeds are not
    division = found.every[0].division
    assert {name: set(division[split == name]) for name in dict.fromkeys(split)} == {
        "train": {1}, "val": {2}, "test": {3}, "other": {0}
    }  # fmt: skip
    assert places(manifest, folds=2).kind == "dealt"


def test_where_val_is_all_there_is_to_test_people_of_train_are_kept_back() -> None:
    split = np.repeat(["train", "val"], [75, 25])
    manifest = faces(split=split)
    found = places(manifest, seeds=[1, 2])
    assert (found.kind, found.test, found.chosen_on) == ("official", "val", "train")
    for place in found.every:
        assert set(place.division[split == "val"]) == {3}
        assert len(groups(manifest, place, 2)) == 3
        assert not groups(manifest, place, 1) & groups(manifest, place, 2)
    assert found.every[0].key != found.every[1].key


def test_folds_of_the_manifest_are_used_as_they_are() -> None:
    fold = np.repeat([0, 1, 2, 3], 25)
    manifest = faces(fold=fold)
    found = places(manifest)
    assert (found.kind, len(found.every)) == ("column", 4)
    assert [set(fold[place.division == 3]) for place in found.every] == [{0}, {1}, {2}, {3}]
    assert [(place.name, place.fold) for place in found.every] == [(f"fold {k}", k) for k in range(4)]
    assert [place.fold for place in places(faces(fold=fold / 1)).every] == [0, 1, 2, 3]
    words = places(faces(fold=[f"part {k}" for k in fold])).every
    assert [(place.name, place.fold) for place in words[:2]] == [
        ("fold part 0", "part 0"),
        ("fold part 1", "part 1"),
    ]
    with pytest.raises(UsageError, match="the manifest fixes the folds"):
        places(manifest, seeds=[1, 2])
    assert places(manifest, folds=4, seeds=[1, 2]).kind == "dealt"
    with pytest.raises(IdferError, match="subject 'p0' is in several folds"):
        places(faces(fold=np.arange(100) % 4))
    with pytest.raises(IdferError, match="is empty somewhere or the same everywhere"):
        places(faces(fold=0))


def test_people_without_a_name_are_no_people_unless_one_says_so() -> None:
    nobody = faces(subject="")
    with pytest.raises(UsageError, match=r"names no people .* --by path"):
        places(nobody)
    found = places(nobody, by="path")
    assert sum(np.sum(place.division == 3) for place in found.every) == 100
    assert places(faces(subject="", split=np.repeat(["train", "test"], 50))).kind == "official"


@pytest.mark.parametrize("people", range(5, 12))
def test_few_people_are_two_to_learn_from_and_two_to_choose_on_or_refused(people: int) -> None:
    manifest = faces(people)
    for place in places(manifest, folds=2 if people < 8 else 3).every if people > 7 else ():
        assert min(len(groups(manifest, place, part)) for part in (1, 2)) >= 2
    if people < 6:
        with pytest.raises(UsageError, match="people are left to learn from"):
            places(manifest, folds=2)


def test_a_division_is_of_the_faces_it_was_made_for(squares: Manifest, tmp_path: Path) -> None:
    settings = Settings.of(method="erm", size=32)
    kept = prepare(squares, None, tmp_path / "runs", settings, progress=False)
    place = places(kept.manifest, folds=3).every[1]
    place.write(tmp_path / "runs", kept.digest)
    whole = division_of(tmp_path / "runs", kept.digest, place.key, kept.manifest)
    assert set(whole.select("test").subjects) == groups(kept.manifest, place, 3)
    assert set(whole.splits) == {"train", "val", "test"}
    with pytest.raises(IdferError, match="has disappeared or is damaged"):
        division_of(tmp_path / "runs", kept.digest, place.key, kept.manifest.rows(np.arange(5)))


def test_faces_are_told_apart_by_what_trials_read(squares: Manifest, tmp_path: Path) -> None:
    def digest(frame: pd.DataFrame, **settings: object) -> str:
        manifest = Manifest.from_frame(frame.copy(), squares.root)
        chosen = Settings.of(method="erm", size=32, **settings)
        return prepare(manifest, None, tmp_path / "runs", chosen, progress=False).digest

    frame = squares.frame
    first = digest(frame)
    assert digest(frame.assign(note="of no matter")) == first
    relabelled = frame.assign(valence=frame["valence"] / 2)
    renamed = frame.assign(subject="x" + frame["subject"])
    aged = frame.assign(**{"factor.age": np.arange(len(frame)) / 100})
    others = [digest(relabelled), digest(renamed), digest(aged), digest(frame, margin=0.3)]
    assert len({first, *others}) == 5


def test_rows_that_a_method_could_not_use_are_left_out_for_all_and_counted(
    photos: Path, tmp_path: Path
) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    names = ["a one.png", "deep/d.png", "c none.PNG", "broken.png"]
    table = pd.DataFrame({"path": names, "valence": 0.1, "arousal": [0.0, 0.1, 0.2, 0.3]})
    settings = Settings.of(method="erm", size=32, detector="haar")
    manifest = Manifest.from_frame(table, photos)
    kept = prepare(manifest, None, tmp_path / "runs", settings, progress=False)
    assert list(kept.manifest.frame["path"]) == names[:2]
    assert not np.isnan(kept.manifest.boxes).any()
    assert [(left.reason, left.count) for left in kept.left_out] == [
        ("no face found", 1), ("image could not be read or cut", 1)
    ]  # fmt: skip
    assert "row 3" in kept.left_out[1].first
    assert "broken.png" in kept.left_out[1].first
    again = prepare(manifest, None, tmp_path / "runs", settings, progress=False)
    assert (again.digest, again.left_out) == (kept.digest, kept.left_out)
    with pytest.raises(IdferError, match=r"no row of the manifest can be used; the first: row 0: .*broken"):
        prepare(manifest.rows(np.array([3])), None, tmp_path / "runs", settings, progress=False)
