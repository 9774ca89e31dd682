"""The report's page in a real browser: on a telephone, on paper, in the dark."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from idfer.evaluation.suite import measure
from idfer.reporting.report import evaluate, write_report

from evaluated import run_folder, write_faces

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine to open the page with")
DARK = ("--force-dark-mode", "--blink-settings=preferredColorScheme=0")

# What a reader meets in a frame of a telephone's width: how far things reach, where `reversed` stands.
PROBE = """<!doctype html><body style="margin:0"><iframe id="f" src="%s"
style="width:%dpx;height:3000px;border:0"></iframe><pre id="said"></pre><script>
f.onload = () => {
  const page = f.contentDocument, heads = [...page.querySelectorAll("table.headline thead th")];
  const at = heads.findIndex(th => th.textContent.trim() == "reversed");
  const cells = [...page.querySelectorAll("table.headline tbody tr")].map(tr => tr.children[at]);
  const right = e => Math.ceil(e.getBoundingClientRect().right);
  const far = [...page.querySelectorAll("p, li, h1, h2, dd, figure, figure img, figure svg, td, tbody th")]
    .filter(e => e.checkVisibility() && !e.closest("details")).filter(e => right(e) > %d);
  said.textContent = JSON.stringify({
    width: page.documentElement.scrollWidth, reversed: cells.map(right),
    far: far.map(e => e.tagName + " " + e.textContent.trim().slice(0, 40)),
    figures: [...page.querySelectorAll("figure")].map(e => e.scrollWidth - e.clientWidth),
  });
};
</script>"""


def browse(folder: Path, page: Path, *options: str) -> str:
    """Open a page without a window; returns what the browser prints."""
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--hide-scrollbars", "--disable-dev-shm-usage", "--allow-file-access-from-files",
        f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--v=0", *options, page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def picture(folder: Path, page: Path, width: int, height: int, *options: str) -> np.ndarray:
    """(height, width, 3) of the page as it shows."""
    shot = folder / "shot.png"
    browse(folder, page, f"--screenshot={shot}", f"--window-size={width},{height}", *options)
    return np.asarray(Image.open(shot).convert("RGB"), float)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """An ordinary evaluation of 24 people in four splits, one without pictures, and two runs compared."""
    root = tmp_path_factory.mktemp("pages")
    (root / "faces").mkdir()
    faces = write_faces(root / "faces", ("val", "matched", "balanced", "reversed"), people=24, gender=True)
    kwargs = {"device": "cpu", "progress": False}
    attributes = ("gender", "age", "skin")
    one = evaluate(run_folder(root / "runs" / "one", attributes, code=4), faces, out=root, **kwargs)
    two = measure(run_folder(root / "runs" / "two", (), 1), faces, **kwargs)
    return {
        "one": root / "report.html",
        "plain": write_report([one], root / "plain.html", show_faces=False),
        "two": write_report([two, one], root / "two.html"),
    }


@pytest.mark.parametrize(("name", "width"), [("one", 1200), ("two", 500)])
def test_no_part_of_the_page_is_blank(pages, tmp_path, name, width):
    pixels = picture(tmp_path, pages[name], width, 2400)
    assert (pixels.reshape(12, -1).std(axis=1) > 2).all()


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_telephone_shows_all_of_it(pages, tmp_path, name):
    frame = tmp_path / "frame.html"
    frame.write_text(PROBE % (pages[name].as_uri(), 390, 390), encoding="utf-8")
    dom = browse(tmp_path, frame, "--dump-dom", "--virtual-time-budget=8000", "--window-size=800,3200")
    found = re.search(r'<pre id="said">(.+?)</pre>', dom, re.DOTALL)
    assert found, dom[-2000:]
    said = json.loads(unescape(found.group(1)))
    assert said["width"] == 390, "the page scrolls sideways"
    assert len(said["reversed"]) == {"one": 1, "two": 3}[name] and max(said["reversed"]) <= 390
    assert said["far"] == [], "something reaches beyond the edge"
    assert set(said["figures"]) == {0}, "a figure is cut"


@pytest.mark.parametrize("name", ["one", "two"])
def test_it_prints_on_six_pages_at_most(pages, tmp_path, name):
    paper = tmp_path / "page.pdf"
    browse(tmp_path, pages[name], f"--print-to-pdf={paper}", "--no-pdf-header-footer", *DARK)
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
def test_paper_is_white_for_one_who_reads_in_the_dark(pages, tmp_path):
    paper = tmp_path / "page.pdf"
    browse(tmp_path, pages["plain"], f"--print-to-pdf={paper}", *DARK)
    subprocess.run(["pdftoppm", "-r", "40", "-png", paper, tmp_path / "paper"], check=True)
    sheets = [np.asarray(Image.open(p).convert("L"), float) for p in sorted(tmp_path.glob("paper*.png"))]
    assert all(np.median(sheet) > 250 for sheet in sheets)
    assert (sheets[0] < 60).mean() > 0.005, "the ink is dark"


def test_in_the_dark_no_figure_is_a_white_slab(pages, tmp_path):
    pixels = picture(tmp_path, pages["plain"], 1200, 3000, *DARK).mean(axis=2)
    assert np.median(pixels) < 60, "the browser does not ask for a dark page"
    assert (pixels > 245).mean() < 0.01, "a white slab"
    light = picture(tmp_path, pages["plain"], 1200, 3000).mean(axis=2)
    assert np.median(light) > 245
    bands = slice(600, 2600)  # figures: their ink stands out from the dark as it does from the light
    assert np.abs(pixels[bands] - np.median(pixels)).mean() > 0.4 * np.abs(light[bands] - 255).mean()
