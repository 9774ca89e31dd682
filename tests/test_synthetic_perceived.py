"""What a face shows, from its action units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from idfer.data.manifest import Manifest
from idfer.errors import IdferError
from idfer.synthetic import circumplex, variety
from idfer.synthetic.dataset import synth
from idfer.synthetic.perceived import (
    AROUSAL,
    LABEL_SOURCE,
    VALENCE,
    as_perceived,
    baring_teeth,
    perceived,
    smiling,
)


def of(emotion: str) -> tuple[float, float]:
    """Valence and arousal that the prototype of an emotion shows."""
    units = circumplex.PROTOTYPES[emotion]
    valence, arousal = perceived({au: np.array([units.get(au, 0.0)]) for au in circumplex.AUS})[0]
    return float(valence), float(arousal)


def test_a_face_that_shows_nothing_is_neutral_and_full_expressions_stay_in_range() -> None:
    assert of("neutral") == (0.0, 0.0)
    every = {au: np.ones(1) for au in VALENCE} | {au: np.ones(1) for au in AROUSAL}
    assert np.abs(perceived(every)).max() <= 1


def test_prototypes_are_perceived_as_they_are_meant() -> None:
    assert of("elated")[0] > of("happy")[0] > of("pleased")[0] > 0.3
    for emotion in ("sad", "angry", "fearful", "disgusted", "miserable", "furious", "terrified"):
        assert of(emotion)[0] < -0.2, emotion
    assert of("astonished")[1] > of("surprised")[1] > of("alert")[1] > 0.2
    assert of("drowsy")[1] < of("calm")[1] < 0


def test_faces_show_nearly_what_they_mean_the_less_so_the_more_varied() -> None:
    rng = np.random.default_rng(0)
    meant = rng.uniform(-1, 1, (2000, 2))
    shares = []
    for kind in ("plain", "wide"):
        units = variety.action_units(kind, meant[:, 0], meant[:, 1], rng.uniform(-1, 1, 2000), seed=3)
        shares.append([np.corrcoef(perceived(units)[:, k], meant[:, k])[0, 1] for k in (0, 1)])
    plain, wide = np.array(shares)
    assert (plain > 0.75).all() and (wide > 0.7).all()
    assert wide[0] < plain[0]


@pytest.mark.parametrize(
    ("units", "bared"),
    [({25: 0.5, 26: 0.3}, True), ({25: 0.5, 4: 0.6}, True), ({}, False), ({25: 0.5, 12: 0.8}, False)],
)
def test_teeth_are_bared_where_they_show_without_a_smile(units: dict[int, float], bared: bool) -> None:
    columns = {f"factor.au{au}": [units.get(au, 0.0)] for au in circumplex.AUS}
    shown = Manifest(pd.DataFrame({"path": ["a.png"], "valence": [0.0], "arousal": [0.0], **columns}), Path())
    assert baring_teeth(shown).tolist() == [bared]
    assert not (baring_teeth(shown) & smiling(shown)).any()


def test_labels_of_a_manifest_become_what_its_faces_show(tmp_path: Path) -> None:
    drawn = synth(tmp_path / "faces", 3, 2, 32, variety="wide", progress=False)
    shown = as_perceived(drawn)
    assert (shown.frame["label_source"] == LABEL_SOURCE).all() and shown.synthetic
    units = {au: drawn.frame[f"factor.au{au}"].to_numpy(float) for au in circumplex.AUS}
    np.testing.assert_allclose(shown.targets, perceived(units), atol=1e-6)
    assert (shown.frame["factor.valence"] == drawn.frame["factor.valence"]).all()
    lacking = Manifest(drawn.frame.drop(columns="factor.au9"), drawn.root)
    with pytest.raises(IdferError, match=r"'factor\.au9' is missing \(1 such\)"):
        as_perceived(lacking)
