"""A run is checked whole when it is opened: whatever is damaged is one line that names the file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import idfer
from idfer import AttributeTable, IdferError, Manifest
from idfer.data.preprocess import Preprocess
from idfer.models.network import Network
from idfer.training.checkpoint import Seen, load_checkpoint, load_seen, load_state, save_seen, save_state
from idfer.training.record import FORMAT, Record

from runs import record_of, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    form = {"form": "residual_post", "embedding": 6, "code": 4}
    network = Network("conv4", 32, ("age", "skin"), 8, levels=(2, 3), **form)
    record = record_of(
        "conv4", ["age", "skin"], 8, Preprocess(32), **form, attachment="evidence",
        levels={"age": ["young", "old"], "skin": ["light", "medium", "dark"]},
    )  # fmt: skip
    folder = write_run(tmp_path_factory.mktemp("runs") / "good", network, record, text=np.ones((5, 6)))
    save_seen(folder, Seen(np.array([3, 1]), np.array([7])))
    return folder


def test_a_run_comes_back_as_it_was_written(run: Path) -> None:
    opened = load_checkpoint(run)
    assert Record.read(run) == opened.record
    assert opened.attributes == ("age", "skin")
    assert opened.seen is not None and opened.seen.images.tolist() == [1, 3]


VALUES: list[Any] = [None, 5, -1, 10**9, 1e300, "x", "", [], [1], {}, {"a": 1}, True, [[["a"]]], ".nan"]


def test_every_wrong_value_in_a_configuration_is_one_line(run: Path, tmp_path: Path) -> None:
    """Each key at every depth, with values of other kinds: 14 per key, some of which are right."""
    good = yaml.safe_load((run / "config.yaml").read_text())
    shutil.copytree(run, tmp_path / "run")
    refused = opened = 0
    for path in _paths(good):
        for value in VALUES:
            damaged = yaml.safe_load((run / "config.yaml").read_text())
            place = damaged
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
            (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(damaged))
            try:
                load_checkpoint(tmp_path / "run")
                opened += 1
            except IdferError as error:
                assert "\n" not in str(error)
                assert str(tmp_path / "run") in str(error), f"{path} = {value!r}: {error}"
                refused += 1
    assert refused > 350
    assert opened > 20  # an lr of 5 is odd, and one


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [p for key, part in value.items() for p in [(*path, key), *_paths(part, (*path, key))]]
    return []


def test_missing_and_unknown_keys_are_named(run: Path, tmp_path: Path) -> None:
    good = yaml.safe_load((run / "config.yaml").read_text())
    shutil.copytree(run, tmp_path / "run")
    for key in good:
        (tmp_path / "run" / "config.yaml").write_text(
            yaml.safe_dump({k: v for k, v in good.items() if k != key})
        )
        if key != "idfer_version":
            with pytest.raises(IdferError, match=r"config\.yaml"):
                load_checkpoint(tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(good | {"dim": 3}))
    with pytest.raises(IdferError, match=r"config\.yaml: 'dim' is not known"):
        load_checkpoint(tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(good | {"format_version": 1}))
    with pytest.raises(IdferError, match=rf"format 1 .*reads format {FORMAT}; train it again"):
        load_checkpoint(tmp_path / "run")


@pytest.mark.parametrize("name", ["model.safetensors", "seen.safetensors", "config.yaml"])
def test_damaged_bytes_are_one_line(name: str, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    whole = (run / name).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(60):
        data = bytearray(whole)
        if trial % 3 == 0:
            data = data[: int(rng.integers(0, len(data)))]
        else:
            head = len(data) if name == "config.yaml" else min(len(data), 600)  # where the structure is
            for place in rng.integers(0, head, 4):
                data[place] = int(rng.integers(0, 256))
        (tmp_path / "run" / name).write_bytes(bytes(data))
        try:
            load_checkpoint(tmp_path / "run")
        except IdferError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 30


def test_tensors_that_do_not_fit_are_named(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    tensors = load_file(run / "model.safetensors")
    for changed, message in (
        ({"retrieved.text": torch.ones(4, 6)}, r"text embeddings \(5, 6\), and the file holds \(4, 6\)"),
        ({"head.0.weight": torch.ones(3, 3)}, "does not fit its config.yaml"),
        ({"extra": torch.ones(1)}, "does not fit its config.yaml"),
    ):
        save_file(tensors | changed, tmp_path / "run" / "model.safetensors")
        with pytest.raises(IdferError, match=message):
            load_checkpoint(tmp_path / "run")
    save_file({"images": torch.ones(3)}, tmp_path / "run" / "seen.safetensors")
    with pytest.raises(IdferError, match=r"seen\.safetensors: is damaged"):
        load_seen(tmp_path / "run")


@pytest.mark.parametrize(
    "change",
    [
        {"modules": {}}, {"epoch": "two"}, {"epoch": 99}, {"random": torch.zeros(3)}, {"optimizers": 5},
        {"history": 3}, {"sums": [1]},
    ],
)  # fmt: skip
def test_a_damaged_training_state_is_named_and_nothing_else_happens(
    change: dict[str, Any],
    squares: Manifest,
    squares_table: AttributeTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options: dict[str, Any] = {
        "backbone": "conv4", "size": 32, "batch_size": 32, "dim": 8, "epochs": 2, "device": "cpu",
        "progress": False, "method": "erm", "out": tmp_path / "run",
    }  # fmt: skip

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("idfer.training.run.save_model", stop)
    with pytest.raises(KeyboardInterrupt):
        idfer.fit(squares, **options)
    state = load_state(tmp_path / "run")
    assert state is not None
    save_state(tmp_path / "run", state | change)
    with pytest.raises(IdferError, match=r"state\.safetensors: is damaged or of another run .*delete it"):
        idfer.fit(squares, **options)


def test_a_truncated_model_is_trained_again(
    squares: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {
        "backbone": "conv4", "size": 32, "batch_size": 32, "dim": 8, "epochs": 1, "device": "cpu",
        "progress": False, "method": "erm", "out": tmp_path / "run",
    }  # fmt: skip
    idfer.fit(squares, **options)
    whole = (tmp_path / "run" / "model.safetensors").read_bytes()
    (tmp_path / "run" / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    idfer.fit(squares, **options)
    assert "model.safetensors: cannot be read" in (said := capsys.readouterr().err)
    assert "It is trained again." in said
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == whole


SMALL: dict[str, Any] = {
    "backbone": "conv4", "size": 32, "batch_size": 32, "dim": 8, "epochs": 1, "device": "cpu",
    "progress": False, "method": "erm",
}  # fmt: skip


def test_a_training_that_diverged_holds_no_model(squares: Manifest, tmp_path: Path) -> None:
    with pytest.raises(IdferError, match=r"diverged|the loss became"):
        idfer.fit(squares, out=tmp_path / "run", **SMALL | {"epochs": 2}, lr=1e30)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_weights_that_are_no_numbers_are_trained_again(
    squares: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = idfer.fit(squares, out=tmp_path / "run", **SMALL)
    good = (run / "model.safetensors").read_bytes()
    tensors = load_file(run / "model.safetensors")
    save_file({name: t * float("nan") if t.is_floating_point() else t for name, t in tensors.items()},
              run / "model.safetensors")  # fmt: skip
    idfer.fit(squares, out=run, **SMALL)
    assert "is not finite. It is trained again." in capsys.readouterr().err
    assert (run / "model.safetensors").read_bytes() == good


def test_every_damage_to_an_optimizers_state_is_named(
    squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("trained to the end")

    monkeypatch.setattr("idfer.training.run.save_model", stop)
    options = SMALL | {"out": tmp_path / "run", "epochs": 2}
    with pytest.raises(ZeroDivisionError):
        idfer.fit(squares, **options)
    whole = load_state(tmp_path / "run")
    assert whole is not None
    for path in (("adam", "state", 0, "exp_avg"), ("adam", "state", 0, "step"), ("adam", "state", 0),
                 ("adam", "param_groups", 0, "weight_decay"), ("adam", "param_groups", 0, "betas"),
                 ("adam", "param_groups", 0, "params"), ("adam", "state"), ("schedule", "last_epoch"),
                 ("schedule", "base_lrs")):  # fmt: skip
        for value in ("x", None, 5, [], {}, torch.zeros(2, 2)):
            state = _copied(whole)
            place = state["optimizers"]
            for key in path[:-1]:
                place = place[key]
            if type(value) is int and isinstance(place[path[-1]], (int, float)):
                continue  # a number for a number is no damage that can be seen
            if type(place[path[-1]]) is type(value) is list:
                continue  # as short as it was
            if path == ("adam", "state") and value == {}:
                continue  # an optimiser that has not begun
            place[path[-1]] = value
            save_state(tmp_path / "run", state)
            with pytest.raises(IdferError, match="is damaged or of another run"):
                idfer.fit(squares, **options)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def test_names_that_are_no_text_are_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    for change in (
        {"settings": {"terms": {5: 1}}},
        {"retrieved": {"clip": 5}},
        {"retrieved": {"scale": "x"}},
    ):
        content = yaml.safe_load((run / "config.yaml").read_text())
        for block, values in change.items():
            content[block] |= values
        (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(content))
        with pytest.raises(IdferError, match=r"config\.yaml"):
            load_checkpoint(tmp_path / "run")
