"""The command line as a user meets it: fast help, one-line errors, exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from idfer import cli
from idfer.names import split_names


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "idfer", *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("module", ["idfer", "idfer.cli", *{verb.module for verb in cli.VERBS.values()}])
def test_nothing_heavy_is_imported_before_it_is_needed(module: str) -> None:
    heavy = ["torch", "timm", "open_clip", "pandas", "cv2", "sklearn", "matplotlib"]
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_help_lists_every_command_and_says_what_the_shipped_model_is_not() -> None:
    found = run("--help")
    assert found.returncode == 0
    for name in cli.VERBS:
        assert f"  {name} " in found.stdout
    assert "not fit for real photographs" in found.stdout


@pytest.mark.parametrize("name", list(cli.VERBS))
def test_every_command_explains_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([*name.split(), "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "--config" in shown
    notes = cli._notes(cli.function_of(name))
    for option in [line.split()[0] for line in shown.splitlines() if line.startswith("  --")]:
        parameter = option.strip("-,").removesuffix("+")
        if parameter not in {"config", "print_config"}:
            assert notes.get(parameter), f"{name} {option} has no help"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ft"], "unknown command 'ft'. Did you mean 'fit'?"),
        (["fit"], "manifest"),
        (["fit", "m.parquet", "--epocs", "3"], "--epocs"),
        (["fit", "m.parquet", "--epochs", "many"], "many"),
        (["predict"], "inputs"),
        (
            ["benchmark"],
            "unknown command 'benchmark'. Did you mean 'benchmark mi'? Known: benchmark shift, benchmark mi.",
        ),
        (["benchmark", "shitf"], "unknown command 'benchmark shitf'. Did you mean 'benchmark shift'?"),
        (["benchmark", "shift", "--methods", "erm,idfre"], "unknown method 'idfre'. Did you mean 'idfer'?"),
        (["benchmark", "shift", "--seeds", "1,x"], "--seeds: 'x' is not a seed"),
        (["benchmark", "shift", "--seeds", "101"], "seed 101 is both tuned on and reported"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("idfer: ")
    assert len(said.splitlines()) == 1


def test_unusable_data_is_one_line_and_exit_code_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fit", "nowhere.parquet", "--method", "erm"]) == 1
    assert capsys.readouterr().err.startswith("idfer: nowhere.parquet: no such manifest.")


def test_options_may_be_typed_with_hyphens(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["synth", "x", "--per-identity", "none"]) == 2
    assert "per_identity" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(["fit", "m", "--use", "age,skin"], "use"), (["evaluate", "r", "m", "--splits", "age,skin"], "splits")],
)
def test_lists_are_typed_with_commas(arguments: list[str], name: str) -> None:
    verb = cli.VERBS[arguments[0]]
    function = getattr(__import__(verb.module, fromlist=["x"]), arguments[0])
    assert split_names(cli._parse(arguments[0], function, arguments[1:])[name]) == ["age", "skin"]


def test_version() -> None:
    import idfer

    assert run("--version").stdout == f"idfer {idfer.__version__}\n"
