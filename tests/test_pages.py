"""Every page in a real browser: on a telephone, on paper, in the dark, and for those who do not see it."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from browser import BROWSER, browsing, opened
from idfer.evaluation.suite import measure
from idfer.reporting import audit_page, decoded
from idfer.reporting.markdown_page import write_markdown_page
from idfer.reporting.report import evaluate, write_report
from idfer.reporting.strips import sheet
from made_up_audits import audit, comparison

from evaluated import run_folder, write_faces

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine to open the page with")

EVALUATED = ("one", "two", "decoded")
AUDITS = ("model", "predictions", "data", "comparison")
PAGES = (*EVALUATED, *AUDITS, "text")

TEXT = """# Made up

`idfer ablate made-up.yaml`

See [shift.md](shift.md). 95 % intervals.

![heat map](made-up.png)

## All numbers

|  | CCC matched | CCC balanced | CCC reversed | leak gender | leak age | leak skin | drift |
|---|---|---|---|---|---|---|---|
| base | 0.811 [0.789, 0.833] | 0.795 [0.764, 0.826] | 0.761 [0.707, 0.815] | 0.005 | 0.1 | 0.1 | 0.3 |
| **other** | 0.711 [0.689, 0.733] | 0.695 [0.664, 0.726] | 0.661 [0.607, 0.715] | n/a | 0.2 | 0.2 | 0.4 |

- a list
- of two
"""


COLUMNS = ("input", "all features", "gender\ndetached", "age", "skin", "neutral", "erm: neutral")


def decoding():
    """What `reporting.decoded` gives of two faces."""
    grey = np.full((32, 32, 3), 128, np.uint8)
    asked = ("identify_mean", "identify_sampled", "identify_averaged")
    said = dict.fromkeys((*asked, "feature_mean", "feature_sampled", "feature_averaged"), 0.1)
    return {
        "name": "one", "split": "balanced", "people": 24, "faces": 48, "draws": 16, "kind": "fast",
        "epochs": 1, "size": 32, "found": [{"name": "one", **said}, {"name": "erm", **said}],
        "columns": len(COLUMNS),
        "image": decoded._uri(sheet([[grey] * len(COLUMNS)] * 2, COLUMNS)), "alt": "2 faces",
    }  # fmt: skip


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Evaluations of 24 people in four splits, one without pictures, one of two runs; audits; a text."""
    root = tmp_path_factory.mktemp("pages")
    (root / "faces").mkdir()
    faces = write_faces(root / "faces", ("val", "matched", "balanced", "reversed"), people=24, gender=True)
    kwargs = {"device": "cpu", "progress": False}
    attributes = ("gender", "age", "skin")
    one = evaluate(run_folder(root / "runs" / "one", attributes, code=4), faces, out=root, **kwargs)
    two = measure(run_folder(root / "runs" / "two", (), 1), faces, **kwargs)
    figure = Figure(figsize=(10, 3))
    figure.subplots().plot([0, 1])
    return {
        "one": root / "report.html",
        "plain": write_report([one], root / "plain.html", show_faces=False),
        "two": write_report([two, one], root / "two.html"),
        "decoded": write_report([one], root / "decoded.html", decodings=[decoding()]),
        "comparison": audit_page.write(comparison(), root / "comparison"),
        **{kind: audit_page.write(audit(kind), root / kind) for kind in ("model", "predictions", "data")},
        "text": write_markdown_page(TEXT, root / "text.html", figure),
    }


@pytest.fixture(scope="module")
def browser():
    with browsing() as started:
        yield started


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_quiet_and_asks_for_nothing(pages, browser, name, width):
    with opened(browser, pages[name], width) as page:
        page.unfold()
        assert page.far() == []
        assert page.said == [] and page.asked == []
    assert pages[name].stat().st_size < 5_000_000


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_withholds_nothing_from_those_who_do_not_see_it(pages, browser, name, width, dark):
    with opened(browser, pages[name], width, dark) as page:
        page.unfold()
        assert page.findings() == []


@pytest.mark.parametrize(("width", "scrolls"), [(1200, False), (390, True)])
def test_drawn_faces_are_large_enough_to_see_on_a_telephone(pages, browser, width, scrolls):
    with opened(browser, pages["decoded"], width) as page:
        shown, box, inside = page.tab.evaluate(
            "(() => { const box = document.querySelector('.strip');"
            " return [box.querySelector('img').clientWidth, box.clientWidth, box.scrollWidth]; })()"
        )
        assert shown / len(COLUMNS) > 68  # a face is a little narrower than its column
        assert (inside > box) == scrolls and page.far() == []


