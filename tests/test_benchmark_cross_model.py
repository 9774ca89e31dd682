"""`benchmarks/cross_model.py`: what is made of its rows, and what it needs before anything is rendered."""

from __future__ import annotations

import runpy
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "cross_model.py"


@pytest.fixture
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def rows(script: dict[str, Any]) -> list[dict[str, Any]]:
    """idfer is .1 above the others wherever it is tested on another hand's faces; seeds move all alike."""
    hands = ("drawn", "makehuman")
    return [
        {"seed": seed, "method": method, "trained": a, "tested": b, "person_ratio": 0.3, "age": -0.1,
         "interaction_ratio": 0.2, "gender": 0.1,
         "ccc": 0.5 + 0.05 * seed + 0.1 * (method == "idfer" and a != b)}
        for seed, method, a, b in product((1, 2, 3), script["METHODS"], hands, hands)
    ]  # fmt: skip


def test_gains_are_paired_by_seed(script: dict[str, Any]) -> None:
    for line in script["gains"](rows(script)):
        expected = 0.1 if line["trained"] != line["tested"] else 0.0
        assert line["value"] == pytest.approx(expected)
        assert line["high"] - line["low"] == pytest.approx(0, abs=1e-9), "what all share cancels"


def test_the_page_has_a_line_for_each_pair_of_models(script: dict[str, Any]) -> None:
    given = rows(script)
    content = {
        "command": "x", "ledger": None, "seeds": [1, 2, 3], "faces": "few",
        "summary": script["summarised"](given), "gains": script["gains"](given),
    }  # fmt: skip
    page = script["markdown"](content)
    assert "| drawn | makehuman | 0.600 [" in page and "0.700 [" in page
    assert page.count("| makehuman | drawn |") == len(script["MEASURES"]) + 3


def test_a_head_that_is_not_there_is_named(
    script: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--assets", str(tmp_path / "a.npz"), str(tmp_path / "b.npz")])
    assert script["main"]() > 0
    assert "a.npz does not exist" in capsys.readouterr().err


def test_seeds_that_were_reported_are_refused_before_anything_is_rendered(
    script: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    entry = "# Reported runs\n\n## cross-model-1\n\n- command: `another`\n- seeds: 51, 52\n- headline: x\n"
    (tmp_path / "history.md").write_text(entry)
    script["run"].__globals__["asset"] = type(
        "Heads", (), {"read": lambda file: type("A", (), {"kind": file})}
    )
    words = ["x", "--assets", "a", "b", "--results", str(tmp_path), "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", words)
    assert script["main"]() > 0
    assert "seed 51 was reported before" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
