"""A method, a model, an estimator and a reader of a user's own, by name, without touching the package."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

import idfer
from idfer import AttributeTable, IdferError, Manifest, UsageError, cli
from idfer.methods.penalty import estimator_class
from idfer.training.checkpoint import load_checkpoint
from idfer.training.settings import Settings

EXAMPLES = Path(__file__).parent.parent / "examples"
METHOD, ESTIMATOR = "own_method:SmoothERM", "own_estimator:Correlation"


@pytest.fixture
def in_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user who stands in the folder of the example; imports are forgotten afterwards."""
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for module in ("own_method", "own_model", "own_estimator", "own_reader"):
        monkeypatch.delitem(sys.modules, module, raising=False)


def test_an_own_method_is_trained_and_its_run_needs_it_no_more(
    squares: Manifest, tmp_path: Path, in_examples: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    options = ["--backbone", "conv4", "--size", "32", "--batch_size", "16", "--dim", "8", "--epochs", "8"]
    options += ["--progress", "false", "--device", "cpu", "--terms.smooth", "0.2", "-o", str(out)]
    assert cli.main(["fit", str(squares.root), "--method", METHOD, *options]) == 0
    history = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["val_ccc"] > 0.3
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(EXAMPLES))])
    monkeypatch.delitem(sys.modules, "own_method")
    settings = load_checkpoint(out).record.settings
    assert (settings.method, settings.terms) == (METHOD, {"smooth": 0.2})
    assert "own_method" not in sys.modules  # to open a run imports no class of its own
    with pytest.raises(UsageError, match="there is no module 'own_method'"):
        Settings.of(method=METHOD)


def test_its_terms_are_checked_as_any_methods(in_examples: None) -> None:
    with pytest.raises(UsageError, match=r"unknown term 'smoth'\. Did you mean 'smooth'\?"):
        Settings.of(method=METHOD, terms={"smoth": 0.1})
    assert Settings.of(method=METHOD).entry.title == "smoothed labels"


