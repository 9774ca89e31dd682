"""The command line as a user meets it: fast help, one-line errors, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from idfer import Manifest, cli
from idfer.names import split_names
from idfer.options import notes_of, parse

from conftest import BACKBONE


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "idfer", *arguments], capture_output=True, text=True)


def parsed(command: str, *arguments: str) -> dict[str, Any]:
    verb = cli.VERBS[command]
    return parse(command, cli.function_of(command), verb.positional, verb.paths, arguments)


@pytest.mark.parametrize("module", ["idfer", "idfer.cli", *{verb.module for verb in cli.VERBS.values()}])
def test_nothing_heavy_is_imported_before_it_is_needed(module: str) -> None:
    heavy = ["torch", "timm", "open_clip", "pandas", "cv2", "sklearn", "matplotlib"]
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


@pytest.mark.parametrize(("given", "spins"), [({}, "0"), ({"GOMP_SPINCOUNT": "77"}, "77")])
def test_threads_wait_asleep_unless_a_user_says_otherwise(
    tmp_path: Path, given: dict[str, str], spins: str
) -> None:
    """Spinning ones take a busy neighbour's core; libgomp itself tells what it was started with."""
    unset = {k: v for k, v in os.environ.items() if k not in {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}}
    ended = subprocess.run(
        [sys.executable, "-m", "idfer", "predict", str(tmp_path / "none.png"), "--device", "cpu"],
        capture_output=True, text=True, env={**unset, "OMP_DISPLAY_ENV": "verbose", **given},
    )  # fmt: skip
    if "GOMP_SPINCOUNT" not in ended.stderr:
        pytest.skip("this torch has no libgomp")
    assert f"GOMP_SPINCOUNT = '{spins}'" in ended.stderr


def test_help_lists_every_command_and_says_what_shipped_models_have_not_seen() -> None:
    ended = run("--help")
    assert ended.returncode == 0
    for name in cli.VERBS:
        assert f"  {name} " in ended.stdout
    assert "No photograph taught the shipped models" in ended.stdout
    assert "default: synthetic-base, of rendered faces" in ended.stdout and "toy" not in ended.stdout


@pytest.mark.parametrize("name", list(cli.VERBS))
def test_every_command_explains_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([*name.split(), "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "--config" in shown
    notes = notes_of(cli.function_of(name))
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
            "'benchmark' is a family of commands: benchmark shift, benchmark compare, benchmark decode, "
            "benchmark mi.",
        ),
        (["benchmark", "shitf"], "unknown command 'benchmark shitf'. Did you mean 'benchmark shift'?"),
        (["benchmark", "shift", "--methods", "erm,idfre"], "unknown method 'idfre'. Did you mean 'idfer'?"),
        (["benchmark", "shift", "--seeds", "1,x"], "--seeds: 'x' is not a seed"),
        (
            ["benchmark", "shift", "--seeds", "101", "--tune_seeds", "101,102,103"],
            "seed 101 is both tuned on and reported",
        ),
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


def test_a_family_of_commands_has_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["benchmark", "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"  benchmark shift    {cli.VERBS['benchmark shift'].summary}" in shown
    assert f"  benchmark mi       {cli.VERBS['benchmark mi'].summary}" in shown
    assert "idfer demo" not in shown


def test_unusable_data_is_one_line_and_exit_code_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fit", "nowhere.parquet", "--method", "erm"]) == 1
    assert capsys.readouterr().err.startswith("idfer: nowhere.parquet: no such manifest.")


def test_options_may_be_typed_with_hyphens(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["synth", "x", "--per-identity", "none"]) == 2
    assert "per_identity" in capsys.readouterr().err


def test_what_follows_two_dashes_is_a_name_as_it_stands() -> None:
    arguments = ["--detector", "none", "--", "--no-such-photo.jpg", "--per-identity"]
    values = parsed("predict", *arguments)
    assert values["inputs"] == ["--no-such-photo.jpg", "--per-identity"]
    assert values["detector"] == "none"


def test_only_options_are_respelled(capsys: pytest.CaptureFixture[str]) -> None:
    values = parsed("synth", "a-b", "--per-identity=3", "--split=-c-d")
    assert (values["out"], values["per_identity"], values["split"]) == ("a-b", 3, "-c-d")
    assert cli.main(["predict", "--no-such-photo.jpg", "x.jpg"]) == 2
    assert "--no-such-photo.jpg" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(["fit", "m", "--use", "age,skin"], "use"), (["evaluate", "r", "m", "--splits", "age,skin"], "splits")],
)
def test_lists_are_typed_with_commas(arguments: list[str], name: str) -> None:
    assert split_names(parsed(*arguments)[name]) == ["age", "skin"]


@pytest.mark.parametrize("text", ["null", "~", "#1.mp4", "none", "1", "age,skin"])
def test_text_that_is_typed_stays_text(text: str) -> None:
    names = ("annotate", "plot", "swap", "detach", "detector", "clip")
    arguments = [part for name in names for part in (f"--{name}", text)]
    values = parsed("predict", "a.jpg", *arguments, "--smooth=0.5", f"--model={text}")
    assert {name: values[name] for name in (*names, "model")} == dict.fromkeys((*names, "model"), text)
    assert parsed("export", "run", f"--detach={text}", "-o", "m.onnx")["detach"] == text
    assert parsed("predict", "a.jpg", "--camera", "null")["camera"] is None
    assert parsed("fit", "m.parquet", "--terms", "null")["terms"] is None


def test_version() -> None:
    import idfer

    assert run("--version").stdout == f"idfer {idfer.__version__}\n"


