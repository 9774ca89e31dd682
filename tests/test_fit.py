"""Training: it learns, it resumes to the bit after kill -9, it refuses what it cannot use."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

import idfer
from idfer import AttributeTable, IdferError, Manifest, UsageError
from idfer.data import loader, locate
from idfer.data.haar import Haar
from idfer.data.landmarks import TEMPLATE
from idfer.methods.common import Setup
from idfer.methods.erm import ERM
from idfer.training import checkpoint
from idfer.training.checkpoint import load_checkpoint, load_state, save_state
from idfer.training.record import Record
from idfer.training.validation import Validation
from idfer.types import Batch
from photographs import save
from steps import after_each_step

from conftest import BACKBONE

OPTIONS: dict[str, Any] = {"backbone": BACKBONE, "size": 32, "batch_size": 16, "dim": 16, "device": "cpu"}


def fit(squares: Manifest, table: AttributeTable | None, out: Path, **options: Any) -> Path:
    method = "idfer" if table is not None else "erm"
    defaults = {"method": method, "epochs": 2, "progress": False}
    return idfer.fit(squares, table, out=out, **(OPTIONS | defaults | options))


def weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


@contextmanager
def stopped_at_save(number: int) -> Iterator[None]:
    """An interruption after so many saved states of a training."""
    kept, calls = checkpoint.save_state, 0

    def stop(folder: Path, state: dict[str, Any]) -> None:
        nonlocal calls
        kept(folder, state)
        calls += 1
        if calls == number:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("idfer.training.trainer.save_state", stop)
        yield


@pytest.mark.parametrize("method", ["erm", "idfer"])
def test_training_learns_and_a_run_holds_all_that_using_it_needs(
    method: str, squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    table = squares_table if method == "idfer" else None
    run = fit(squares, table, tmp_path / "run", epochs=12, lr=3e-3)
    history = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert len(history) == 12
    assert history[-1]["val_ccc"] > 0.6
    model = load_checkpoint(run)
    assert model.network.attributes == (("tint", "group") if method == "idfer" else ())
    assert model.preprocess.size == 32
    assert model.record.settings.method == method
    assert model.record.settings.backbone == BACKBONE
    assert model.record.data["rows"] == 72
    assert "torch" in model.record.versions
    assert not (run / "state.safetensors").exists()
    if method == "idfer":
        assert history[-1]["nce"] > history[0]["nce"]
        assert model.record.sample_weights["effective_sample_size"] > 0


def test_kill_nine_in_the_middle_then_the_same_command_gives_the_uninterrupted_weights(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    epochs = 12
    command = [
        sys.executable, "-m", "idfer", "fit", str(squares.root / "manifest.parquet"),
        "--attributes", str(squares.root / "attributes.parquet"), "--out", str(tmp_path / "killed"),
        "--epochs", str(epochs), "--progress", "false",
        *(part for k, v in OPTIONS.items() for part in (f"--{k}", str(v))),
    ]  # fmt: skip
    log = tmp_path / "killed" / "log.jsonl"
    with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}) as running:
        deadline = time.monotonic() + 300
        while not (log.exists() and len(log.read_text().splitlines()) >= 2):
            assert running.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    with pytest.raises(IdferError, match="same `idfer fit` command again"):
        load_checkpoint(tmp_path / "killed")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for out in ("killed", "whole"):
        again = [str(tmp_path / out) if part == str(tmp_path / "killed") else part for part in command]
        subprocess.run(again, check=True, env=environment, capture_output=True)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert (tmp_path / "killed" / "log.jsonl").read_text() == (tmp_path / "whole" / "log.jsonl").read_text()


def test_resuming_in_the_middle_of_an_epoch_changes_nothing(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"ema": 0.9, "dropout": 0.3}  # an average has a past of its own, chance a state
    whole = fit(squares, squares_table, tmp_path / "whole", **options)
    with stopped_at_save(3):
        fit(squares, squares_table, tmp_path / "stopped", save_minutes=0, **options)
    state = load_state(tmp_path / "stopped")
    assert state is not None
    assert state["step"] > 0
    assert weights(fit(squares, squares_table, tmp_path / "stopped", **options)) == weights(whole)


def test_the_moving_average_of_the_weights_is_what_is_kept(
    squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights_now(method: ERM, _: Batch) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in method.network.state_dict().items()}

    steps = after_each_step(monkeypatch, weights_now)
    run = fit(squares, None, tmp_path / "run", epochs=4, ema=0.6, lr=3e-3)
    kept = load_file(run / "model.safetensors")
    assert len(steps) == 16
    for name, last in steps[-1].items():
        average = steps[0][name].double()
        for count, state in enumerate(steps[1:], 1):
            decay = min(0.6, (1 + count) / (10 + count))
            average = decay * average + (1 - decay) * state[name].double()
        wanted = average if last.is_floating_point() else last.double()
        torch.testing.assert_close(kept[name].double(), wanted, rtol=1e-4, atol=1e-6)
    assert any(not torch.allclose(kept[name], steps[-1][name], atol=1e-4) for name in kept)


def test_the_learning_rate_follows_the_cosine_down_to_the_least_and_stays_there(
    squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = after_each_step(monkeypatch, lambda method, _: method.adam.param_groups[0]["lr"])
    for name, least in (("falling", 0.0), ("held", 4e-4)):
        fit(squares, None, tmp_path / name, epochs=5, lr=1e-3, min_lr=least)
    falling, held = rates[:20], rates[20:]
    assert max(held) == pytest.approx(1e-3)
    assert held == pytest.approx([max(4e-4, rate) for rate in falling])
    assert falling[-1] < 1e-5


def test_the_network_that_is_scored_after_an_epoch_is_the_one_that_is_kept(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    run = fit(squares, squares_table, tmp_path / "run", epochs=2, ema=0.6)
    logged = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    model = load_checkpoint(run)
    scores = Validation(squares.select("val"), model.preprocess, None, {}).score(model.network, model.device)
    assert 0 < abs(scores["val_ccc"]) < 1
    assert scores == pytest.approx({name: logged[name] for name in scores}, abs=1e-5)


def test_a_method_is_told_which_rows_show_one_image(
    squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = squares.select("train").rows(np.array([4, 0, 7, 4, 2]))
    copied = train.root / train.frame["path"][2]
    (train.root / "copy.png").write_bytes(copied.read_bytes())
    train.frame.loc[1, "path"], train.frame.loc[4, "path"] = "gone.png", "copy.png"
    told: list[torch.Tensor] = []
    begin = ERM.__init__

    def noted(method: ERM, setup: Setup) -> None:
        told.append(setup.facts.image)
        begin(method, setup)

    monkeypatch.setattr(ERM, "__init__", noted)
    fit(train, None, tmp_path / "run", epochs=1, batch_size=2)
    (image,) = told
    assert len(image) == 4, "one cannot be read"
    assert image[0] == image[2] and image[1] == image[3] and image[0] != image[1]


def test_streaming_from_disk_trains_the_same_as_memory(
    squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = fit(squares, None, tmp_path / "memory")
    monkeypatch.setattr(loader, "MEMORY_LIMIT", 0)
    streamed = fit(squares, None, tmp_path / "streamed", num_workers=0)
    assert weights(in_memory) == weights(streamed)


def test_a_face_that_cannot_be_read_while_streaming_has_a_stand_in(
    squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One broken file among hundreds of thousands ended a training, and again when it was to go on."""
    monkeypatch.setattr(loader, "MEMORY_LIMIT", 0)
    broken = [3, 40]
    boxes = [[0, 0, 32, 32] if row != 40 else [99, 0, 32, 32] for row in range(len(squares))]
    faces = Manifest.from_frame(squares.frame.assign(box=boxes, detector=""), squares.root)
    faces.files[3].write_bytes(faces.files[3].read_bytes()[:100])
    shown = after_each_step(monkeypatch, lambda _, batch: batch)
    whole = fit(faces, None, tmp_path / "whole", num_workers=1)
    rows = torch.cat([batch.row for batch in shown])
    assert len(rows) == 2 * 64
    assert not set(broken) & set(rows.tolist())
    assert torch.equal(torch.cat([batch.target for batch in shown]), torch.from_numpy(faces.targets)[rows])
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if "stood in" in line]  # once, though there are two epochs
    assert re.fullmatch(
        r"idfer: epoch 1: 2 of 64 training faces could not be read, .*; the first: row \d+: .*", line
    )
    log = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [epoch["unread"] for epoch in log] == [2, 2]

    with stopped_at_save(3):
        fit(faces, None, tmp_path / "stopped", num_workers=0, save_minutes=0)
    stopped = fit(faces, None, tmp_path / "stopped", num_workers=0)
    assert weights(stopped) == weights(whole)
    assert (stopped / "log.jsonl").read_text() == (whole / "log.jsonl").read_text()