def test_an_own_model_is_evaluated_by_the_command_line(
    squares: Manifest, tmp_path: Path, in_examples: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    command = ["evaluate", "own_model:Mine", str(squares.root), "--splits", "val", "--progress", "false"]
    assert cli.main([*command, "-o", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["run"]["name"] == "mine"
    assert metrics["certificate"] is None
    assert len(pd.read_parquet(out / "predictions.parquet")) == 24
    assert "mine" in (out / "report.html").read_text()
    capsys.readouterr()
    assert cli.main(["evaluate", "own_model:Nobody", str(squares.root)]) == 2
    assert "own_model has no 'Nobody'" in capsys.readouterr().err


def test_the_adapter_is_as_short_as_promised() -> None:
    code = (EXAMPLES / "own_model.py").read_text().split("class Mine:")[1]
    assert len([line for line in code.splitlines() if line.strip() and '"""' not in line]) <= 10


def test_an_own_estimator_says_what_its_equation_says(in_examples: None) -> None:
    kind = estimator_class(ESTIMATOR)
    draw = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 4000, 1, generator=draw, dtype=torch.float64)
    c = torch.stack(
        [0.8 * x + 0.6 * noise, noise], 1
    )  # the first attribute correlates by 0.8, the second not
    values = kind(2, 1, 1)(x, c)
    assert values.tolist() == pytest.approx([-0.5 * math.log(1 - 0.8**2), 0.0], abs=0.03)
    assert torch.autograd.gradcheck(kind(2, 1, 1), (x[:6].clone().requires_grad_(), c[:6]))


def test_an_own_estimator_makes_features_tell_less(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path, in_examples: None
) -> None:
    """Features of a sensitive network, with and without the penalty's weight."""
    options = {
        "attributes": squares.root / "attributes.parquet", "method": "conditional", "backbone": "conv4",
        "size": 32, "batch_size": 36, "dim": 8, "epochs": 12, "terms.estimator": ESTIMATOR,
        "terms.ramp_to": 0.2, "device": "cpu", "progress": "false",
    }  # fmt: skip
    told = []
    for beta in (1e-6, 3.0):
        given = {**options, "terms.beta": beta, "out": tmp_path / f"beta{beta}"}
        command = ["fit", str(squares.root), *(f"--{name}={value}" for name, value in given.items())]
        assert cli.main(command) == 0
        history = (tmp_path / f"beta{beta}" / "log.jsonl").read_text().splitlines()
        told.append(json.loads(history[-1])["penalty"])
    assert 0 <= told[1] < 0.8 * told[0]


def test_an_own_reader_reads_scales_and_counts(
    tmp_path: Path, in_examples: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / name)
    lines = ["file,who,fold,v,a", "a.png,ann,training,9,5", "b.png,bob,dev,1,3", "b.png,bob,dev,0,0"]
    (tmp_path / "ratings.csv").write_text("\n".join([*lines, "gone.png,bob,dev,5,5", "a.png,ann,dev,99,5"]))
    out = tmp_path / "manifest.parquet"
    assert (
        cli.main(["manifest", "own_reader:read", str(tmp_path), "-o", str(out), "--progress", "false"]) == 0
    )
    manifest = Manifest.read(out)
    assert manifest.targets.tolist() == [[1, 0], [-1, -0.5]]
    assert manifest.frame["split"].tolist() == ["train", "val"]
    assert manifest.frame["subject"].tolist() == ["ann", "bob"]
    said = capsys.readouterr().out
    for why in ("1  no face (first: images/b.png)", "1  image is not there (first: images/gone.png)",
                "1  label is outside its range"):  # fmt: skip
        assert why in said


@pytest.mark.slow
def test_an_own_method_is_benchmarked_and_ablated(tmp_path: Path) -> None:
    """In a process of its own that starts in the example's folder, its workers with it."""
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump({"budget": {"backbone": "conv4"}}))
    grid = {
        "base": {"method": "erm", "backbone": "conv4"},
        "variants": {"labels": {"smooth": {"method": METHOD, "terms": {"smooth": 0.3}}}},
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    places = ["-o", str(tmp_path / "results"), "--runs", str(tmp_path / "runs"), "--size", "tiny"]
    places += ["--seeds", "1", "--workers", "2", "--progress", "false"]
    shift = [
        "benchmark",
        "shift",
        "--plan",
        str(tmp_path / "plan.yaml"),
        "--methods",
        f"erm,oracle,{METHOD}",
    ]
    for command in (shift, ["ablate", str(tmp_path / "grid.yaml")]):
        script = "import sys; from idfer.cli import main; sys.path.remove(''); sys.exit(main(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", script, *command, *places], cwd=EXAMPLES, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    shift_results = json.loads((tmp_path / "results" / "shift.json").read_text())
    assert METHOD in shift_results["summary"]
    default, drawn = (tried["given"] for tried in shift_results["tuning"][METHOD])
    assert default == {}
    assert 0.02 <= drawn["terms"]["smooth"] <= 0.5
    ablation = json.loads((tmp_path / "results" / "ablation.json").read_text())
    assert set(ablation["summary"]) == {"base", "smooth"}


OWN = """
from dataclasses import dataclass
from idfer.methods.common import Plain
class Silent(Plain):
    def step(self, batch): return None
class Lost(Plain):
    def step(self, batch): return {"loss": float("nan")}
class Bare(Plain):
    class Terms: pass
    def step(self, batch): return {}
class NoStep: pass
class Needs:
    def __init__(self, something): pass
    predict = None
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("os:path", "is no class with a `step`"),
        ("os:getcwd", "is no class with a `step`"),
        ("strange:NoStep", "is no class with a `step`"),
        ("strange:Silent", "`step` gave NoneType; it must give a dict"),
        ("strange:Lost", "the loss became nan"),
        ("strange:Bare", "must be a dataclass"),
    ],
)
def test_a_class_that_is_no_method_is_one_line(
    name: str, message: str, squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strange.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "strange", raising=False)
    with pytest.raises(IdferError, match=message):
        idfer.fit(
            squares, method=name, backbone="conv4", size=32, batch_size=16, dim=8, epochs=1, device="cpu",
            progress=False, out=tmp_path / "run",
        )  # fmt: skip
    with pytest.raises(UsageError, match=r"strange:Needs: cannot be made without arguments \(TypeError"):
        idfer.evaluate("strange:Needs", squares)
