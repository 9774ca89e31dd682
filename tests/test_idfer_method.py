"""The idfer method end to end: its terms act, estimators can be added, rows meet their own attributes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import idfer
from idfer import AttributeTable, IdferError, Manifest, UsageError
from idfer.methods.penalty import ESTIMATORS

OPTIONS: dict[str, Any] = {
    "backbone": "conv4", "size": 32, "batch_size": 24, "dim": 16, "device": "cpu", "lr": 3e-3,
    "progress": False,
}  # fmt: skip


def fit(faces: Manifest, table: AttributeTable, out: Path, **options: Any) -> list[dict[str, float]]:
    run = idfer.fit(faces, table, out=out, **({"method": "idfer", "epochs": 2} | OPTIONS | options))
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_the_budget_lowers_the_rate_and_information_rises(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    longer = {"epochs": 25, "batch_size": 12, "lr": 1e-2}
    free = fit(squares, squares_table, tmp_path / "free", terms={"rate": 0.0}, **longer)
    held = fit(squares, squares_table, tmp_path / "held", terms={"rate": 0.3}, **longer)
    assert held[-1]["rate"] < 0.7 * free[-1]["rate"]
    assert free[-1]["information"] > free[0]["information"] + 0.3
    assert free[-1]["val_ccc"] > 0.5


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_can_be_added_and_its_guards_are_logged(
    estimator: str, squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    terms = {"beta": 0.1, "estimator": estimator, "ramp_from": 0.0, "ramp_to": 0.1}
    log = fit(squares, squares_table, tmp_path / "run", terms=terms)
    assert np.isfinite([line[k] for line in log for k in ("loss", "penalty", "critic")]).all()
    assert log[-1]["guard_non_finite"] == 0
    assert log[-1]["penalty"] >= 0


def test_rows_meet_their_own_attributes_wherever_train_stands_in_the_manifest(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    last = Manifest.from_frame(
        squares.frame.sort_values("split", ascending=False, kind="stable"), squares.root
    )
    assert last.frame["split"].iloc[0] == "val"
    whole, turned = (
        fit(faces, squares_table, tmp_path / name) for name, faces in (("whole", squares), ("turned", last))
    )
    assert whole == turned


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"rates": 0.1}, "unknown term 'rates'. Did you mean 'rate'"),
        ({"estimator": "clubb", "beta": 1.0}, "unknown estimator 'clubb'. Did you mean 'club'"),
        ({"prior_power": -1.0}, "--terms.prior_power is -1.0"),
        ({"rate": "much"}, "must be a number"),
        ({"rate": float("nan")}, "must be finite"),
        ({"va": 0.0, "information": 0.0}, "nothing would be learned"),
    ],
)
def test_wrong_terms_are_named(
    terms: dict[str, Any], message: str, squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        fit(squares, squares_table, tmp_path / "run", terms=terms)


def test_one_person_and_constant_labels(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    flat = Manifest.from_frame(squares.frame.assign(valence=0.25, arousal=-0.5), squares.root)
    assert np.isfinite([line["loss"] for line in fit(flat, squares_table, tmp_path / "flat")]).all()
    one = squares.frame.assign(subject="p0", split="train")
    with pytest.raises(IdferError, match="at least two people"):
        fit(Manifest.from_frame(one, squares.root), squares_table, tmp_path / "one", decorrelate=False)
