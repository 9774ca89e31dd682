"""Targets of `benchmark shift`, set before it was run, and what the numbers say of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from idfer.catalogue import DEFAULT_METHOD as OURS
from idfer.experiments.measures import (
    DIMENSIONS,
    LEAKS,
    MEASURES,
    SHORTCUT_EFFECTS,
    SHORTCUTS,
    Rows,
    compared,
    estimate,
    gap_closed,
)
from idfer.experiments.measuring import ATTACHED, ATTRIBUTES, DETACHED
from idfer.experiments.protocol import ORACLE
from idfer.experiments.scores import names_of, rows_of
from idfer.experiments.statistics import LEVEL
from idfer.experiments.tables import interval_text

CONVERGED = 16  # epochs from which a longer training is held to the goals at convergence
GAINS = {"reversed_ccc": (0.15, 0.10), "balanced_ccc": (0.05, 0.03)}  # relative; first length, convergence
GAP_CLOSED, EFFECT, EFFECT_SHARE, PERSON, NATS = 0.75, 0.03, 0.15, 1.2, 1.8
LEAK_SHARES = {"gender": 0.2, "age": 0.2, "skin": 0.2, "identity": 0.3}
ATTACHED_LOSS, ATTACHED_EFFECT, OTHERS_MOVE = 0.01, 0.6, 0.03


@dataclass(frozen=True)
class Target:
    """A goal and what came of it.

    Attributes:
        epochs: length of training.
        goal: in words, with its limit.
        found: the numbers.
        met: None where they were not measured.
    """

    epochs: int
    goal: str
    found: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """In words."""
        return "not measured" if self.met is None else "met" if self.met else "not met"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def targets(
    lengths: Mapping[int, Rows], runner_up: Mapping[int, Sequence[Mapping[str, Any]]]
) -> list[Target]:
    """Every target at every length; none without idfer.

    Args:
        lengths: rows by number of epochs, ascending.
        runner_up: by number of epochs, idfer against the best baseline per measure (`comparisons`).
    """
    found = []
    for place, (epochs, rows) in enumerate(lengths.items()):
        if OURS not in names_of(rows):
            continue
        converged = place > 0 and epochs >= CONVERGED
        found += [Target(epochs, *line) for line in _gains(runner_up[epochs], converged)]
        found += [Target(epochs, *line) for line in (_gap(rows), *_effects(rows), _person(rows))]
        found += [Target(epochs, *line) for line in (_nats(rows), *_leaks(rows), *_attached(rows))]
    return found


Line = tuple[str, str, bool | None]


def _line(goal: str, found: str, met: bool, *measured: float) -> Line:
    """A target, not measured where a number is missing."""
    if not np.isfinite(measured).all():
        return goal, "-", None
    return goal, found, bool(met)


def _gains(runner_up: Sequence[Mapping[str, Any]], converged: bool) -> list[Line]:
    by_measure = {line["measure"]: line for line in runner_up}
    lines: list[Line] = []
    for measure, limits in GAINS.items():
        limit, line = limits[converged], by_measure.get(measure)
        goal = f"{MEASURES[measure].title}: {limit:+.0%} or more on the best baseline, Holm-corrected"
        if line is None:
            lines.append((goal, "-", None))
            continue
        said = f"{line['relative']:+.1%} on {line['second']}, corrected p {line['p_holm']:.2g}"
        met = line["relative"] >= limit and line["p_holm"] < 1 - LEVEL
        lines.append(_line(goal, said, met, line["relative"], line["p_holm"]))
    return lines


def _mean(rows: Rows, name: str, measure: str) -> float:
    return estimate(rows, name, measure).value if name in names_of(rows) else np.nan


def _gap(rows: Rows) -> Line:
    value = gap_closed(rows, OURS).value
    return _line(f"gap closed: {GAP_CLOSED} or more", f"{value:.2f}", value >= GAP_CLOSED, value)


def _effects(rows: Rows) -> list[Line]:
    """Held to the goal is the size of the mean: a bias that seeds share.

    The sizes per seed, beside it, do not cancel where seeds err either way, and hold what chance adds too.
    """
    lines = []
    for measure in SHORTCUT_EFFECTS:
        mean, erm = estimate(rows, OURS, measure), _mean(rows, "erm", measure)
        size = float(compared(rows, OURS, measure).mean())
        goal = f"{MEASURES[measure].title}: |mean| at most {EFFECT} and {EFFECT_SHARE} of ERM's, detached"
        met = abs(mean.value) <= EFFECT and abs(mean.value) <= EFFECT_SHARE * abs(erm)
        said = f"{interval_text(mean, 3, '+')}, mean size per seed {size:.3f}; ERM {erm:+.3f}"
        lines.append(_line(goal, said, met, mean.value, erm))
    return lines


def _person(rows: Rows) -> Line:
    ours, oracle = _mean(rows, OURS, "person_ratio"), _mean(rows, ORACLE, "person_ratio")
    goal = f"person over expression: at most {PERSON} of the oracle's"
    return _line(goal, f"{ours:.3f}; oracle {oracle:.3f}", ours <= PERSON * oracle, ours, oracle)


def _nats(rows: Rows) -> Line:
    ours = _mean(rows, OURS, "residual_nats")
    return _line(f"residual: at most {NATS} nats", f"{ours:.2f}", ours <= NATS, ours)


def _leaks(rows: Rows) -> list[Line]:
    lines = []
    for leak in LEAKS:
        target = leak.removeprefix("leak_")
        measure, share = f"leak_mean_{target}", LEAK_SHARES[target]
        ours, erm = _mean(rows, OURS, measure), _mean(rows, "erm", measure)
        goal = f"leak of {target} from the mean: at most {share} of ERM's"
        lines.append(_line(goal, f"{ours:.2f}; ERM {erm:.2f}", ours <= share * erm, ours, erm))
    return lines


def effect(rows: Rows, name: str, attribute: str, dimension: str, feature: str) -> float:
    """Mean over seeds of an attribute's effect with something attached; nan where not measured."""
    by_seed = [row.value("effect", dimension, attribute, feature) for row in rows_of(rows, name)]
    return float(np.mean(by_seed)) if by_seed else np.nan