@pytest.mark.parametrize(
    ("readable", "message"),
    [
        (0, r"no face of a batch of 16 can be read; the first: row \d+: .* the same command goes on\.$"),
        (
            66,
            r"more than 5% of the 64 training faces of an epoch cannot be read; the first: row \d+: .*dam",
        ),
    ],
)
def test_too_many_faces_that_cannot_be_read_end_a_training(
    readable: int, message: str, squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "MEMORY_LIMIT", 0)
    for file in squares.files[readable:72]:
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(IdferError, match=message) as refused:
        fit(squares, None, tmp_path / "run", num_workers=1)
    assert "Traceback" not in str(refused.value)


def test_a_run_goes_on_with_the_detector_that_it_was_begun_with(
    astronaut: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in range(4):
        save(tmp_path / f"{name}.png", astronaut)
    frame = pd.DataFrame({"path": [f"{n}.png" for n in range(4)], "subject": list("abcd")})
    faces = Manifest.from_frame(frame.assign(valence=0.1, arousal=0.2), tmp_path)
    options: dict[str, Any] = {"batch_size": 2, "epochs": 1}

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("idfer.training.run.save_model", stop)
        fit(faces, None, tmp_path / "run", **options)

    class Another(Haar):
        name = "yunet"

    real = locate.load_detector
    monkeypatch.setattr(locate, "load_detector", lambda name: Another() if name == "auto" else real(name))
    with pytest.raises(
        UsageError, match=r"faces were placed by haar, now by yunet; use --detector haar -o .*run"
    ):
        fit(faces, None, tmp_path / "run", **options)
    run = fit(faces, None, tmp_path / "run", detector="haar", **options)
    assert load_checkpoint(run).preprocess.detector == "haar"


def test_landmarks_are_part_of_what_a_run_of_aligned_faces_is(squares: Manifest, tmp_path: Path) -> None:
    marks = (TEMPLATE * 32).tolist()
    given = replace(squares, frame=squares.frame.assign(landmarks=[marks] * len(squares)))
    moved = replace(squares, frame=squares.frame.assign(landmarks=[(TEMPLATE * 30).tolist()] * len(squares)))
    aligned: dict[str, Any] = {"alignment": "landmarks", "epochs": 1}
    run = fit(given, None, tmp_path / "run", **aligned)
    fit(given, None, tmp_path / "run", **aligned)
    with pytest.raises(UsageError, match="the landmarks of its training faces are others"):
        fit(moved, None, tmp_path / "run", **aligned)
    # what an earlier version wrote says nothing of them, and is the run that it was
    record = Record.read(run)
    older = replace(record, data={k: v for k, v in record.data.items() if k != "landmarks"})
    older.write(run)
    assert record.identity != older.identity
    fit(moved, None, tmp_path / "run", **aligned)
    plain = fit(given, None, tmp_path / "plain", epochs=1)
    assert "landmarks" not in Record.read(plain).data
    fit(moved, None, plain, epochs=1)


def test_a_finished_run_is_not_trained_again_and_other_settings_are_refused(
    squares: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit(squares, None, tmp_path / "run")
    changed = (run / "model.safetensors").stat().st_mtime_ns
    fit(squares, None, tmp_path / "run")
    assert (run / "model.safetensors").stat().st_mtime_ns == changed
    assert "already trained" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"lr: 0\.001, now 0\.002"):
        fit(squares, None, tmp_path / "run", lr=0.002)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("keep me")
    with pytest.raises(UsageError, match="not empty and not a run"):
        fit(squares, None, tmp_path / "mine")


def test_a_run_killed_before_its_first_file_was_whole_is_run_again(squares: Manifest, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config-x1y2.yaml").write_text("format_ver")  # what `atomic` leaves when killed
    assert (fit(squares, None, tmp_path / "run") / "model.safetensors").is_file()


def test_an_unreadable_training_image_is_left_out_and_named(
    squares: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    squares.files[3].write_bytes(b"")
    fit(squares, None, tmp_path / "run")
    said = capsys.readouterr().err
    assert "left out 1 of 72" in said
    assert "003.png" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "ermm"}, "unknown method 'ermm'. Did you mean 'erm'"),
        ({"method": "idfer"}, "idfer retrieve"),
        ({"epochs": 0}, "--epochs is 0"),
        ({"batch_size": 1}, "--batch_size is 1"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"backbone": "resnt18"}, "Did you mean"),
        ({"form": "residual_pre"}, "unknown residual form 'residual_pre'. Did you mean 'residual_prev'"),
        ({"retrieval": "trth"}, "unknown retrieval 'trth'. Did you mean 'truth'"),
        ({"form": "simple"}, "--form simple: the method 'erm' has no residual modules"),
        ({"code": -1}, "--code is -1"),
    ],
)
def test_wrong_settings_are_usage_errors(
    options: dict[str, Any], message: str, squares: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        fit(squares, None, tmp_path / "run", **options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"use": ["tint"]}, "--use changes nothing: the method 'erm' reads no attributes"),
        ({"retrieval": "hard"}, "--retrieval changes nothing: the method 'erm' reads no attributes"),
        ({"attachment": "evidence"}, "--attachment changes nothing: the method 'erm' reads no attributes"),
        (
            {"method": "groupdro", "attachment": "evidence"},
            "--attachment changes nothing: the method 'groupdro' has no residual modules",
        ),
        ({"retrieval": "soft", "attachment": "features"}, ""),  # as a run's own configuration has it
        ({"method": "groupdro", "use": ["tint"], "retrieval": "hard"}, ""),
    ],
)
def test_options_that_a_method_does_not_read_are_told(
    options: dict[str, Any],
    told: str,
    squares: Manifest,
    squares_table: AttributeTable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fit(squares, squares_table, tmp_path / "run", **{"method": "erm", "epochs": 1, **options})
    shown = capsys.readouterr().err
    assert told in shown and ("changes nothing" in shown) == bool(told)


def test_unknown_attribute_and_missing_train_split_are_named(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"unknown attribute 'tnt'\. Did you mean 'tint'"):
        fit(squares, squares_table, tmp_path / "run", use=["tnt"])
    frame = squares.frame.assign(split="test")
    with pytest.raises(IdferError, match="none named 'train'"):
        fit(Manifest.from_frame(frame, squares.root), None, tmp_path / "run")


@pytest.mark.parametrize("form", ["simple", "residual_post", "residual_prev"])
def test_every_form_trains_with_a_budget_and_is_scored_on_people_held_out(
    form: str, squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    run = fit(squares, squares_table, tmp_path / "run", form=form, code=4, retrieval="hard")
    line = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    assert np.isfinite(line["val_ccc"])
    model = load_checkpoint(run)
    assert model.network.residual.form == form
    assert model.network.gaussian is not None
    assert model.text is not None and model.text.shape == squares_table.text.shape


def test_an_attribute_without_variation_is_named_and_an_absent_level_is_told(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    posteriors = squares_table.posteriors.copy()
    posteriors[:, 2:] = [0.7, 0.3, 0.0]
    constant = replace(squares_table, posteriors=posteriors)
    with pytest.raises(IdferError, match=r"attribute 'group' is the same for every training face.*--use"):
        fit(squares, constant, tmp_path / "run")
    fit(squares, constant, tmp_path / "tint", use="tint", epochs=1)
    one = {"tint": ["red", "plain"], "rest": ["a"]}
    single = replace(squares_table, levels=one, posteriors=squares_table.posteriors[:, :3] ** [1, 1, 0])
    with pytest.raises(IdferError, match="attribute 'rest' is the same"):
        fit(squares, replace(single, text=squares_table.text[:3]), tmp_path / "run")
    capsys.readouterr()
    posteriors[:, 2:] = squares_table.posteriors[:, 2:] * [1, 1, 0]
    posteriors[:, 2:] /= posteriors[:, 2:].sum(1, keepdims=True)
    run = fit(squares, replace(squares_table, posteriors=posteriors), tmp_path / "absent", epochs=1)
    assert "no training face looks c (group)" in capsys.readouterr().err
    assert np.isfinite(json.loads((run / "log.jsonl").read_text())["loss"])


@pytest.mark.parametrize("method", ["erm", "idfer"])
def test_constant_labels_train_to_that_constant(
    method: str, squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    """Correlation is 0 there by definition; nothing becomes NaN."""
    constant = Manifest.from_frame(squares.frame.assign(valence=0.25), squares.root)
    table = squares_table if method == "idfer" else None
    run = fit(constant, table, tmp_path / "run", epochs=2)
    for line in (run / "log.jsonl").read_text().splitlines():
        assert all(np.isfinite(v) for v in json.loads(line).values())
        assert json.loads(line)["val_ccc_valence"] == 0


def test_a_loss_that_is_not_finite_stops_with_a_reason(squares: Manifest, tmp_path: Path) -> None:
    with pytest.raises(IdferError, match="the loss became"):
        fit(squares, None, tmp_path / "run", lr=1e30, epochs=5)


def test_checkpoints_of_another_version_or_damaged_ones_are_named(squares: Manifest, tmp_path: Path) -> None:
    run = fit(squares, None, tmp_path / "run", epochs=1)
    with pytest.raises(UsageError, match="no such run folder"):
        load_checkpoint(tmp_path / "nowhere")
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"format_version": 99}))
    with pytest.raises(IdferError, match="format 99"):
        load_checkpoint(run)
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"settings": config["settings"] | {"dim": 17}}))
    with pytest.raises(IdferError, match="does not fit its"):
        load_checkpoint(run)
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "model.safetensors").write_bytes(weights(run)[:500])
    with pytest.raises(IdferError, match="damaged"):
        load_checkpoint(run)


