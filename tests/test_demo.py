"""The demo's promise, on its tiny size: one command, offline, from faces to report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from idfer import cli
from idfer.errors import UsageError
from idfer.experiments.demo import demo


@pytest.mark.slow
def test_the_tiny_demo_writes_what_it_says_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["demo", "--size", "tiny", "-o", str(tmp_path / "demo"), "--progress", "false"]
    run = [sys.executable, "-m", "idfer", *command]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert "CCC reversed" in done.stdout
    assert str(tmp_path / "demo" / "report.html") in done.stdout
    metrics = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    assert [run["run"]["name"] for run in metrics["runs"]] == ["erm", "idfer"]
    for run in metrics["runs"]:
        assert set(run["accuracy"]) == {"matched", "balanced", "reversed"}
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "erm" in page
    assert "idfer" in page
    trained = (tmp_path / "demo" / "idfer" / "model.safetensors").stat().st_mtime_ns
    assert cli.main(command) == 0  # the same again: nothing is trained twice, and the table is the same
    assert (tmp_path / "demo" / "idfer" / "model.safetensors").stat().st_mtime_ns == trained
    assert capsys.readouterr().out == done.stdout
    assert "drawn back" not in page
    assert cli.main([*command, "--decode", "true"]) == 0
    assert capsys.readouterr().out == done.stdout  # the runs' numbers do not change with their pictures
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "what its features still show, drawn back" in page and "data:image/png" in page
    assert "erm: neutral" in page  # the control's column, in the picture's description
    assert cli.main([*command, "--seed", "1"]) == 2
    assert "another size or seed" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["metrics.json", "report.html", "faces/me.png", "demo.json"])
def test_a_folder_of_the_users_own_is_refused_before_any_work(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine" / name
    file.parent.mkdir(parents=True)
    file.write_text('{"my": "work"}')
    assert cli.main(["demo", "--size", "tiny", "-o", str(tmp_path / "mine")]) == 2
    assert "mine holds other files; nothing was changed." in capsys.readouterr().err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]
    assert file.read_text() == '{"my": "work"}'


@pytest.mark.parametrize("content", ["", "[]", "\xff", "[" * 100_000])
def test_a_stamp_that_is_no_demos_is_somebody_elses_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match="holds other files"):
        demo(tmp_path, size="tiny", progress=False)


def test_a_file_is_no_place_for_a_demo(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("x")
    with pytest.raises(UsageError, match="is a file; choose a folder"):
        demo(tmp_path / "demo", size="tiny")


@pytest.mark.parametrize("seed", [-1, 5592405, 99999999999999999999])
def test_a_seed_that_the_protocol_cannot_triple_is_refused(seed: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--seed is {seed}; use an integer from 0 to 5592404"):
        demo(tmp_path / "demo", size="tiny", seed=seed)
    assert not (tmp_path / "demo").exists()


def test_an_unknown_size_is_not_taken_for_the_full_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'tiny'"):
        demo(tmp_path / "demo", size="tiiny")  # type: ignore[arg-type]


def test_a_demo_that_was_killed_while_it_drew_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder holds the stamp and half the faces, none of which is a user's."""

    class Reached(Exception):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def reached(*_: object, **__: object) -> None:
        raise Reached

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("idfer.synthetic.dataset.write_png", killed)
        demo(tmp_path / "demo", size="tiny", progress=False)
    monkeypatch.setattr("idfer.attributes.table.retrieve", reached)
    with pytest.raises(Reached):
        demo(tmp_path / "demo", size="tiny", progress=False)
    assert (tmp_path / "demo" / "faces" / "manifest.parquet").is_file()
    with pytest.raises(UsageError, match="another size or seed"):
        demo(tmp_path / "demo", size="tiny", seed=1)