def test_the_checks_find_a_page_that_is_broken(browser, tmp_path):
    page = tmp_path / "broken.html"
    page.write_text(
        "<!doctype html><html lang=en><title>t</title><main><h1>t</h1><img src='http://example.org/a.png'>"
        "<p style='width: 1300px; color: #eee'>pale</p></main>"
        "<script>console.log('said'); nothing()</script>",
        encoding="utf-8",
    )
    with opened(browser, page) as shown:
        assert len(shown.far()) == 2 and len(shown.said) >= 2
        assert shown.asked == ["http://example.org/a.png"]
        assert {line.split(":")[0] for line in shown.findings()} == {"image-alt", "color-contrast"}


class Figures(HTMLParser):
    """Descriptions of figures and how tables name their rows and columns."""

    def __init__(self, page):
        super().__init__()
        self.alts, self.heads, self.tables, self.captions = [], [], 0, 0
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if given.get("role") == "img":
            self.alts.append(given["aria-label"])
        self.heads += [given.get("scope")] if tag == "th" else []
        self.tables += tag == "table"
        self.captions += tag == "caption"


@pytest.mark.parametrize("name", PAGES)
def test_figures_tell_their_numbers_and_tables_their_heads(pages, name):
    found = Figures(pages[name])
    assert found.alts
    for alt in found.alts:
        assert len(re.findall(r"\d\.\d", alt)) >= 3, alt
    assert set(found.heads) <= {"row", "col"}
    assert found.captions == found.tables - 24 * (name in EVALUATED), "a face's three lines need no caption"


@pytest.mark.parametrize(("name", "width"), [("one", 1200), ("two", 500)])
def test_no_part_of_the_page_is_blank(pages, browser, name, width):
    with opened(browser, pages[name], width) as page:
        pixels = page.pixels(2400)
    assert (pixels.reshape(12, -1).std(axis=1) > 2).all()


@pytest.mark.parametrize(("name", "rows"), [("one", 1), ("two", 3)])
def test_a_telephone_shows_the_shifted_split(pages, browser, name, rows):
    column = """[...document.querySelectorAll("table.headline td")]
      .filter(e => e.dataset.label == "reversed").map(e => Math.ceil(e.getBoundingClientRect().right))"""
    with opened(browser, pages[name], 390) as page:
        right = page.tab.evaluate(column)
    assert len(right) == rows and max(right) <= 390


@pytest.mark.parametrize("name", EVALUATED)
def test_it_prints_on_six_pages_at_most(pages, browser, tmp_path, name):
    with opened(browser, pages[name], dark=True) as page:
        paper = page.print(tmp_path / "page.pdf")
    count = len(re.findall(rb"/Type\s*/Page\b(?!s)", paper.read_bytes()))
    assert 1 <= count <= 6
    if shutil.which("pdftotext") is None:
        return
    words = subprocess.run(["pdftotext", "-layout", paper, "-"], capture_output=True, text=True, check=True)
    assert "colour_order" not in words.stdout, "the raw configuration is printed"
    assert words.stdout.count("verification") >= 5, "folded probes are not printed"
    last = re.findall(r"^\s*(?:Model)?\s*Features .*Attribute label$", words.stdout, re.MULTILINE)
    assert last, "the table of probes is cut at the edge of the paper"


@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="no pdftoppm on this machine to look at paper")
@pytest.mark.parametrize("name", ["plain", "predictions"])
def test_paper_is_white_for_one_who_reads_in_the_dark(pages, browser, tmp_path, name):
    with opened(browser, pages[name], dark=True) as page:
        paper = page.print(tmp_path / "page.pdf")
    subprocess.run(["pdftoppm", "-r", "40", "-png", paper, tmp_path / "paper"], check=True)
    sheets = [np.asarray(Image.open(p).convert("L"), float) for p in sorted(tmp_path.glob("paper*.png"))]
    assert all(np.median(sheet) > 250 for sheet in sheets)
    assert max((sheet < 60).mean() for sheet in sheets) > 0.005, "the ink is dark"


@pytest.mark.parametrize("name", ["plain", "predictions"])
def test_in_the_dark_no_figure_is_a_white_slab(pages, browser, name):
    with opened(browser, pages[name], dark=True) as page:
        pixels = page.pixels(3000).mean(axis=2)
    with opened(browser, pages[name]) as page:
        light = page.pixels(3000).mean(axis=2)
    assert np.median(pixels) < 60, "the browser does not ask for a dark page"
    assert (pixels > 245).mean() < 0.01, "a white slab"
    assert np.median(light) > 245
    bands = slice(600, 2600)  # figures: their ink stands out from the dark as it does from the light
    assert np.abs(pixels[bands] - np.median(pixels)).mean() > 0.4 * np.abs(light[bands] - 255).mean()


def test_colours_are_told_apart_by_more_than_colour(pages):
    page = pages["predictions"].read_text(encoding="utf-8")
    assert "told from 0 over all tests" in page and 'fill="none"' in page, "a key for filled and hollow"
    assert "▲" in pages["data"].read_text(encoding="utf-8")
