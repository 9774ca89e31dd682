"""The README's Python example and commands are those of this package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from skimage import data, io

from idfer import cli
from idfer.options import underscored

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_python_example_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    smaller = code[1].replace("identities=100", "identities=12").replace("identities=50", "identities=12")
    smaller = smaller.replace("per_identity=20", "per_identity=8").replace("epochs=5", "epochs=1")
    io.imsave(tmp_path / "photo.jpg", data.astronaut(), check_contrast=False)
    monkeypatch.chdir(tmp_path)
    exec(compile(smaller, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "leakage of the expression feature" in shown
    assert "photo.jpg" in shown
    assert (tmp_path / "report" / "report.html").is_file()


def test_every_command_is_in_the_table_and_every_option_there_exists(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown_commands = re.findall(r"^\| `idfer ([^`]*)`", README, re.MULTILINE)
    named = {text: [n for n in cli.VERBS if f"{text} ".startswith(f"{n} ")] for text in shown_commands}
    rows = [(max(names, key=len), text) for text, names in named.items() if names]
    assert {name for name, _ in rows} == set(cli.VERBS)
    assert len(rows) == len(shown_commands)
    for name, options in rows:
        with pytest.raises(SystemExit):
            cli.main([*name.split(), "--help"])
        shown = capsys.readouterr().out
        for option in re.findall(r" (--[a-z-]+|-o)", options):
            assert underscored(option) in shown, f"{name} has no {option}"
