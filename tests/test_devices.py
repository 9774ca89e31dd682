"""Several processes share each batch: what they learn is what one learns, and they end together."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import idfer
from idfer import AttributeTable, IdferError, Manifest, UsageError
from idfer.catalogue import METHODS
from idfer.training import run as running
from idfer.training.checkpoint import load_state
from idfer.training.processes import run_processes

from ranks import Descent, train_by_descent

SMALL: dict[str, Any] = {
    "backbone": "conv4", "size": 16, "batch_size": 24, "dim": 8, "device": "cpu", "progress": False
}  # fmt: skip
WITHOUT_A_TWIN = [
    name for name in METHODS if name not in ("erm_weights", "adversarial_weights", "erm_people")
]


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


def test_two_processes_take_the_steps_of_one_by_every_method(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works: list[Any] = []
    monkeypatch.setattr("idfer.training.run.run_processes", lambda _, work, count: works.append(work))
    monkeypatch.setattr("idfer.methods.optimise.AdamW", Descent)
    monkeypatch.setattr("torch.optim.Adam", Descent)

    def fit(out: str, **options: Any) -> None:
        idfer.fit(squares, squares_table, out=tmp_path / out, epochs=1, lr=0.01, **SMALL | options)

    for name in WITHOUT_A_TWIN:
        for devices in (1, 2):
            fit(f"{name}-{devices}", method=name, devices=devices)
    for devices in (1, 2):  # timm's normalisation with activation
        fit(f"act-{devices}", method="erm", backbone="test_efficientnet", devices=devices)
    run_processes(train_by_descent, works, 2)
    for name, work in zip([*WITHOUT_A_TWIN, "act"], works, strict=True):
        check_moved_alike(work.parameters, tmp_path / f"{name}-1", tmp_path / f"{name}-2", 2e-3)


def test_what_one_process_began_two_finish(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {**SMALL, "method": "idfer", "epochs": 3, "logger": "csv"}
    begun: list[Any] = []

    def remember(work: Any, network: torch.nn.Module) -> None:
        begun.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        kept(work, network)

    kept = running._train
    monkeypatch.setattr(running, "_train", remember)
    idfer.fit(squares, squares_table, out=tmp_path / "one", **options)
    kept_state = running.Trainer._save

    def stop(trainer: Any, folder: Path, epoch: int, *rest: Any) -> None:
        kept_state(trainer, folder, epoch, *rest)
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(running.Trainer, "_save", stop)
    with pytest.raises(KeyboardInterrupt):
        idfer.fit(squares, squares_table, out=tmp_path / "two", **options)
    state = load_state(tmp_path / "two")
    assert state is not None
    assert state["epoch"] == 1
    idfer.fit(squares, squares_table, out=tmp_path / "two", devices=2, **options)
    check_moved_alike(begun[0], tmp_path / "one", tmp_path / "two", 0.02)
    logs = [[json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
            for run in ("one", "two")]  # fmt: skip
    for of_one, of_two in zip(*logs, strict=True):
        assert of_two == pytest.approx(of_one, rel=1e-3, abs=1e-3)
    tracked = (tmp_path / "two" / "csv" / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in tracked] == ["epoch", "1", "2", "3"]
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == sorted(
        p.name for p in (tmp_path / "one").iterdir()
    )


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


def test_an_error_of_one_process_ends_all_with_its_message(squares: Manifest, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(ONE_FAILS)
    command = [sys.executable, "-m", "idfer", "fit", str(squares.root / "manifest.parquet")]
    command += [part for name, value in SMALL.items() for part in (f"--{name}", str(value).lower())]
    command += ["--method", "failing:OneFails", "--devices", "2", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stderr == "idfer: row 7: gone.png cannot be read.\n"
    assert done.returncode == 1
    assert not (tmp_path / "run" / "model.safetensors").exists()


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


def test_a_process_that_dies_without_a_word_is_told() -> None:
    with pytest.raises(IdferError, match="one of its processes did"):
        run_processes(os._exit, 9, 1)