def _attached(rows: Rows) -> list[Line]:
    ours, erm = _mean(rows, OURS, "attached_matched_ccc"), _mean(rows, "erm", "matched_ccc")
    goal = f"all attached, CCC matched: ERM's less {ATTACHED_LOSS} or more"
    lines = [_line(goal, f"{ours:.3f}; ERM {erm:.3f}", ours >= erm - ATTACHED_LOSS, ours, erm)]
    for attribute, dimension in SHORTCUTS.items():
        alone = effect(rows, OURS, attribute, dimension, f"{ATTACHED} {attribute}")
        of_erm = effect(rows, "erm", attribute, dimension, DETACHED)
        moved = [
            effect(rows, OURS, other, moves, f"{ATTACHED} {attribute}")
            - effect(rows, OURS, other, moves, DETACHED)
            for other in ATTRIBUTES
            for moves in DIMENSIONS
            if (other, moves) != (attribute, dimension)
        ]
        most = float(np.abs(moved).max())  # nan where one was not measured
        goal = (
            f"{attribute} attached alone: its effect on {dimension} {ATTACHED_EFFECT} of ERM's or more, "
            f"every other of {', '.join(ATTRIBUTES)} on {' and '.join(DIMENSIONS)} moved by {OTHERS_MOVE} or "
            "less"
        )
        met = alone * np.sign(of_erm) >= ATTACHED_EFFECT * abs(of_erm) and most <= OTHERS_MOVE
        said = f"{alone:+.3f}; ERM {of_erm:+.3f}; moved most {most:.3f}"
        lines.append(_line(goal, said, met, alone, of_erm, most))
    return lines
