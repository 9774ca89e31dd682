"""The full cross: everybody shows the same expressions in the same photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from idfer.errors import UsageError
from idfer.evaluation.anova import layout
from idfer.synthetic.circumplex import action_units
from idfer.synthetic.cross import SPLIT, cross, full_cross
from idfer.synthetic.dataset import synth
from idfer.synthetic.factors import EXPRESSION, IDENTITY, NUISANCE, sample
from idfer.synthetic.render import render

PEOPLE, SHOWN = 5, 7


def grid(faces: object, name: str) -> torch.Tensor:
    return getattr(faces, name).reshape(PEOPLE, SHOWN)


def test_a_row_is_one_person_and_a_column_one_expression_in_one_photograph() -> None:
    faces = cross(PEOPLE, SHOWN, seed=3)
    for name in IDENTITY:
        assert (grid(faces, name) == grid(faces, name)[:, :1]).all(), name
    for name in (*EXPRESSION, *NUISANCE):
        assert (grid(faces, name) == grid(faces, name)[:1]).all(), name
    people = sample(PEOPLE, 4, seed=3).rows(slice(None, None, 4))
    for name in IDENTITY:
        assert torch.equal(grid(faces, name)[:, 0], getattr(people, name)), name
    assert len(set(grid(faces, "noise_seed")[0].tolist())) == SHOWN  # another photograph each
    assert (faces.occlusion == 0).all()


def test_expressions_are_those_of_their_labels_whoever_shows_them() -> None:
    faces = cross(2, 40, seed=1)
    first = faces.rows(slice(0, 40))
    units = action_units(first.valence.numpy(), first.arousal.numpy(), first.dominance.numpy())
    for au, intensity in units.items():
        np.testing.assert_allclose(getattr(first, f"au{au}"), intensity, atol=1e-6)
    assert (faces.lopsided == 0).all()
    more = cross(4, 40, seed=1).rows(slice(0, 80))  # more people change neither people nor expressions
    assert all(torch.equal(getattr(more, name), getattr(faces, name)) for name in faces.names())


def test_labels_fill_their_range_evenly_and_differ_by_seed() -> None:
    first, second = (cross(2, 20, seed=seed).rows(slice(0, 20)) for seed in (1, 2))
    for label in ("valence", "arousal"):
        values = getattr(first, label).numpy()
        assert sorted(np.floor((values + 1) * 10).astype(int)) == list(range(20)), "one in each twentieth"
        assert not np.allclose(np.sort(values), np.sort(getattr(second, label).numpy()))
    assert abs(np.corrcoef(first.valence, first.arousal)[0, 1]) < 0.7


def test_the_pixels_of_a_column_differ_by_the_person_alone() -> None:
    faces = cross(2, 3, seed=0)
    alike = full_cross(faces.rows([0, 0]), faces.rows([0, 1, 2]))  # one person twice
    images = render(alike, 32)
    assert torch.equal(images[:3], images[3:])
    assert not torch.equal(*render(faces, 32)[[0, 3]])


def test_what_is_no_cross_is_not_taken_for_one() -> None:
    table = cross(3, 4, seed=0).frame()
    assert (np.sort(layout(table)) == np.arange(12).reshape(3, 4)).all()
    shuffled = table.sample(frac=1, random_state=0)
    cells = layout(shuffled)
    assert cells is not None
    assert (shuffled.iloc[cells[:, 2]]["factor.identity"].to_numpy() == [0, 1, 2]).all()
    assert shuffled.iloc[cells[1]]["factor.identity"].nunique() == 1
    for wrong in (
        sample(3, 4, seed=0).frame(),  # everybody's own expressions
        table.iloc[:-1],  # a face is missing
        table.iloc[[*range(11), 0]],  # one is there twice
        table.iloc[:4],  # one person
        table.iloc[::4],  # one expression
        table.assign(**{"factor.yaw": np.arange(12.0)}),  # other photographs
        table.drop(columns="factor.yaw"),
        table.iloc[:0],
    ):
        assert layout(wrong) is None


def test_synth_writes_a_cross_that_reads_back_as_one(tmp_path: Path) -> None:
    made = synth(tmp_path / "out", 3, 4, 16, seed=2, cross=True, progress=False)
    assert made.splits == [SPLIT]
    assert layout(type(made).read(tmp_path / "out").frame) is not None
    named = synth(tmp_path / "out", 3, 4, 16, seed=2, split="test", cross=True, progress=False)
    assert named.splits == ["test"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"identities": 1, "per_identity": 4}, "people is 1; a cross needs 2 people"),
        ({"identities": 4, "per_identity": 1}, "expressions is 1"),
        ({"identities": 4, "per_identity": 4, "correlation": "age:valence=0.5"}, "leave --correlation out"),
    ],
)
def test_a_cross_that_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        synth(tmp_path / "out", cross=True, progress=False, **wrong)
    assert not (tmp_path / "out").exists()
