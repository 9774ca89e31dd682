"""What the rows of `idfer benchmark mi` say: a table, sentences that the numbers bear out, and a figure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.catalogue import BOUNDS
from idfer.reporting.style import COLOURS, FAINT, INK, MARKERS, SOFT, grid, handle, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = dict[str, Any]
_NAMES = {
    "barber_agakov": "Barber-Agakov",
    "infonce": "InfoNCE",
    "nwj": "NWJ",
    "mine": "MINE",
    "jsd": "JSD",
    "smile": "SMILE",
    "club": "CLUB",
    "club_sampled": "CLUB, sampled",
    "l1out": "leave-one-out",
}


def markdown(rows: list[Row], command: str, batch_size: int) -> str:
    """The table per estimator and dimension, one of all rows' means, and what they show.

    Args:
        rows: of mi.json.
        command: that made them.
        batch_size: of the batches.
    """
    names, amounts = _ordered(rows, "estimator"), sorted({r["mi"] for r in rows})
    transforms = _ordered(rows, "transform")
    lines = [
        f"`{command}`",
        "",
        "Estimates in nats of a known mutual information; ± is the standard deviation between batches of "
        f"{batch_size} samples, the mean over transforms ({', '.join(transforms)}). ms: fitting "
        "and estimating, per task, of one CPU core (wall clock on a GPU).",
        "",
        "| estimator | bound | d | " + " | ".join(f"I = {a:g}" for a in amounts) + " | mean error | ms |",
        "|" + "---|" * (5 + len(amounts)),
    ]
    for name in names:
        for d in sorted({r["d"] for r in rows}):
            part = [r for r in rows if (r["estimator"], r["d"]) == (name, d)]
            if part:
                cells = [_cell([r for r in part if r["mi"] == a]) for a in amounts]
                error, seconds = _mean(part, "error"), _mean(part, "seconds")
                bound = BOUNDS[name]
                lines.append(
                    f"| {name} | {bound} | {d} | "
                    + " | ".join(cells)
                    + f" | {error:+.2f} | {1000 * seconds:.0f} |"
                )
    lines += [
        "",
        "Mean error by transform, over all dimensions and amounts:",
        "",
        "| estimator | " + " | ".join(transforms) + " |",
        "|" + "---|" * (1 + len(transforms)),
    ]
    for name in names:
        parts = [[r for r in rows if (r["estimator"], r["transform"]) == (name, t)] for t in transforms]
        lines.append(f"| {name} | " + " | ".join(f"{_mean(p, 'error'):+.2f}" for p in parts) + " |")
    said = [text for find in _FINDINGS if (text := find(rows, batch_size))]
    return "\n".join([*lines, "", *said]) if said else "\n".join(lines)


def _saturation(rows: list[Row], batch_size: int) -> str:
    part, most = _of(rows, "infonce"), math.log(batch_size)
    beyond = [r for r in part if r["mi"] > most]
    if not beyond or not 0.8 * most < max(r["estimate"] for r in part) <= most:
        return ""
    return (
        f"- InfoNCE saturates: log {batch_size} = {most:.2f} nats is its ceiling; its largest estimate is "
        f"{max(r['estimate'] for r in part):.2f}, where up to {max(r['mi'] for r in beyond):g} are true."
    )


def _variance(rows: list[Row], batch_size: int) -> str:
    spreads = []
    for name in ("nwj", "mine"):
        few = [r["deviation"] for r in _of(rows, name) if 0 < r["mi"] <= 2]
        many = [r["deviation"] for r in _of(rows, name) if r["mi"] >= 8]
        if few and many and np.mean(many) > 2 * np.mean(few):
            spreads.append(f"{name} from {np.mean(few):.2f} (I <= 2) to {np.mean(many):.2f} nats (I >= 8)")
    return f"- Variance grows with I: between batches {' and '.join(spreads)}." if spreads else ""


def _overshoot(rows: list[Row], batch_size: int) -> str:
    part = [r for r in _of(rows, "club") if r["transform"] == "none" and r["mi"] > 0]
    over = [r for r in part if r["estimate"] > 1.5 * r["mi"]]
    if not over:
        return ""
    worst = max(over, key=lambda r: r["estimate"] / r["mi"])
    exact = worst["d"] * math.expm1(2 * worst["mi"] / worst["d"])
    return (
        f"- CLUB overshoots: on {len(over)} of {len(part)} Gaussian tasks it is over 1.5 times the truth, at "
        f"worst {worst['estimate']:.0f} nats for {worst['mi']:g} (d = {worst['d']}). The bound itself is so: "
        f"with the true q it is d ρ²/(1 - ρ²), {exact:.3g} nats there; a bounded variance of q cuts it short."
    )


def _broken(rows: list[Row], batch_size: int) -> str:
    failures = []
    for name in _bounding("upper"):
        part = [r for r in _of(rows, name) if r["mi"] > 0]
        below = [r for r in part if r["error"] < -0.1 * max(1.0, r["mi"])]
        if below:
            shapes = ", ".join(_ordered(below, "transform"))
            failures.append(f"{name} on {len(below)} of {len(part)} tasks with I > 0 ({shapes})")
    if not failures:
        return ""
    return (
        "- An upper bound with a fitted Gaussian q is none where q does not fit: more than 10 % (and 0.1 "
        f"nats) below the truth were {'; '.join(failures)}."
    )


def _above(rows: list[Row], batch_size: int) -> str:
    failures = []
    for name in _bounding("lower"):
        above = [r for r in _of(rows, name) if r["error"] > 0.1]
        if above:
            most = max(above, key=lambda r: r["error"])
            failures.append(f"{name} on {len(above)} (at most {most['error']:+.2f}, {most['transform']})")
    if not failures:
        return "- No lower bound exceeded the truth by more than 0.1 nats on any task."
    return f"- Lower bounds more than 0.1 nats above the truth: {'; '.join(failures)}."


def _missed(rows: list[Row], batch_size: int) -> str:
    lower = [r for r in rows if BOUNDS[r["estimator"]] == "lower" and r["mi"] > 0]
    if not lower:
        return ""
    share = {
        t: float(np.mean([r["estimate"] / r["mi"] for r in lower if r["transform"] == t]))
        for t in _ordered(lower, "transform")
    }
    least = min(share, key=lambda t: share[t])
    if share[least] > 0.7:
        return ""
    return (
        f"- Hardest for the lower bounds is {least}: they find {100 * share[least]:.0f} % of the truth there "
        "on average. A low estimate is no proof of a low mutual information."
    )


_FINDINGS: list[Callable[[list[Row], int], str]] = [
    _saturation, _variance, _above, _missed, _overshoot, _broken,
]  # fmt: skip


@styled
def figure(rows: list[Row], batch_size: int) -> Figure:
    """Estimate against truth: a panel per estimator, a colour per dimension.

    Strong lines are the Gaussian (or first) transform, faint ones the others.

    Args:
        rows: of mi.json.
        batch_size: of the batches; its logarithm is InfoNCE's ceiling.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, dims = _ordered(rows, "estimator"), sorted({r["d"] for r in rows})
    most = max(1.0, *(r["mi"] for r in rows))
    columns = min(3, len(names))
    high = math.ceil(len(names) / columns)
    drawn = Figure(figsize=(3.3 * columns, 2.75 * high + 1.0), layout="constrained", facecolor="white")
    FigureCanvasAgg(drawn)
    axes = drawn.subplots(high, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axis, name in zip(axes, names, strict=False):
        _panel(axis, _of(rows, name), dims, most)
        axis.set_title(_NAMES[name], loc="left")
        kind = f"{BOUNDS[name]} bound"
        axis.set_title(kind, loc="right", fontsize=8.5, color=SOFT, fontweight="normal")
        if name == "infonce" and math.log(batch_size) < 1.4 * most:
            axis.axhline(math.log(batch_size), color=SOFT, linewidth=1, linestyle=":")
            axis.text(0, math.log(batch_size) + 0.15, f"log {batch_size}", color=SOFT, fontsize=8.5)
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(names) - columns) : len(names)]:
        axis.set_xlabel("true mutual information (nats)")
        axis.tick_params(labelbottom=True)  # the last row may be a short one
    drawn.supylabel("estimate (nats)", fontsize=9.5)
    handles = [
        handle(COLOURS[i % 6], MARKERS[i % 6], f"{d} dimension{'s' * (d > 1)}") for i, d in enumerate(dims)
    ]
    drawn.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, title_fontsize=9,
        title="dashed: the truth  ·  strong: Gaussian  ·  faint: the same information in other shapes",
    )  # fmt: skip
    return drawn


