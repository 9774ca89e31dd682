"""The demo's promise, on its tiny size: one command, offline, from faces to report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from idfer import cli


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
    assert cli.main([*command, "--seed", "1"]) == 2
    assert "another size or seed" in capsys.readouterr().err
