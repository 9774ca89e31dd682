"""Several processes share each batch: what they learn is what one learns, and they end together."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor
from torch.multiprocessing.spawn import ProcessExitedException

import idfer
from idfer import AttributeTable, IdferError, Manifest, UsageError
from idfer.catalogue import METHODS
from idfer.data import loader
from idfer.training.processes import run_processes
from idfer.training.trainer import Trainer

from ranks import Descent, train_each

SMALL: dict[str, Any] = {
    "backbone": "conv4", "size": 16, "batch_size": 24, "dim": 8, "device": "cpu", "progress": False
}  # fmt: skip
TWINS = ("erm_weights", "adversarial_weights", "erm_people")  # of a method that is trained anyway
RUNS: dict[str, dict[str, Any]] = {name: {"method": name} for name in METHODS if name not in TWINS} | {
    "layers of timm": {"method": "erm", "backbone": "test_efficientnet"},  # with the activation inside
    "dropout": {"method": "idfer", "dropout": 0.5},
}


def check_moved_alike(first: dict[str, Tensor], one: Path, two: Path, share: float) -> None:
    """Every parameter and statistic of two runs moved from its first value by the same, but for a `share`."""
    ends = [load_file(run / "model.safetensors") for run in (one, two)]
    assert ends[0].keys() == ends[1].keys()
    moved = 0.0
    for name, of_one in ends[0].items():
        if name in first and of_one.is_floating_point():
            distance = float((of_one - first[name]).norm())
            assert float((of_one - ends[1][name]).norm()) <= share * distance + 1e-6, name
            moved += distance
    assert moved > 0.01


ONE_FAILS = """
import os
from idfer.errors import IdferError
from idfer.methods.erm import ERM
class OneFails(ERM):
    def step(self, batch):
        if os.environ.get("LOCAL_RANK") == "1":
            raise IdferError("row 7: gone.png cannot be read.")
        return super().step(batch)
"""


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_go_on_where_it_stopped_and_end_together(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Any] = []
    monkeypatch.setattr("idfer.training.run.run_processes", lambda _, work, count: waiting.append(work))

    def fit(out: str, **options: Any) -> None:
        idfer.fit(squares, squares_table, out=tmp_path / out, **SMALL | options)

    # every method by plain descent: weights then differ as gradients do
    with monkeypatch.context() as patched:
        patched.setattr("idfer.methods.optimise.AdamW", Descent)
        patched.setattr("torch.optim.Adam", Descent)
        for name, options in RUNS.items():
            for devices in (1, 2):
                fit(f"{name}-{devices}", **options, devices=devices, epochs=1, lr=0.01)

    # one process begins, two go on
    whole: dict[str, Any] = {"method": "idfer", "epochs": 3, "logger": "csv", "ema": 0.5}
    fit("whole", **whole)
    kept = Trainer._save

    def stop(trainer: Any, folder: Path, epoch: int, *rest: Any) -> None:
        kept(trainer, folder, epoch, *rest)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save", stop)
        with pytest.raises(KeyboardInterrupt):
            fit("resumed", **whole)
    fit("resumed", devices=2, **whole)

    # a face that cannot be read while it streams
    streamed: dict[str, Any] = {"method": "erm", "epochs": 2, "num_workers": 0, "batch_size": 36}
    with monkeypatch.context() as patched:
        patched.setattr(loader, "MEMORY_LIMIT", 0)
        squares.files[5].write_bytes(squares.files[5].read_bytes()[:100])
        fit("one reads", **streamed)
        fit("two read", devices=2, **streamed)

    # one of two fails
    (tmp_path / "failing.py").write_text(ONE_FAILS)
    monkeypatch.syspath_prepend(tmp_path)
    fit("failing", method="failing:OneFails", devices=2, epochs=1)

    with pytest.raises(IdferError, match=r"^row 7: gone\.png cannot be read\.$"):
        run_processes(train_each, (waiting[: len(RUNS)], waiting[len(RUNS) :]), 2)
    assert multiprocessing.active_children() == []
    assert not (tmp_path / "failing" / "model.safetensors").exists()
    for name, work in zip(RUNS, waiting, strict=False):
        check_moved_alike(work.parameters, tmp_path / f"{name}-1", tmp_path / f"{name}-2", 2e-3)
    for number, names in enumerate((("one reads", "two read"), ("whole", "resumed"))):
        one, two = (tmp_path / name for name in names)
        check_moved_alike(waiting[len(RUNS) + 1 - number].parameters, one, two, 0.02)
        assert {file.name for file in one.iterdir()} == {file.name for file in two.iterdir()}
        logs = [
            [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in (one, two)
        ]
        for of_one, of_two in zip(*logs, strict=True):
            assert of_two == pytest.approx(of_one, rel=1e-3, abs=1e-3)
            assert ("unread" in of_two) == (number == 0)
    tracked = (two / "csv" / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in tracked] == ["epoch", "1", "2", "3"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 0}, "--devices is 0"),
        ({"devices": 5}, "a batch of 24 faces cannot be dealt out evenly to 5 devices"),
        ({"devices": 2, "device": "cuda"}, r"--devices 2: there are 1 CUDA device\(s\) here"),
        ({"devices": 2, "device": "cuda:0"}, "--devices 2 with --device cuda:0: that is one device"),
    ],
)
def test_devices_that_there_are_not_are_refused(
    options: dict[str, Any], message: str, squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UsageError, match=message):
        idfer.fit(squares, method="erm", out=tmp_path / "run", **SMALL | options)
    assert not (tmp_path / "run").exists()


def test_a_script_that_trains_while_it_is_imported_is_told(
    squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(UsageError, match="__main__"):
        idfer.fit(squares, method="erm", devices=2, out=tmp_path / "run", **SMALL)


def test_a_process_that_dies_without_a_word_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def died() -> bool:
        raise ProcessExitedException("process 1 terminated with signal SIGKILL", 1, 123, -9, "SIGKILL")

    context = SimpleNamespace(join=died, processes=[])
    monkeypatch.setattr("idfer.training.processes.start_processes", lambda *_, **__: context)
    with pytest.raises(IdferError, match=r"one of its processes did \(process 1 .* SIGKILL\)"):
        run_processes(print, 9, 2)
