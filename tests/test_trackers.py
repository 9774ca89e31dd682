"""Trackers: epochs and steps reach them, once, however often the run is interrupted."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import idfer
from idfer import IdferError, Manifest, UsageError
from idfer.training.trainer import Trainer

SMALL: dict[str, Any] = {
    "backbone": "conv4", "size": 16, "batch_size": 16, "dim": 8, "device": "cpu", "progress": False,
    "method": "erm", "epochs": 3,
}  # fmt: skip
STEPS, EPOCHS = [2, 4, 6, 8, 10, 12], [4, 8, 12]  # four batches an epoch, every other step is logged


@pytest.fixture
def interrupted(
    squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], list[dict[str, Any]]]:
    """Trains with a tracker, is killed after the second epoch is logged and before it is saved, goes on."""
    monkeypatch.setattr("idfer.training.trainer.EVERY", 2)
    kept = Trainer._save

    def stop(trainer: Trainer, folder: Path, epoch: int, *rest: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt
        kept(trainer, folder, epoch, *rest)

    def train(logger: str) -> list[dict[str, Any]]:
        with monkeypatch.context() as patched:
            patched.setattr(Trainer, "_save", stop)
            with pytest.raises(KeyboardInterrupt):
                idfer.fit(squares, out=tmp_path / "run", logger=logger, **SMALL)
        idfer.fit(squares, out=tmp_path / "run", logger=logger, **SMALL)
        return [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]

    return train


def test_a_csv_has_every_logged_step_and_epoch_once(interrupted: Any, tmp_path: Path) -> None:
    history = interrupted("csv")
    with (tmp_path / "run" / "csv" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["step/loss"]] == STEPS
    epochs = [row for row in rows if row["epoch"]]
    assert [int(row["step"]) for row in epochs] == EPOCHS
    assert [float(row["epoch/loss"]) for row in epochs] == [line["loss"] for line in history]
    assert [float(row["epoch/val_ccc"]) for row in epochs] == [line["val_ccc"] for line in history]
    rates = [float(row["step/lr"]) for row in rows if row["step/lr"]]
    assert rates == sorted(rates, reverse=True)


def test_tensorboard_shows_every_logged_step_and_epoch_once(interrupted: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = interrupted("tensorboard")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("step/loss")] == STEPS
    assert [event.step for event in events.Scalars("epoch/loss")] == EPOCHS
    losses = [event.value for event in events.Scalars("epoch/loss")]
    assert losses == pytest.approx([line["loss"] for line in history])


WANDB = """
import json
class Error(Exception): pass
class Run:
    def __init__(self, options): self.file = open(options["dir"] / f"told-{options['id']}.jsonl", "a")
    def log(self, values, step): print(json.dumps([step, sorted(values)]), file=self.file, flush=True)
    def finish(self, exit_code):
        print(json.dumps([exit_code, "finished"]), file=self.file)
        self.file.close()
def init(**options):
    if options["project"] == "broken": raise Error("no API key")
    assert options["config"]["method"] == "erm" and options["name"] == "run"
    return Run(options)
"""


def test_wandb_is_told_every_logged_step_and_epoch_once(
    interrupted: Any, squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in that writes down what it is told: the real one keeps files of its own format."""
    (tmp_path / "wandb.py").write_text(WANDB)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    interrupted("wandb")
    (told,) = (tmp_path / "run").glob("told-*.jsonl")  # one id for both halves
    lines = [json.loads(line) for line in told.read_text().splitlines()]
    assert [line for line in lines if "finished" in line] == [[1, "finished"], [0, "finished"]]
    logged = [(step, names) for step, names in lines if names != "finished"]
    assert [step for step, names in logged if "step/loss" in names] == STEPS
    assert [step for step, names in logged if "epoch/val_ccc" in names] == EPOCHS
    monkeypatch.setenv("WANDB_PROJECT", "broken")
    with pytest.raises(IdferError, match="no API key; log in with `wandb login`, or set WANDB_MODE=offline"):
        idfer.fit(squares, out=tmp_path / "other", logger="wandb", **SMALL)


@pytest.mark.parametrize(
    ("logger", "message"),
    [
        ("csv,tensorbord", "unknown logger 'tensorbord'. Did you mean 'tensorboard'"),
        ("tensorboard", r"tensorboard is not installed: pip install 'idfer\[tensorboard\]'"),
        ("csv,wandb", r"wandb is not installed: pip install 'idfer\[wandb\]'"),
    ],
)
def test_a_tracker_that_is_not_there_is_told_before_anything_is_done(
    logger: str, message: str, squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idfer.training.trackers.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=message):
        idfer.fit(squares, out=tmp_path / "run", logger=logger, **SMALL)
    assert not (tmp_path / "run").exists()


def test_trackers_change_no_weight(squares: Manifest, tmp_path: Path) -> None:
    runs = [idfer.fit(squares, out=tmp_path / f"run{name}", logger=name, **SMALL) for name in ("csv", "")]
    assert len({(run / "model.safetensors").read_bytes() for run in runs}) == 1
