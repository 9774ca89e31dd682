"""Every marked number of README and docs is what its results say; marks that lie or err are named."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from idfer.experiments import decode

QUOTE: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "quote.py"))
CONTENT = {
    "summary": {"erm": {"ccc": 0.5249, "drift": 0.4}, "idfer": {"ccc": 0.7551, "drift": 0.1}},
    "of idfer / ERM": {"low.est": -0.05},
    "intervals": {"idfer": [0.7214, -0.1]},
    "goal": "|mean| at most 1",
    "met": {"gap": False, "leak": None},
    "goals": [{"met": True}, {"met": False}, {"met": None}],
    "rows": [
        {"name": "a", "d": 4, "x": 1.0},
        {"name": "a", "d": 16, "x": 3.0},
        {"name": "b", "d": 4, "x": 9},
    ],
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "r.json").write_text(json.dumps(CONTENT))
    return tmp_path


def test_quotes_of_this_repository_agree_with_their_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert QUOTE["main"](["--check"]) == 0, capsys.readouterr()
    pages = Path(__file__).parents[1] / "docs"
    assert sum(page.read_text().count("<!-- quote") for page in pages.glob("*.md")) > 0


def test_no_quote_begins_a_line_of_a_paragraph() -> None:
    """There a comment ends the paragraph, and the rest of its line is not read as Markdown."""
    root = Path(__file__).parents[1]
    for page in (root / "README.md", *(root / "docs").glob("*.md")):
        assert not re.search(r"\S\n *<!-- quote \S", page.read_text(encoding="utf-8")), page


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("summary.idfer.ccc:.3c", ".755"),
        ("summary.idfer.ccc:.2f", "0.76"),
        ("summary.idfer.ccc / summary.erm.ccc:.2c", "1.44"),
        ("summary.erm.drift - summary.idfer.drift:+.1c", "+.3"),
        ('"of idfer / ERM"."low.est":.2c', "-.05"),
        ('"of idfer / ERM"."low.est":+.0%', "-5 %"),
        ("intervals.idfer:.2c", "[.72, -.10]"),
        ("rows[2].x:d", "9"),
        ("rows[name=a, d=16].x:.0f", "3"),
        ("max(rows[name=a].x):.1f", "3.0"),
        ("mean(rows[name=a].x):.1f", "2.0"),
        ("count(rows[d=4]):d", "2"),
        ("rows[2].name:s", "b"),
        ("goal:s", "\\|mean\\| at most 1"),
        ("met.gap:y", "no"),
        ("count(goals[met=True]):d", "1"),
        ("met.leak:y", "not measured"),
    ],
)
def test_a_field_is_filled_in(results: Path, field: str, text: str) -> None:
    assert QUOTE["filled"](f" at {{r.json {field}}}, ", results) == f" at {text}, "


def test_a_page_is_renewed_and_then_agrees(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = results / "page.md"
    page.write_text(
        "It is <!-- quote {r.json summary.erm.ccc:.3c} -->.600<!-- /quote --> and\n\n"
        "<!-- quote\n| a | b |\n|---|---|\n| x | {r.json rows[0].x:.1f} |\n--><!-- /quote -->\n"
    )
    before, asked = page.read_text(), ["--results", str(results), str(page)]
    assert QUOTE["main"](["--check", *asked]) == 1
    assert f"{page}:1: says '.600', the results '.525'" in capsys.readouterr().out
    assert page.read_text() == before
    assert QUOTE["main"](asked) == 0
    assert "-->.525<!-- /quote --> and" in page.read_text()
    assert "-->\n| a | b |\n|---|---|\n| x | 1.0 |\n\n<!-- /quote -->" in page.read_text()
    assert QUOTE["main"](["--check", *asked]) == 0
    page.write_text(page.read_text().replace("| x | 1.0 |\n\n", "| x | 1.1 |\n\n"))
    assert QUOTE["main"](["--check", *asked]) == 1


def test_what_is_not_reported_yet_says_so_until_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, asked = tmp_path / "page.md", ["--results", str(tmp_path), str(tmp_path / "page.md")]
    page.write_text(
        "It is <!-- quote? {late.json x:.1f} --><!-- /quote -->.\n\n"
        "<!-- quote?\n![strip](late.webp)\n\n| a |\n|---|\n| {late.json x:.2f} |\n--><!-- /quote -->\n"
    )
    assert QUOTE["main"](["--check", *asked]) == 1
    assert QUOTE["main"](asked) == 0
    waiting = page.read_text()
    assert "-->not reported yet<!--" in waiting and "-->\n**Not reported yet.**\n\n<!--" in waiting
    assert QUOTE["main"](["--check", *asked]) == 0
    (tmp_path / "late.json").write_text('{"x": 1.25}')
    assert QUOTE["main"](["--check", *asked]) == 1
    assert QUOTE["main"](asked) == 0
    assert "-->1.2<!--" in page.read_text() and "Not reported" not in page.read_text()
    assert "-->\n![strip](late.webp)\n\n| a |\n|---|\n| 1.25 |\n\n<!--" in page.read_text()
    page.write_text("<!-- quote? {later.json x} --><!-- /quote -->")
    assert QUOTE["main"](["--check", *asked]) == 1
    assert "is no field" in capsys.readouterr().err


def test_image_space_quotes_what_its_benchmark_writes(tmp_path: Path) -> None:
    means = dict.fromkeys(("idfer", "erm", "true factors", "photographs"), dict.fromkeys(decode.SHOWN, 0.123))
    content = {
        "seeds": [31, 32, 33], "epochs": 16, "summary": dict.fromkeys(decode.TARGETS, 2.5), "means": means,
        "intervals": {name: [2.25, 2.75] for name in decode.TARGETS},
    }  # fmt: skip
    (tmp_path / "decode.json").write_text(json.dumps(content))
    text = (Path(__file__).parents[1] / "docs" / "decode.md").read_text()
    said, changes = QUOTE["quoted"](text, tmp_path)
    (table,) = (change[2] for change in changes if "Seeds 31 to 33" in change[2])
    assert table.count("| 2.50 | [2.25, 2.75] |") == len(decode.TARGETS)
    pictures = re.findall(r"results/(decode-\w+\.webp)", table)
    assert [name[7:-5] for name in pictures] == ["strip", "swap", "neutral"]
    assert not QUOTE["quoted"](said, tmp_path)[1]


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("{r.json summary.erms.ccc:.3c} -->", "there is no 'erms' in erm, idfer"),
        ("{s.json summary:.3c} -->", "No such file"),
        ("{r.json rows[name=a].x:.3c} -->", "holds for 2 rows, and one is wanted"),
        ("{r.json rows[name=c].x:.3c} -->", "holds for 0 rows"),
        ("{r.json rows[0].name:.3c} -->", "'a', which is no number"),
        ("{r.json rows[0].x} -->", "is no field"),
        ("{r.json rows[0].x:.3q} -->", "format code"),
        ("{r.json rows[0].x:.3f} --> and nothing more", "1 marks are opened and 0 closed"),
    ],
)
def test_what_cannot_be_quoted_is_named_with_its_line(
    results: Path, mark: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page, end = results / "page.md", "" if "nothing" in mark else "1<!-- /quote -->"
    page.write_text(f"<!-- quote {mark}{end}\n")
    assert QUOTE["main"](["--check", "--results", str(results), str(page)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{page}:1: ")
    assert message in said
