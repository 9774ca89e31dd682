"""The ledger of tries on photographs: a line per measurement in results/photographs.md, to which is added."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from idfer.files import atomic

HEAD = """# Models on photographs

Every line is a try: what was measured, on what, by which source. `python benchmarks/photographs.py` adds
lines and takes none out. In brackets 95 % intervals (people resampled). A set that many tries were
measured on tells less of the next one: what was chosen with it in view is development, and says so.
"""


def append(path: Path, section: str, line: Mapping[str, str]) -> bool:
    """Add a line to the table of a section, which is made where it is missing.

    Args:
        path: of the Markdown file.
        section: heading of the table.
        line: cell by column.

    Returns:
        Whether it was added: the same line (but for its date) is not repeated.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else HEAD
    heading, row = f"## {section}", _row(line.values())
    title = [_row(line), _row("---" for _ in line)]
    lines = text.rstrip("\n").split("\n")
    if heading not in lines:
        lines += ["", heading, "", *title]
    start = lines.index(heading)
    end = next((n for n in range(start + 1, len(lines)) if lines[n].startswith("## ")), len(lines))
    while end > start and not lines[end - 1].strip():
        end -= 1
    if title[0] not in lines[start:end]:  # columns have changed since
        lines[end:end] = ["", *title]
        end += 3
    if any(_undated(row) == _undated(old) for old in lines[start:end]):
        return False
    last = lines.index(title[0], start)
    while last < end and lines[last].startswith("|"):  # to the end of the table of these columns
        last += 1
    lines.insert(last, row)
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return True


def _row(cells: object) -> str:
    return "| " + " | ".join(str(c).replace("|", "/").replace("\n", " ") for c in cells) + " |"  # type: ignore[attr-defined]


def _undated(row: str) -> str:
    """A row without its first cell, the date."""
    return row.partition(" | ")[2]
