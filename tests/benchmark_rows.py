"""Rows of a benchmark as its trials would give them, with numbers of one's own choosing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from idfer.experiments.measures import MEASURES
from idfer.experiments.scores import Row, Score

SAMPLED = ("rate", "residual_nats", "sampled_balanced_ccc", "attached_matched_ccc")


def rows_of_measures(
    levels: Mapping[str, Mapping[str, float]], seeds: Sequence[int] = (1, 2, 3), spread: float = 0.001
) -> list[Row]:
    """Per method and seed a row: {method: {measure: value}}; a seed s adds `spread` times s to each CCC.

    What is not given is 0.5; what only a method with a budget has is left out unless given.
    """
    rows = []
    for name, given in levels.items():
        wanted = [measure for measure in MEASURES if measure in given or measure not in SAMPLED]
        for seed in seeds:
            scores = [
                Score(
                    value=given.get(measure, 0.5) + spread * seed * measure.endswith("ccc"),
                    **MEASURES[measure].score,
                )
                for measure in wanted
            ]
            rows.append(Row(name, seed, scores))
    return rows
