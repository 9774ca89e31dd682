"""Attributes that a user wrote down, through the whole command line as docs/vocabularies.md says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from idfer.cli import main
from idfer.training.checkpoint import load_checkpoint

PAGE = (Path(__file__).parent.parent / "docs" / "vocabularies.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    vocabulary = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    commands = re.search(r"```console\n(.*?)```", PAGE, re.DOTALL)
    assert vocabulary is not None and commands is not None
    Path("mine.yaml").write_text(vocabulary[1], encoding="utf-8")
    for line in commands[1].splitlines():
        program, *arguments = shlex.split(line)
        assert program == "idfer"
        assert main(arguments) == 0, capsys.readouterr().err

    table = pd.read_parquet("tests/attributes.parquet")
    truth = pd.read_parquet("tests/manifest.parquet")
    wears = truth["factor.glasses"] > 0.5
    said = table["eyewear"] == "glasses"
    assert (said[wears].mean() + (~said)[~wears].mean()) / 2 > 0.8, "CLIP read the user's words"
    assert {"view/forward", "view/side"} <= set(table.columns)

    run = load_checkpoint("run")
    assert run.network.attributes == ("eyewear", "view")
    assert run.record.levels == {"eyewear": ["without", "glasses"], "view": ["forward", "side"]}
    assert run.record.retrieved["vocabulary"] == "mine"
    probes = pd.DataFrame(json.loads(Path("report/metrics.json").read_text())["leakage"]["probes"])
    eyewear = probes[probes["target"] == "eyewear"]
    assert set(eyewear["source"]) == {"retrieved with builtin"} and eyewear["score"].notna().all()
    page = Path("report/report.html").read_text(encoding="utf-8")
    assert "the same face with attributes detached" in page and ">eyewear<" in page

    half = pd.read_csv("out.csv")
    assert len(half) == len(truth) and half["error"].isna().all()
    again = ["predict", "tests/images", "--model", "run", "--detector", "none"]
    assert main([*again, "--detach", "none", "-o", "none.csv"]) == 0
    moved = (half[["valence", "arousal"]] - pd.read_csv("none.csv")[["valence", "arousal"]]).abs()
    assert moved.to_numpy().max() > 1e-3
    assert main([*again, "--detach", "age", "-o", "age.csv"]) == 2
    assert "eyewear, view" in capsys.readouterr().err


def test_readme_leads_there() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert "docs/vocabularies.md" in readme.partition("## More")[2]
