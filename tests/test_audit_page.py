"""An audit's page from its JSON alone: what stands first, what is left out, what a null or a name does."""

from __future__ import annotations

import json
import re

import pytest

from idfer.auditing.interventions import told
from idfer.reporting import audit_page
from idfer.reporting.folder import REPORT, check_out
from idfer.reporting.markdown_page import write_markdown_page
from made_up_audits import TABLES, audit, comparison

UNDRAWN = {"gaps": [], "circumplex": []}  # most of the figures, where a test is of something else


def words(page):
    """What a page says, without figures and marks."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """The words of each kind of page, made from JSON that was written and read again."""
    root = tmp_path_factory.mktemp("audits")
    audits = {kind: audit(kind) for kind in ("model", "predictions", "data")} | {"comparison": comparison()}
    return {
        name: words(audit_page.write(json.loads(json.dumps(content)), root / name))
        for name, content in audits.items()
    }


def test_the_verdict_stands_before_every_number(said):
    for text in said.values():
        verdict = text.index("Older people are read worse")
        assert verdict < text.index("What these numbers are not")
        assert not re.search(r"\[[−\d]", text[:verdict])


def test_each_kind_has_its_sections_and_no_other(said):
    sections = {
        "Gaps between groups": ("model", "predictions"),
        "What predictions and features tell": ("model", "predictions"),
        "drawn on another face": ("model",),
        "What the labels tell about the person": ("data",),
        "Who is in it": ("data",),
        "Where they go together": ("data",),
        "The gaps of ERM and idfer": ("comparison",),
        "Limits": ("model", "predictions", "data", "comparison"),
    }
    for heading, kinds in sections.items():
        assert {name for name, text in said.items() if heading in text} == set(kinds), heading


def test_drawn_faces_come_with_their_warning(said):
    assert "Warning: Effects are measured on drawn faces" in said["model"].split("drawn on another face")[1]


def test_a_withheld_group_shows_its_note_and_no_number(tmp_path):
    content = audit("predictions")
    for row in content["groups"]:
        row["level"] = "few" if row["value"] is None else row["level"]
    text = words(audit_page.write(content | UNDRAWN, tmp_path))
    found = re.findall(r"age × gender presentation: few (.*?) age ×", text)
    assert found and all(
        re.sub(r"withheld: fewer than 20 people|n/a|\s", "", line) == "" for line in found
    ), found


def test_what_is_told_from_zero_is_starred_and_counted(said):
    content = audit("predictions")
    told = [row for row in content["gaps"] if row["significant"]]
    assert told and f"The {len(told)} gaps told from 0" in said["predictions"]
    table = said["predictions"].split("gaps told from 0, by metric")[1].split("All gaps between levels")[0]
    assert len(re.findall(r"\d \* ", table)) == len(told)


def test_planes_of_which_too_little_is_left_are_not_drawn(tmp_path):
    content = audit("predictions")
    kept = [row for row in content["circumplex"] if row["attribute"] not in ("age", "glasses")]
    kept += [row for row in content["circumplex"] if row["attribute"] == "age" and row["level"] == "older"]
    glasses = [row for row in content["circumplex"] if row["level"] == "wears glasses"][:2]
    text = words(audit_page.write(content | {"gaps": [], "circumplex": kept + glasses}, tmp_path))
    planes = text.split("Error over the plane of labels, by group")[1].split("What predictions and features")[
        0
    ]
    assert "everybody" in planes and "gender presentation" in planes and "skin tone" in planes
    assert " age " not in planes and "glasses" not in planes


def test_an_audit_that_found_nothing_is_still_a_page(tmp_path):
    content = audit("predictions") | {name: [] for name in TABLES} | {"checks": []}
    page = audit_page.write(content, tmp_path)
    assert "Older people" in words(page) and "<figure" not in page.read_text(encoding="utf-8")
    bare = {"schema": "idfer.audit/1", "about": {"name": "x", "kind": "data", "rows": 3}}
    assert "3 faces, whose people are not known" in words(audit_page.write(bare, tmp_path))


def test_numbers_that_are_null_are_drawn_around(tmp_path):
    content = audit("model")
    for name in ("gaps", "leakage", "effects", "power", "information", "circumplex", "sensitivity"):
        for row in content[name][::2]:
            row |= {key: None for key, value in row.items() if isinstance(value, float)}
    assert not re.search(r"\b(nan|None)\b", words(audit_page.write(content, tmp_path)))


def test_names_from_a_table_are_text_and_not_markup(tmp_path):
    text = json.dumps(audit("predictions") | UNDRAWN).replace("glasses", "<b>$x_1$ & glasses")
    page = audit_page.write(json.loads(text), tmp_path).read_text(encoding="utf-8")
    assert "<b>" not in page and "&lt;b&gt;$x 1$ &amp; glasses" in page


def test_the_same_audit_gives_the_same_page_and_may_be_replaced(tmp_path):
    first = audit_page.write(audit("data"), tmp_path / "a").read_bytes()
    assert audit_page.write(audit("data"), tmp_path / "b").read_bytes() == first
    check_out(tmp_path / "a", (REPORT,))  # it is known as ours


def test_a_text_becomes_a_page_that_obeys_no_markup_in_it(tmp_path):
    text = "# Title\n\n<script>alert(1)</script>\n\n## Part\n\n| a | b |\n|---|---|\n| x | 0.5 [0.4, 0.6] |\n"
    page = write_markdown_page(text, tmp_path / "t.html").read_text(encoding="utf-8")
    assert "<script>" not in page and page.count("<h1>") == 1
    assert '<th scope="row">x</th>' in page and '<span class="ci">[0.4, 0.6]</span>' in page


@pytest.mark.parametrize("kind", ["model", "predictions", "data"])
def test_long_tables_are_folded(tmp_path, kind):
    """Each row is a card on a telephone: two tables of sixty rows were most of 21,000 pixels."""
    page = audit_page.write(audit(kind), tmp_path).read_text(encoding="utf-8")
    assert "<details" in page
    open_ = re.sub(r"<details.*?</details>", "", page, flags=re.DOTALL)
    lengths = [table.count("<tr>") - 1 for table in re.findall(r"<table.*?</table>", open_, flags=re.DOTALL)]
    assert lengths and max(lengths) <= 12, lengths
    assert open_.count('class="heat"') <= 4


def test_notes_are_folded_and_warnings_are_not(tmp_path):
    page = audit_page.write(audit("model") | UNDRAWN, tmp_path).read_text(encoding="utf-8")
    open_ = re.sub(r"<details.*?</details>", "", page, flags=re.DOTALL)
    assert "IDF302" in page and "IDF302" not in open_
    assert "IDF306" in open_


def test_an_effect_is_marked_only_if_told_over_all_effects():
    one = {"attribute": "age", "effect": 0.12, "low": 0.02, "high": 0.22}
    assert told(one, 1) and not told(one, 26)
