"""Tables of a page, as text ready for the template's macros `table` and `heat`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Cell = str | tuple[str, str]  # a text, or a value and its small print


@dataclass(frozen=True)
class Table:
    """A table whose first columns name its rows.

    Attributes:
        caption: what it shows and how to read it.
        heads: of the columns.
        rows: cells of each row.
        row_heads: how many of the first cells name the row.
        kind: classes: `cards` makes each row a card on a telephone, `stacked` puts intervals below values.
        columns: of a card.
        folded: the words of the fold that it stands behind; "" for none.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    row_heads: int = 1
    kind: str = "cards"
    columns: int = 2
    folded: str = ""


@dataclass(frozen=True)
class Heat:
    """A cell of a heat map: its colour says again what its text says.

    Attributes:
        text: in the cell.
        small: small print below it.
        strength: 0 (no colour) to 1.
        more: whether it is more than expected (warm), or less (cold).
    """

    text: str
    small: str = ""
    strength: float = 0.0
    more: bool = True


@dataclass(frozen=True)
class HeatMap:
    """A table of coloured cells.

    Attributes:
        caption: what it shows.
        corner: what the first column names.
        heads: of the other columns.
        rows: name and cells of each row.
    """

    caption: str
    corner: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Heat]]]
