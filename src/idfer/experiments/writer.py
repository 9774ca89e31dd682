"""How an experiment's results are written: numbers, tables, a figure, and where they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.files import atomic
from idfer.results import environment, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_results(out: Path, name: str, content: Mapping[str, Any], text: str, figure: Figure) -> str:
    """Write NAME.json, .md, .html and .png, each whole or not at all; returns where they are, a line each.

    Args:
        out: folder.
        name: of the files.
        content: the numbers; versions are added.
        text: Markdown.
        figure: the picture.

    Raises:
        IdferError: a file cannot be written.
    """
    write_json(out / f"{name}.json", {**content, "environment": environment()})
    write_pages(out, name, text, figure)
    files = {"page": "html", "tables": "md", "numbers": "json", "figure": "png"}
    return "\n".join(f"{what:<9}{out / f'{name}.{end}'}" for what, end in files.items())


def write_pages(out: Path, name: str, text: str, figure: Figure | None) -> None:
    """Write NAME.md, NAME.html and, where there is a figure, NAME.png, each whole or not at all."""
    from idfer.reporting.markdown_page import write_markdown_page

    with atomic(out / f"{name}.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_markdown_page(text, out / f"{name}.html", figure)
    if figure is None:
        return
    with atomic(out / f"{name}.png") as temporary:
        figure.savefig(temporary, dpi=150, format="png")
