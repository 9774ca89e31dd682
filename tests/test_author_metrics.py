"""The authors' arithmetic, each against a calculation written out line by line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from idfer import UsageError, evaluate
from idfer.evaluation import metrics
from idfer.evaluation.author_metrics import AUTHORS, by_split, measure

from evaluated import run_folder, write_faces

RNG = np.random.default_rng(0)
LABEL = np.round(RNG.uniform(-1, 1, 150), 1)  # one in twenty is exactly 0
SAID = np.where(LABEL == 0, np.where(np.arange(150) % 2, 0.0, 0.3), 0.6 * LABEL + RNG.normal(0, 0.5, 150))


def batches_of(size: int) -> float:
    """Mean of the batches' RMSE; the last batch is smaller and counts as much."""
    roots = []
    for start in range(0, len(LABEL), size):
        errors = [(SAID[i] - LABEL[i]) ** 2 for i in range(start, min(start + size, len(LABEL)))]
        roots.append((sum(errors) / len(errors)) ** 0.5)
    return sum(roots) / len(roots)


def mixed_divisors() -> tuple[float, float]:
    """PCC and CCC with np.cov (N - 1) over np.std (N)."""
    covariance = np.cov(LABEL, SAID)[0, 1]
    spread = np.std(LABEL) * np.std(SAID)
    power = np.std(LABEL) ** 2 + np.std(SAID) ** 2 + (LABEL.mean() - SAID.mean()) ** 2
    return covariance / spread, 2 * covariance / power


@pytest.mark.parametrize(("protocol", "batch"), [("elim", 64), ("avce", 64), ("caf", 16)])
def test_the_lineage(protocol: str, batch: int) -> None:
    found = measure(LABEL, SAID, protocol)
    assert found["rmse"] == pytest.approx(batches_of(batch), abs=1e-12)
    assert (found["pcc"], found["ccc"]) == pytest.approx(mixed_divisors(), abs=1e-12)
    right = 0
    for label, said in zip(LABEL, SAID, strict=True):
        if np.sign(label) == np.sign(said) and (label != 0 or protocol == "caf"):
            right += 1
    assert found["sagr"] == pytest.approx(right / len(LABEL), abs=1e-12)


def test_emonet_clips() -> None:
    assert (np.abs(SAID) > 1).any()
    clipped = np.clip(SAID, -1, 1)
    found = measure(LABEL, SAID, "emonet")
    pearson = np.corrcoef(LABEL, clipped)[0, 1]
    power = np.std(clipped) ** 2 + np.std(LABEL) ** 2 + (clipped.mean() - LABEL.mean()) ** 2
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean((LABEL - clipped) ** 2)), abs=1e-12)
    assert found["sagr"] == pytest.approx(np.mean(np.sign(LABEL) == np.sign(clipped)), abs=1e-12)
    assert found["pcc"] == pytest.approx(pearson, abs=1e-12)
    assert found["ccc"] == pytest.approx(2 * pearson * np.std(clipped) * np.std(LABEL) / power, abs=1e-12)


def test_the_protocols_differ_where_they_are_said_to() -> None:
    values = {name: measure(LABEL, SAID, name) for name in AUTHORS} | {"ours": metrics.measure(LABEL, SAID)}
    assert values["caf"]["rmse"] < values["elim"]["rmse"] < values["ours"]["rmse"]
    assert values["elim"]["sagr"] < values["caf"]["sagr"] == values["ours"]["sagr"]
    assert values["elim"]["ccc"] == pytest.approx(values["ours"]["ccc"] * 150 / 149)
    assert values["emonet"]["rmse"] < values["ours"]["rmse"]


def test_two_dimensions_are_kept_apart_and_splits_too() -> None:
    table = pd.DataFrame(
        {
            "split": ["a"] * 100 + ["b"] * 49 + ["c"],
            "valence": LABEL, "arousal": LABEL[::-1],
            "predicted_valence": SAID, "predicted_arousal": np.r_[np.nan, SAID[:149]],
        }
    )  # fmt: skip
    found = by_split(table, "elim")
    assert list(found["splits"]) == ["a", "b"]  # one row is no covariance
    expected = measure(LABEL[100:149], SAID[100:149], "elim")
    assert found["splits"]["b"]["valence"] == pytest.approx({k: float(v) for k, v in expected.items()})
    expected = measure(LABEL[::-1][1:100], SAID[:99], "elim")  # without the face that failed
    assert found["splits"]["a"]["arousal"] == pytest.approx({k: float(v) for k, v in expected.items()})


def test_an_evaluation_names_its_protocol_beside_ours(tmp_path: Path) -> None:
    faces = write_faces(tmp_path, ("test",))
    run = run_folder(tmp_path / "run")
    kwargs = {"device": "cpu", "controls": False, "progress": False}
    found = evaluate(run, faces, out=tmp_path / "out", protocol="caf", **kwargs)
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert stored["author_protocol"]["name"] == "caf"
    said = found.predictions
    expected = measure(said["valence"], said["predicted_valence"], "caf")["rmse"]
    assert stored["author_protocol"]["splits"]["test"]["valence"]["rmse"] == pytest.approx(float(expected))
    ours = metrics.rmse(said["valence"], said["predicted_valence"])
    assert stored["accuracy"]["test"]["valence"]["rmse"]["value"] == pytest.approx(float(ours), rel=1e-6)
    assert "by the protocol `caf`" in str(found)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<code>caf</code>" in page
    assert "--protocol caf" in page
    with pytest.raises(UsageError, match=r"unknown protocol 'elm'\. Did you mean 'elim'"):
        evaluate(run, faces, protocol="elm", **kwargs)


def test_an_evaluation_says_when_videos_stand_in_for_people(tmp_path: Path) -> None:
    from idfer import Manifest

    faces = Manifest.read(write_faces(tmp_path, ("test",)))
    run = run_folder(tmp_path / "run")
    kwargs = {"device": "cpu", "controls": False, "progress": False}
    assert "IDF113" not in str(evaluate(run, faces, **kwargs))
    of_videos = Manifest.from_frame(faces.frame.assign(subject_kind="video"), faces.root)
    found = evaluate(run, of_videos, **kwargs)
    assert "IDF113" in str(found)
    assert found.metrics["data"]["subject_kinds"] == ["video"]