def _panel(axis: Axes, rows: list[Row], dims: list[int], most: float) -> None:
    transforms = _ordered(rows, "transform")
    low, top = -0.18 * most, 1.42 * most
    axis.plot([0, most], [0, most], color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=2)
    for i, d in enumerate(dims):
        for transform in reversed(transforms):
            part = [r for r in rows if (r["d"], r["transform"]) == (d, transform)]
            amounts = sorted({r["mi"] for r in part})
            values = [_mean([r for r in part if r["mi"] == a], "estimate") for a in amounts]
            strong = transform == transforms[0]
            axis.plot(
                amounts, values, color=COLOURS[i % 6], linewidth=1.8 if strong else 0.8,
                alpha=1.0 if strong else 0.4, marker=MARKERS[i % 6] if strong else None, markersize=4.5,
                markeredgecolor="white", markeredgewidth=0.5, zorder=4 if strong else 3,
            )  # fmt: skip
    axis.set(xlim=(-0.03 * most, 1.03 * most), ylim=(low, top))
    axis.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
    grid(axis)


def _ordered(rows: list[Row], key: str) -> list[Any]:
    return list(dict.fromkeys(r[key] for r in rows))


def _of(rows: list[Row], estimator: str) -> list[Row]:
    return [r for r in rows if r["estimator"] == estimator]


def _mean(rows: list[Row], key: str) -> float:
    return float(np.mean([r[key] for r in rows])) if rows else math.nan


def _cell(rows: list[Row]) -> str:
    value, deviation = _mean(rows, "estimate"), _mean(rows, "deviation")
    return f"{value:.0f} ± {deviation:.0f}" if abs(value) >= 100 else f"{value:.2f} ± {deviation:.2f}"


def _bounding(bound: str) -> list[str]:
    """Estimators that bound the information from this side."""
    return [name for name, side in BOUNDS.items() if side == bound]
