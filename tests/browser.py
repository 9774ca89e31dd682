"""A page in a real browser: what it says, asks for and looks like, and what axe-core finds wrong with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# Everything that reaches beyond the right edge, but for what scrolls in a box of its own.
FAR = """width => [...document.querySelectorAll("p, li, h1, h2, h3, dd, summary, figure, svg, table, td, th")]
  .filter(e => e.checkVisibility() && !e.closest(".wide, pre, thead"))
  .filter(e => Math.ceil(e.getBoundingClientRect().right) > width)
  .map(e => e.tagName + " " + e.textContent.trim().slice(0, 60))"""


@dataclass
class Opened:
    """A page, open.

    Attributes:
        tab: the browser's tab.
        width: of its window.
        said: what it wrote to the console, and errors.
        asked: addresses that it asked for, other than its own.
    """

    tab: Any
    width: int
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def far(self) -> list[str]:
        """What reaches beyond the right edge; first of all, whether the page scrolls sideways."""
        wide = self.tab.evaluate("document.documentElement.scrollWidth")
        sideways = [f"the page is {wide} wide"] if wide > self.width else []
        return sideways + self.tab.evaluate(FAR, self.width)

    def findings(self) -> list[str]:
        """What axe-core finds, with where."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.tab).response["violations"]
        return [f"{v['id']}: {v['help']} ({v['nodes'][0]['html'][:120]})" for v in found]

    def pixels(self, height: int | None = None) -> np.ndarray:
        """(H, W, 3) of the page as it shows, from its top, or whole."""
        whole = height or self.tab.evaluate("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": self.width, "height": whole}
        shot = self.tab.screenshot(full_page=True, clip=clip)
        return np.asarray(Image.open(BytesIO(shot)).convert("RGB"), float)

    def print(self, path: Path) -> Path:
        """Print on A4."""
        self.tab.pdf(path=str(path), prefer_css_page_size=True, format="A4")
        return path

    def unfold(self) -> None:
        """Open every fold."""
        self.tab.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")


@contextmanager
def browsing() -> Iterator[Any]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=BROWSER, args=options)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, page: Path, width: int = 1200, dark: bool = False) -> Iterator[Opened]:
    """A page of a width; nothing that it asks the network for is let through."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    )
    tab = context.new_page()
    shown = Opened(tab, width)

    def answer(route: Any) -> None:
        address = route.request.url
        if address == page.as_uri() or address.startswith("data:"):
            route.continue_()
        else:
            shown.asked.append(address)
            route.abort()

    tab.route("**/*", answer)
    tab.on("console", lambda message: shown.said.append(message.text))
    tab.on("pageerror", lambda error: shown.said.append(str(error)))
    tab.goto(page.as_uri())
    yield shown
    context.close()
