"""What all methods share: terms are checked, bad batches survived, runs resumed."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import idfer
from idfer import AttributeTable, IdferError, Manifest, UsageError
from idfer.catalogue import METHODS
from idfer.methods.optimise import ramp
from idfer.search import draw
from idfer.training import checkpoint
from idfer.types import Batch

from toy_faces import OPTIONS, RIVALS, build, finite, replace, toy


def test_the_ramp_rises_from_nothing_to_all() -> None:
    assert [ramp(s, 100, 0.5) for s in (0, 25, 50, 99)] == [0, 0.5, 1, 1]
    assert ramp(0, 100, 0.0) == 1


@pytest.mark.parametrize(
    ("name", "terms", "message"),
    [
        ("adversarial", {"weigth": 1.0}, "unknown term 'weigth'. Did you mean 'weight'"),
        ("adversarial", {"weight": -1.0}, r"--terms\.weight is -1\.0; it must be at least 0"),
        ("hsic", {"ramp": 1.5}, r"--terms\.ramp is 1\.5; it must be from 0 to 1"),
        ("groupdro", {"eta": "much"}, r"--terms\.eta is 'much'; it must be a number"),
        ("groupdro", {"quadrants": 1}, r"--terms\.quadrants is 1; it must be bool"),
        ("caf", {"quantile": 2.0}, r"--terms\.quantile"),
        ("bmse", {"form": "gai"}, "unknown form of Balanced MSE 'gai'. Known: bmc, bni"),
        ("bmse", {"sigma": 0.0}, r"--terms\.sigma is 0\.0; it must be from 0\.05 to 1"),
        ("avce", {"width": 1}, r"--terms\.width is 1; it must be at least 2"),
        ("elim", {"least": 1}, r"--terms\.least is 1; it must be at least 2"),
        ("dice", {"bound": 1000.0}, r"--terms\.bound"),
        ("dice", {"alpha": math.nan}, r"--terms\.alpha is nan; it must be finite"),
    ],
)
def test_wrong_terms_are_named(name: str, terms: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(name, toy(), **terms)


@pytest.mark.parametrize("name", RIVALS)
def test_awkward_batches_leave_every_weight_finite(name: str) -> None:
    batch = toy(16)
    method = build(
        name, batch, lr=1e-3, **({"ramp": 0.0} if "ramp" in dir(METHODS[name].load().Terms) else {})
    )
    awkward = {
        "constant labels": replace(batch, target=torch.full_like(batch.target, 0.5)),
        "labels at the origin": replace(batch, target=torch.zeros_like(batch.target)),
        "one person": replace(batch, subject=torch.zeros_like(batch.subject)),
        "a person per face": replace(batch, subject=torch.arange(16)),
        "an empty level": replace(
            batch, posterior=torch.tensor([1.0, 0.0, 0.5, 0.5, 0.0]).expand(16, -1).contiguous()
        ),
        "one image": replace(batch, image=batch.image[:1].expand(16, -1, -1, -1).contiguous()),
        "few faces": Batch(**{k: v[:4] for k, v in batch.__dict__.items()}),
    }
    for case, given in awkward.items():
        logged = method.step(given)
        assert all(math.isfinite(v) for v in logged.values()), (case, logged)
        assert finite(method), case


@pytest.mark.parametrize("name", RIVALS)
def test_a_nan_stops_the_run_with_a_reason(name: str) -> None:
    batch = toy(16)
    with pytest.raises(IdferError, match="the loss became nan"):
        build(name, batch).step(replace(batch, image=batch.image * math.nan))


@pytest.mark.parametrize("name", RIVALS)
def test_half_precision_takes_the_same_first_step_nearly(name: str) -> None:
    batch = toy(24)
    whole, half = (build(name, batch, precision=p).step(batch) for p in ("32-true", "bf16-mixed"))
    assert half["loss"] == pytest.approx(whole["loss"], rel=0.1)


@pytest.mark.parametrize("name", RIVALS)
def test_a_run_stopped_after_an_epoch_ends_with_the_same_weights(
    name: str,
    squares: Manifest,
    squares_table: AttributeTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = squares_table if METHODS[name].attributes else None

    def fit(out: str) -> Path:
        return idfer.fit(
            squares, table, method=name, out=tmp_path / out, epochs=2, progress=False, seed=3, **OPTIONS
        )

    whole, kept = fit("whole"), checkpoint.save_state
    history = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert len(history) == 2
    assert all(math.isfinite(v) for line in history for v in line.values())

    def stop(folder: Path, state: dict[str, Any]) -> None:
        kept(folder, state)
        raise KeyboardInterrupt

    monkeypatch.setattr("idfer.training.trainer.save_state", stop)
    with pytest.raises(KeyboardInterrupt):
        fit("stopped")
    monkeypatch.setattr("idfer.training.trainer.save_state", kept)
    again = fit("stopped")
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (again / "log.jsonl").read_text() == (whole / "log.jsonl").read_text()


@pytest.mark.parametrize("name", RIVALS)
def test_everything_that_learns_is_in_the_checkpoint(name: str) -> None:
    """Two methods, one brought to the other's state, take the same next step."""
    batch = toy(16)
    first, second = build(name, batch), build(name, batch)
    for _ in range(3):
        first.step(batch)
    # copies: optimisers take over the tensors of a state they load
    for key, module in first.modules().items():
        second.modules()[key].load_state_dict(copy.deepcopy(module.state_dict()))
    for key, optimizer in first.optimizers().items():
        second.optimizers()[key].load_state_dict(copy.deepcopy(optimizer.state_dict()))
    after = []
    for method in (first, second):
        torch.manual_seed(5)  # of dropout and of what is drawn
        after.append(method.step(batch))
    assert after[0] == after[1]


@pytest.mark.parametrize("name", RIVALS)
def test_settings_that_a_benchmark_draws_train(name: str) -> None:
    """One that diverges would stop the benchmark."""
    for changes in draw(METHODS[name].search, 8, seed=1, name=name)[1:]:
        method = build(name, toy(64), steps=12, lr=0.008, **changes.get("terms", {}))
        for step in range(12):
            logged = method.step(toy(64, seed=step, shortcut=0.5))
        assert abs(logged["loss"]) < 20, changes
        assert finite(method), changes


PRESETS = ["erm_weights", "adversarial_weights", "erm_people", "conditional"]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_of_other_methods_train(
    name: str, squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    folder = idfer.fit(
        squares, squares_table, method=name, out=tmp_path / "run", epochs=2, progress=False, **OPTIONS
    )
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert all(math.isfinite(v) for line in lines for v in line.values())
    record = yaml.safe_load((folder / "config.yaml").read_text())
    assert bool(record["sample_weights"]) == name.endswith("_weights")
    if name == "conditional":
        assert "rate" not in lines[-1]  # no budget, but information
        assert lines[-1]["information"] != 0
    if name.endswith("_weights"):
        with pytest.raises(UsageError, match="needs retrieved attributes"):
            idfer.fit(squares, None, method=name, out=tmp_path / "none", epochs=1, progress=False, **OPTIONS)


def test_two_step_methods_take_one_step_where_asked_and_the_same_loss() -> None:
    batch = toy(24)
    for name, more in (("caf", {}), ("avce", {}), ("elim", {"ramp": 0.0})):
        for two_steps in (True, False):
            method = build(name, batch, two_steps=two_steps, **more)
            passes: list[int] = []
            method.network.module.backbone.register_forward_hook(lambda *_: passes.append(1))  # noqa: B023
            method.step(batch)
            assert len(passes) == 1 + two_steps, name
            assert method.schedule.last_epoch == 1
