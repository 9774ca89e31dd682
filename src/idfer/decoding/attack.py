"""What an attacker makes of expression features alone: identification from decoded faces and from themselves.

The attacker owns the run and the decoder and has photographs of everybody: the gallery, of which he takes the
feature's mean and draws. Of the unknown face he has the feature: its mean, one draw, or several draws that he
averages. See `idfer.decoding.identify` for how he guesses, and what a bad guess does not prove.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from idfer.decoding import edits
from idfer.decoding.identify import identification

if TYPE_CHECKING:
    from idfer.decoding.reading import Reading
    from idfer.models.decoder import Decoder
    from idfer.models.flow import Flow

DRAWS = 16  # of one face's sampled feature, averaged by an attacker who got them all


def attacked(
    decoder: Decoder | Flow,
    reading: Reading,
    neutral: edits.Pictures,
    person: NDArray[np.intp],
    probe: NDArray[np.bool_],
    seed: int,
) -> dict[str, float]:
    """Share of probes whose person is named at the first guess.

    Args:
        decoder: trained.
        reading: features of N faces.
        neutral: (N, S, S, 3) drawn of the mean expression features alone.
        person: (N,) whose each is.
        probe: (N,) which are unknown; the others are the gallery.
        seed: of draws.

    Returns:
        identify_mean, identify_sampled, identify_averaged: from faces decoded of the mean feature, of one
        draw, of the average of `DRAWS` draws; feature_mean, feature_sampled, feature_averaged: the same from
        the features themselves: a decoded face knows nothing that they do not.
    """
    whose, asked = person[~probe], person[probe]
    features = reading.expression.cpu().numpy()
    found = {
        "identify_mean": identification(neutral[~probe], whose, neutral[probe], asked),
        "feature_mean": identification(features[~probe], whose, features[probe], asked),
    }
    twice = np.concatenate([whose, whose])
    for name, draws in (("sampled", 1), ("averaged", DRAWS)):
        averaged = replace(reading, spread=reading.spread / draws**0.5)
        got = averaged.drawn(torch.Generator().manual_seed(seed))
        for what, mean, drawn in (
            ("identify", neutral, edits.draw(decoder, got, reading.identity, 0.0)),
            ("feature", features, got.cpu().numpy()),
        ):
            gallery = np.concatenate([mean[~probe], drawn[~probe]])
            found[f"{what}_{name}"] = identification(gallery, twice, drawn[probe], asked)
    return found
