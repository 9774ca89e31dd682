"""The idfer method end to end: its terms act, estimators can be added, rows meet their own attributes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import idfer
from idfer import AttributeTable, IdferError, Manifest, UsageError
from idfer.catalogue import ESTIMATORS
from idfer.methods.penalty import estimator_class

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


OWN_ESTIMATORS = '''
"""How far the means of x are apart between samples above and below the mean of c: no critic."""
import torch
from idfer.objectives.penalty_term import PenaltyTerm

class Gap(PenaltyTerm):
    sees = "levels"

    def estimate(self, x, c, mask, share, y):
        assert ((c.sum(2) - 1).abs() < 1e-4).all()  # posteriors, as asked for
        above = (c > c.mean(0)).to(x.dtype)
        below = 1 - above
        means = [torch.einsum("bak,bf->akf", side, x) / side.sum(0)[..., None].clamp_min(1)
                 for side in (above, below)]
        return (means[0] - means[1]).square().sum(2).mul(mask).sum(1)

    def losses(self, x, c, mask, y):
        return x.new_zeros(c.shape[1], requires_grad=True)

class Blind(Gap):
    sees = "faces"

class Unrelated:
    pass
'''


@pytest.fixture
def own_estimators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "own_estimators.py").write_text(OWN_ESTIMATORS)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "own_estimators", raising=False)
    return "own_estimators"


def test_an_estimator_of_ones_own_is_minimised(
    own_estimators: str, squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    terms = {"estimator": f"{own_estimators}:Gap", "ramp_from": 0.0, "ramp_to": 0.1}
    free = fit(squares, squares_table, tmp_path / "free", terms=terms | {"beta": 1e-6}, epochs=8)
    held = fit(squares, squares_table, tmp_path / "held", terms=terms | {"beta": 1.0}, epochs=8)
    assert free[-1]["penalty"] > 0
    assert held[-1]["penalty"] < 0.7 * free[-1]["penalty"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Blind", "sees 'faces'; its class attribute `sees` must be 'vectors'"),
        ("Unrelated", "is not a subclass of idfer.objectives.penalty_term:PenaltyTerm"),
        ("Missing", "own_estimators has no 'Missing'"),
    ],
)
def test_a_class_that_is_no_estimator_is_refused(
    name: str, message: str, own_estimators: str, squares: Manifest, squares_table: AttributeTable,
    tmp_path: Path,
) -> None:  # fmt: skip
    terms = {"estimator": f"{own_estimators}:{name}", "beta": 1.0}
    with pytest.raises(UsageError, match=message):
        fit(squares, squares_table, tmp_path / "run", terms=terms)


def test_what_an_estimator_sees_is_what_it_is_given() -> None:
    """Those that read levels get posteriors, the rest whitened vectors."""
    seen = {name: estimator_class(name).sees for name in ESTIMATORS}
    assert {name for name, sees in seen.items() if sees == "levels"} == {
        "club_categorical", "adversary", "hsic",
    }  # fmt: skip


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
        ({"va_late": 0.0, "information": 0.0}, "nothing would be learned, or no longer"),
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
    alone = squares.frame.assign(subject="p0", split="train")
    with pytest.raises(IdferError, match="at least two people"):
        fit(Manifest.from_frame(alone, squares.root), squares_table, tmp_path / "one", decorrelate=False)