def test_a_full_disk_names_the_file_and_keeps_the_last_state(tmp_path: Path) -> None:
    """A file system of 1 MB, filled for real."""
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        save_state(mount, {"epoch": 1, "weights": torch.ones(1000)})
        with pytest.raises(IdferError, match=r"state\.safetensors.*(No space|space)"):
            save_state(mount, {"epoch": 2, "weights": torch.ones(10_000_000)})
        kept = load_state(mount)
        assert kept is not None
        assert kept["epoch"] == 1
        assert [p.name for p in mount.iterdir()] == ["state.safetensors"]
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)  # a loaded file may still be mapped


def test_state_survives_the_disk_with_its_types(tmp_path: Path) -> None:
    tree = {"a": {0: {"step": torch.tensor(3.0), "name": "x"}}, "list": [1, 2.5, None, True], "empty": {}}
    save_state(tmp_path, tree)
    found = load_state(tmp_path)
    assert found is not None
    assert found["list"] == tree["list"]
    assert found["empty"] == {}
    assert found["a"][0]["name"] == "x"
    np.testing.assert_equal(found["a"][0]["step"].numpy(), 3.0)


def test_too_few_faces_say_what_is_missing(squares: Manifest, tmp_path: Path) -> None:
    with pytest.raises(IdferError, match=r"fewer than two training faces can be used; give more faces\."):
        fit(squares.rows(np.array([0])), None, tmp_path / "one")
    gone = Manifest.from_frame(
        squares.frame.iloc[:3].assign(path=["000.png", "x.png", "y.png"]), squares.root
    )
    with pytest.raises(IdferError, match=r"fewer than two training faces can be used; mend the paths"):
        fit(gone, None, tmp_path / "gone")
