"""A text in Markdown as a page in the house style, for what `benchmark` and `ablate` write."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.reporting.page import write_page
from idfer.reporting.svg import Chart, svg
from idfer.reporting.table import Table

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token
    from matplotlib.figure import Figure

_INTERVAL = re.compile(r"\s*(\[-?[\d.]+, -?[\d.]+\])")
_ALT = 1200  # letters of a figure's description
_NOTHING: dict[str, Any] = {"table": None, "chart": None, "label": "", "html": ""}  # of a block


def write_markdown_page(text: str, path: str | Path, figure: Figure | None = None) -> Path:
    """Write a page of a Markdown text: headings, paragraphs, lists, tables, and one figure.

    Raw HTML in the text is shown, not obeyed. Tables become cards on a telephone. The figure stands where the
    text has its first image; what it shows is told in the numbers of the table that follows.

    Args:
        text: Markdown; its first heading is the page's title.
        path: the HTML file.
        figure: what the image is; None leaves images out.

    Raises:
        IdferError: the file cannot be written; what stood there is kept.
    """
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(text)
    titles = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    blocks: list[dict[str, Any]] = []
    heading, pictured = titles[0] if titles else "", False
    at = 0
    while at < len(tokens):
        end = _end(tokens, at)
        part = tokens[at : end + 1]
        if part[0].type == "heading_open":
            heading = _plain(part[1])
        if part[0].type == "table_open":
            blocks.append(_NOTHING | {"table": _table(reader, part, heading)})
        elif part[0].type == "paragraph_open" and _is_image(part[1]):
            if figure is not None and not pictured:
                chart = Chart([svg(figure)], _alt(part[1], tokens[end:]), across=1)
                blocks.append(_NOTHING | {"chart": chart, "label": f"figure: {heading}"})
            pictured = True
        else:
            blocks.append(_NOTHING | {"html": _rendered(reader, part)})
        at = end + 1
    title = titles[0] if titles else Path(path).stem
    headed = any(token.type == "heading_open" and token.tag == "h1" for token in tokens)
    return write_page("text.html.jinja", path, title=title, headed=headed, blocks=blocks)


def _end(tokens: list[Token], start: int) -> int:
    """Where the block that starts here ends."""
    depth = 0
    for i in range(start, len(tokens)):
        depth += tokens[i].nesting
        if depth == 0:
            return i
    return len(tokens) - 1


def _is_image(inline: Token) -> bool:
    return [child.type for child in inline.children or []] == ["image"]


def _rendered(reader: MarkdownIt, tokens: list[Token]) -> Any:
    from markupsafe import Markup

    return Markup(reader.renderer.render(tokens, reader.options, {}))


def _plain(inline: Token) -> str:
    """The text of a line without its marks."""
    return "".join(child.content for child in inline.children or [])


def _table(reader: MarkdownIt, tokens: list[Token], heading: str) -> Table:
    """A table with its heading as caption; intervals in small print."""
    from markupsafe import Markup

    rows: list[list[Any]] = []
    heads: list[str] = []
    for opened, inline in pairwise(tokens):
        if opened.type == "tr_open":
            rows.append([])
        elif opened.type == "th_open":
            heads.append(_plain(inline))
        elif opened.type == "td_open":
            html = reader.renderer.render([inline], reader.options, {})
            rows[-1].append(Markup(_INTERVAL.sub(r' <span class="ci">\1</span>', html)))
    return Table(heading, heads, [row for row in rows if row], kind="stacked cards")


def _alt(inline: Token, after: list[Token]) -> str:
    """What a figure shows: its own words, and the numbers of the next table, without intervals."""
    words = "".join(child.content for child in inline.children or [])
    cells: list[list[str]] = []
    for opened, content in pairwise(after):
        if opened.type == "table_close":
            break
        if opened.type == "tr_open":
            cells.append([])
        elif opened.type in ("th_open", "td_open") and cells:
            cells[-1].append(_INTERVAL.sub("", _plain(content)))
    said = [
        f"{row[0]}: " + ", ".join(f"{head} {cell}" for head, cell in zip(cells[0][1:], row[1:], strict=False))
        for row in cells[1:]
    ]
    text = f"{words}. {'; '.join(said)}."
    return (
        text
        if len(text) <= _ALT
        else text[: text.rindex(";", 0, _ALT)] + "; the other rows are in the table."
    )