@pytest.mark.parametrize("arguments", [["--version"], ["fit", "--help"], ["predict"]])
def test_a_full_standard_output_is_one_line(arguments: list[str]) -> None:
    if arguments == ["predict"]:
        arguments = ["predict", "no-such-photo.jpg", "--detector", "none", "--progress", "false"]
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "idfer", *arguments]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    told = [line for line in ended.stderr.splitlines() if "No space left on device" in line]
    assert len(told) == 1
    assert told[0].startswith("idfer: cannot write to the standard output:")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m idfer --help | true; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_closed_standard_output_is_no_error() -> None:
    ended = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m idfer --version >&-"], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...")],
)
def test_too_little_memory_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def exhausting(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("idfer.synthetic.factors.sample", exhausting)
    assert cli.main(["synth", "faces"]) == 1
    assert capsys.readouterr().err.startswith("idfer: out of memory;")


def test_another_runtime_error_is_a_bug_and_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("idfer.synthetic.factors.sample", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        cli.main(["synth", "faces"])


def configured(command: str, text: str, tmp_path: Path, *arguments: str) -> dict[str, Any]:
    file = tmp_path / "options.yaml"
    file.write_text(text, encoding="utf-8")
    return parsed(command, *arguments, "--config", str(file))


def test_a_configuration_file_gives_what_the_command_line_does_not(tmp_path: Path) -> None:
    text = "epochs: 3\nlr: 1e-2\nbatch-size: 16\nuse: [age, skin]\nterms: {beta: 0.1}\nattributes: null\n"
    values = configured("fit", text, tmp_path, "m.parquet", "--terms.prior_power", "2", "--epochs", "5")
    assert values["epochs"] == 5  # wherever --config stands
    assert (values["lr"], values["batch_size"], values["use"]) == (0.01, 16, ["age", "skin"])
    assert values["terms"] == {"beta": 0.1, "prior_power": 2}
    assert "attributes" not in values


def test_a_configuration_file_may_name_one_input_without_a_list(tmp_path: Path) -> None:
    assert configured("predict", "inputs: photo.jpg\n", tmp_path)["inputs"] == ["photo.jpg"]
    assert configured("predict", "inputs: photo.jpg\ndetach: [age]\n", tmp_path)["detach"] == ["age"]
    assert configured("predict", "inputs: photo.jpg\nswap: null\n", tmp_path)["swap"] is None


def test_the_later_of_two_configuration_files_wins(tmp_path: Path) -> None:
    (tmp_path / "first.yaml").write_text("epochs: 3\nseed: 4\n")
    first = f"--config={tmp_path / 'first.yaml'}"
    values = configured("fit", "epochs: 7\n", tmp_path, "m.parquet", first)
    assert (values["epochs"], values["seed"]) == (7, 4)


def test_a_printed_configuration_can_be_given_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["a.jpg", "b.jpg", "--device", "cpu"]
    with pytest.raises(SystemExit):
        cli.main(["predict", *arguments, "--print_config"])
    printed = capsys.readouterr().out
    asked = parsed("predict", *arguments)
    assert configured("predict", printed, tmp_path) == asked
    assert configured("predict", printed, tmp_path, "c.jpg") == asked | {"inputs": ["c.jpg"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epocs: 3\n", "options.yaml: unknown option 'epocs'. Did you mean 'epochs'?"),
        ("epochs: many\n", "options.yaml: Parser key \"epochs\": Expected a <class 'int'>. Got value: many."),
        ("epochs:\n", "options.yaml: epochs has no value; give one or leave the line out."),
        ("attributes: []\n", "options.yaml: Parser key \"attributes\": Expected a <class 'str'>."),
        ("manifest: 3\n", "options.yaml: manifest is 3; it must be a path."),
        ("batch-size: 3\nbatch_size: 3\n", "options.yaml: option 'batch_size' stands twice"),
        ("format_version: 1\nepochs: 3\n", "options.yaml: is the config.yaml of a run without a block"),
    ],
)
def test_a_wrong_configuration_file_is_wrong_usage_in_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "options.yaml").write_text(text)
    assert cli.main(["fit", "m.parquet", "--config", str(tmp_path / "options.yaml")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("option", ["--config", "--conf"])
def test_a_configuration_file_cannot_unfold(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "options.yaml").write_text("epochs: &x 3\nseed: *x\n")
    assert cli.main(["fit", "m.parquet", option, str(tmp_path / "options.yaml")]) in {1, 2}
    said = capsys.readouterr().err
    assert ("anchors and aliases" if option == "--config" else "unrecognized arguments: --conf") in said


def test_a_run_can_be_run_again_from_its_own_configuration(squares: Manifest, tmp_path: Path) -> None:
    recorded = {
        "format_version": 2,
        "idfer_version": "0.0.0",
        "settings": {
            "method": "erm",
            "backbone": BACKBONE,
            "pretrained": False,
            "use": None,
            "epochs": 1,
            "batch_size": 16,
            "lr": 0.01,
            "size": 32,
            "dim": 8,
            "terms": {},
            "seed": 3,
        },
        "preprocess": {"size": 32},
        "attributes": [],
        "network": {"code": 0},
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(recorded))
    arguments = [str(squares.root / "manifest.parquet"), "--attributes", "a.parquet", "--config", str(config)]
    values = parsed("fit", *arguments)
    assert values.items() >= {**recorded["settings"], "attributes": "a.parquet"}.items()
    quiet = ["--progress", "false", "--num_workers", "0", "--device", "cpu"]
    arguments = [str(squares.root / "manifest.parquet"), "--config", str(config)]
    assert cli.main(["fit", *arguments, "-o", str(tmp_path / "again"), *quiet]) == 0
    assert (tmp_path / "again" / "model.safetensors").is_file()
