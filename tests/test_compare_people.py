"""Accuracy over people: pooled folds, the same draws for all methods, against the evaluation's bootstrap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from idfer import Manifest
from idfer.errors import IdferError
from idfer.evaluation import metrics
from idfer.evaluation.bootstrap import differences, estimates
from idfer.experiments.jobs import Job
from idfer.experiments.manifests.people import over_people, predictions
from idfer.experiments.manifests.places import TEST, Places, places
from idfer.experiments.manifests.trial import predictions_file


@pytest.fixture
def faces() -> Manifest:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"path": [f"{i}.png" for i in range(60)], "subject": [f"p{i % 12}" for i in range(60)]}
    )
    return Manifest.from_frame(
        table.assign(valence=rng.uniform(-1, 1, 60), arousal=rng.uniform(-1, 1, 60)), "."
    )


def _kept(faces: Manifest, found: Places, runs: Path, noise: dict[str, float]) -> pd.DataFrame:
    """Predictions of made-up trials: labels and some noise, a method's own."""
    jobs, names = [], []
    for method, spread in noise.items():
        rng = np.random.default_rng(len(method))
        for at, place in enumerate(found.every):
            job = Job(method, "a:b", {"method": method, "at": at})
            rows = place.division == TEST
            said = faces.targets[rows] + rng.normal(0, spread, (int(rows.sum()), 2))
            file = predictions_file(runs, job.key)
            file.parent.mkdir(exist_ok=True, parents=True)
            np.save(file, np.clip(said, -1, 1).astype(np.float32))
            jobs.append(job)
            names.append((method, at))
    return predictions(faces, found, jobs, names, runs)


def test_of_one_seed_it_is_the_bootstrap_of_evaluation(faces: Manifest, tmp_path: Path) -> None:
    divided = places(faces, folds=3)
    table = _kept(faces, divided, tmp_path, {"erm": 0.5, "idfer": 0.2})
    assert sorted(table.loc[table["method"] == "erm", "path"]) == sorted(faces.frame["path"])
    found = over_people(table, faces, divided, "idfer")
    said = {
        method: of.sort_values("row")[["predicted_valence", "predicted_arousal"]].to_numpy()
        for method, of in table.groupby("method")
    }
    alone = estimates(faces.targets, said["erm"], faces.subjects)["ccc"][-1]
    assert vars(found["erm"].ccc) == pytest.approx(vars(alone))
    wanted = differences(faces.targets, said["idfer"], said["erm"], faces.subjects)["ccc"][-1]
    assert found["erm"].difference is not None
    assert vars(found["erm"].difference) == pytest.approx(vars(wanted))
    assert found["erm"].difference.high < 0
    assert found["idfer"].difference is None


def test_seeds_are_averaged_and_folds_pooled(faces: Manifest, tmp_path: Path) -> None:
    divided = places(faces, folds=3, seeds=[1, 2])
    table = _kept(faces, divided, tmp_path, {"erm": 0.5})
    by_seed = [
        metrics.ccc(of[["valence", "arousal"]], of[["predicted_valence", "predicted_arousal"]]).mean()
        for _, of in table.groupby("seed")
    ]
    found = over_people(table, faces, divided, "erm")["erm"].ccc
    assert found.value == pytest.approx(np.mean(by_seed))
    assert found.low < found.value < found.high


def test_folds_of_a_column_keep_their_values(faces: Manifest, tmp_path: Path) -> None:
    numbers = faces.frame["subject"].str[1:].astype(int) % 3
    for fold, values in (
        (numbers, {0, 1, 2}),
        ("part " + numbers.astype(str), {"part 0", "part 1", "part 2"}),
    ):
        given = replace(faces, frame=faces.frame.assign(fold=fold))
        table = _kept(given, places(given), tmp_path, {"erm": 0.5})
        assert set(table["fold"]) == values
        assert (table["fold"].to_numpy() == fold[table["row"]].to_numpy()).all()
        table.to_parquet(tmp_path / "compare.parquet")


def test_predictions_that_are_gone_are_named(faces: Manifest, tmp_path: Path) -> None:
    divided = places(faces, folds=3)
    with pytest.raises(
        IdferError, match=r"predictions of erm cannot be read .* delete .*\.json and run the command"
    ):
        predictions(faces, divided, [Job("erm", "a:b", {})], [("erm", 0)], tmp_path)
