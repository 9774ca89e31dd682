"""The faces that trials read: boxes that were found, and columns that the user changed since."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import films
from idfer import AttributeTable, Manifest
from idfer.errors import UsageError
from idfer.experiments.compare import benchmark_compare
from idfer.experiments.manifests.faces import prepare, read
from idfer.experiments.manifests.places import places
from idfer.training.settings import Settings

SETTINGS = Settings.of(method="erm", size=32, backbone="conv4", detector="haar")


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """48 frames of 12 people's videos without boxes, not in reading order; one too many."""
    monkeypatch.setattr("idfer.data.locate.load_detector", lambda name: films.Bright())
    for video in range(12):
        films.walk(tmp_path / f"{video}.mp4", 6)
    rows = [(f"{video}.mp4", frame, f"p{video}") for frame in (3, 0, 5, 1) for video in range(12)]
    rows.insert(7, ("3.mp4", 99, "p3"))
    table = pd.DataFrame(rows, columns=["path", "frame", "subject"])
    spread = np.linspace(-0.9, 0.9, len(table))
    return Manifest.from_frame(table.assign(valence=spread, arousal=spread[::-1]), tmp_path)


def test_a_trial_finds_attributes_of_faces_that_a_detector_placed(
    faces: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    count = len(faces)
    frame = faces.frame
    told = squares_table.rows(np.arange(count) % len(squares_table))
    table = replace(
        told, path=frame["path"].to_numpy(object), frame=frame["frame"].to_numpy(), box=(None,) * count
    )
    prepared = prepare(faces, table, tmp_path / "runs", SETTINGS, progress=False)
    assert [left.count for left in prepared.left_out] == [1]
    kept, kept_table = read(tmp_path / "runs", prepared.digest)
    assert kept_table is not None
    assert not np.isnan(kept.boxes).any()
    some = np.arange(len(kept))[::-3]
    found = kept_table.align(kept.rows(some))
    np.testing.assert_array_equal(found.posteriors, np.delete(table.posteriors, 7, 0)[some])


def test_splits_and_folds_are_those_the_manifest_has_now(faces: Manifest, tmp_path: Path) -> None:
    first = prepare(faces, None, tmp_path / "runs", SETTINGS, progress=False)
    assert places(first.manifest).kind == "dealt"
    person = faces.frame["subject"].str[1:].astype(int)
    split = faces.frame.assign(split=np.where(person < 8, "train", "test"))
    again = prepare(replace(faces, frame=split), None, tmp_path / "runs", SETTINGS, progress=False)
    assert again.digest == first.digest, "no trial is thrown away"
    assert again.left_out == first.left_out
    assert places(again.manifest, seeds=[1]).kind == "official"
    folds = faces.frame.assign(fold=person % 3)
    other = prepare(replace(faces, frame=folds), None, tmp_path / "runs", SETTINGS, progress=False)
    assert len(places(other.manifest).every) == 3
    kept, _ = read(tmp_path / "runs", first.digest)
    for made in (first, again, other):
        assert made.manifest.frame[["path", "frame"]].equals(kept.frame[["path", "frame"]])


def test_a_plan_that_places_faces_in_several_ways_is_refused(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("budget: {detector: haar}\ngrid: {erm: [{lr: .1}], bmse: [{detector: none}]}\n")
    with pytest.raises(UsageError, match="the plan: bmse: detector is not 'haar' in every setting"):
        benchmark_compare(tmp_path / "no.csv", methods="erm,bmse", plan=plan, out=tmp_path / "out")
