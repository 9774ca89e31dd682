"""Settings: decided once, checked whole, and the same for `fit`, trials and grids."""

from __future__ import annotations

from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

import idfer
from idfer import IdferError, UsageError, cli
from idfer.catalogue import METHODS
from idfer.methods.erm import ERM
from idfer.training.settings import Settings


@pytest.mark.parametrize("method", METHODS)
def test_settings_come_back_from_plain_values_with_every_default_written_out(method: str) -> None:
    settings = Settings.of(method=method)
    plain = settings.to_dict()
    assert set(plain) == {field.name for field in fields(Settings)}
    assert None not in {name: value for name, value in plain.items() if name not in ("use", "size")}.values()
    assert Settings.from_dict(plain) == settings
    assert Settings.of(**plain).digest == settings.digest


def test_fit_offers_every_setting_and_its_defaults_are_those_of_settings() -> None:
    parameters = signature(idfer.fit).parameters
    default = Settings.of(method=parameters["method"].default)
    for field in fields(Settings):
        given = parameters[field.name].default
        assert given is None or given == getattr(default, field.name), field.name


def test_a_class_and_its_path_are_one_method() -> None:
    assert Settings.of(method=ERM) == Settings.of(method="idfer.methods.erm:ERM")
    with pytest.raises(UsageError, match="was made inside a function"):

        class Local(ERM):
            pass

        Settings.of(method=Local)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"code": -3}, "--code is -3; it must be from 0"),
        ({"batch_size": 0}, "--batch_size is 0; it must be from 2"),
        ({"method": "erm", "form": "simple"}, "--form simple: the method 'erm' has no residual modules"),
        ({"lr": -1.0}, "--lr is -1.0; it must be from 1e-12"),
        ({"lr": float("nan")}, "--lr is nan; it must be a number"),
        ({"lr": 0.001, "min_lr": 0.01}, "--min_lr is 0.01; it must be at most --lr, 0.001"),
        ({"min_lr": -1}, "--min_lr is -1; it must be from 0"),
        ({"weight_decay": -5}, "--weight_decay is -5; it must be from 0"),
        ({"ema": 1.0}, "--ema is 1.0; it must be from 0 to 0.99999"),
        ({"dropout": 1.0}, "--dropout is 1.0; it must be from 0 to 0.95"),
        ({"seed": -1}, "--seed is -1; it must be from 0 to 4294967295"),
        ({"seed": 99999999999999999999}, "--seed is 99999999999999999999; it must be from 0"),
        ({"epochs": 1.5}, "--epochs is 1.5; it must be a whole number"),
        ({"epochs": True}, "--epochs is True; it must be a whole number"),
        ({"dim": 1_000_000_000}, "--dim is 1000000000; it must be from 1 to 16384"),
        ({"size": 0}, "--size is 0"),
        ({"margin": 99}, "--margin is 99; it must be from 0 to 4"),
        ({"holdout": 1.0}, "--holdout is 1.0; it must be from 0 to 0.9"),
        ({"precision": "8-bit"}, "unknown precision '8-bit'"),
        ({"detector": "yunett"}, "unknown detector 'yunett'. Did you mean 'yunet'?"),
        ({"use": []}, "--use names no attribute"),
        ({"use": "age,age"}, "names an attribute twice"),
        ({"use": [3]}, "--use is [3]; give names"),
        ({"terms": [1]}, "terms is [1]"),
        ({"terms": {"alpha": float("inf")}}, "--terms.alpha is inf; it must be finite"),
        ({"terms": {"estimator": "clubb"}}, "unknown estimator 'clubb'. Did you mean 'club'?"),
        ({"epohcs": 3}, "unknown setting 'epohcs'. Did you mean 'epochs'?"),
        ({"method": "idfre"}, "unknown method 'idfre'. Did you mean 'idfer'?"),
        ({"method": "nobody:Mine"}, "there is no module 'nobody'"),
        ({"form": "nobody:Mine"}, "there is no module 'nobody'"),
        ({"head": "tail"}, "unknown head 'tail'"),
    ],
)
def test_what_is_out_of_range_or_does_not_exist_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        Settings.of(**given)
    assert message in str(refused.value)
    plain = {**Settings.of().to_dict(), **given}
    if "nobody:Mine" in given.values():  # to read somebody's settings imports nothing
        assert "nobody:Mine" in Settings.from_dict(plain).to_dict().values()
        return
    with pytest.raises(IdferError):
        Settings.from_dict(plain)


@pytest.mark.parametrize(
    "options",
    [["--lr", "-1"], ["--seed", "-1"], ["--seed", "99999999999999999999"], ["--weight_decay", "-5"],
     ["--num_workers", "-1"], ["--save_minutes", "-1"]],
)  # fmt: skip
def test_the_command_line_refuses_them_in_one_line(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fit", str(tmp_path), *options]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert options[0].lstrip("-") in said[0]
