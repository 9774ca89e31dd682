"""What all figures share: colours, markers and a style that leaves matplotlib's own settings alone.

Colours are Okabe and Ito's, told apart with any colour vision, and never the only carrier: series are also
named directly and differ in marker. Figures have their own light ground, so they read on a dark page and in
print alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "D", "^", "v", "P")
INK, SOFT, FAINT = "#1f2328", "#646c76", "#d5d9de"
STYLE: dict[str, Any] = {
    "font.size": 9.5, "font.family": "sans-serif", "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": SOFT, "xtick.color": SOFT, "ytick.color": INK, "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlesize": 10.5, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "svg.fonttype": "path", "svg.hashsalt": "idfer",
    "text.parse_math": False,  # names may hold a $
}  # fmt: skip


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a function under the report's style, leaving matplotlib's settings as they were."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        import matplotlib

        style: Any = STYLE
        with matplotlib.rc_context(style):
            return draw(*args, **kwargs)

    return inside


def text(value: float) -> str:
    """Two digits and a real minus sign; -0.00 is 0.00."""
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")


def number(value: float | None, places: int = 2, signed: bool = False) -> str:
    """A number for a table: "0.41", with a true minus sign; "n/a" where there is none."""
    if value is None or value != value:
        return "n/a"
    text = f"{value:+.{places}f}" if signed else f"{value:.{places}f}"
    if float(text) == 0:
        text = text.replace("-", "+" if signed else "")
    return text.replace("-", "−")


def grid(axis: Axes) -> None:
    """Faint vertical lines behind the data, and no ticks."""
    axis.grid(axis="x", color=FAINT, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(length=0)


def handle(colour: str, marker: str, label: str) -> Any:
    """A legend entry."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, linestyle="none", label=label)


def legend_below(axis: Axes, handles: Any, columns: int, inches: float = 0.72) -> None:
    """Marks under an axis, below as many inches of tick labels and text."""
    from matplotlib.transforms import ScaledTranslation

    below = axis.transAxes + ScaledTranslation(0, -inches, axis.figure.dpi_scale_trans)
    axis.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, ncols=columns,
        frameon=False, fontsize=8.5, handletextpad=0.1, columnspacing=1,
    )  # fmt: skip


def legend_outside(figure: Figure, handles: Sequence[Any], columns: int) -> None:
    """Marks below all axes of a constrained layout, in as many columns as fit, at most `columns`."""
    for count in range(min(len(handles), columns), 0, -1):
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=count, frameon=False)
        if count == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()
