"""Counterfactual pairs change the person and nothing else; drift is what a hand-made network makes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from idfer.data.manifest import Manifest
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError, UsageError
from idfer.evaluation.counterfactual import check_pairs, drift, drift_of, other_people
from idfer.experiments.protocol import (
    CHANGED,
    CROSS,
    ORACLE,
    PROBED,
    SHIFTED,
    Protocol,
    write,
    write_world,
)
from idfer.models.network import Network
from idfer.synthetic.factors import EXPRESSION, IDENTITY, NUISANCE, sample
from idfer.training.checkpoint import Checkpoint
from idfer.types import Outputs

from runs import record_of

TINY = Protocol(train=(3, 2), val=(2, 2), test=(12, 3), cross=(4, 2), probed=(4, 2), size=32)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:
    return write_world(TINY, tmp_path_factory.mktemp("world"), seed=4, progress=False)


def checkpoint(code: int = 0) -> Checkpoint:
    torch.manual_seed(0)
    network = Network("conv4", 32, dim=8, code=code).eval()
    preprocess = Preprocess(32, 0.0, mean=(0.5,) * 3, std=(0.5,) * 3)
    return Checkpoint(network, record_of("conv4", [], 8, preprocess, code=code), "hand", Path("hand"))


def test_other_people_changes_the_person_and_nothing_else() -> None:
    faces = sample(5, 8, seed=3)
    changed = other_people(faces, seed=0)
    for name in (*EXPRESSION, *NUISANCE):
        assert torch.equal(getattr(faces, name), getattr(changed, name)), name
    assert not (faces.identity == changed.identity).any()
    for row in range(len(faces)):  # a whole person, not a mixture
        giver = faces.rows([int(np.flatnonzero(faces.identity == changed.identity[row])[0])])
        assert all(getattr(giver, n)[0] == getattr(changed, n)[row] for n in IDENTITY)
    assert len(set(changed.identity[:8].tolist())) > 1  # one person's faces go to several
    assert torch.equal(other_people(faces, seed=0).identity, changed.identity)
    with pytest.raises(UsageError, match="two people"):
        other_people(sample(1, 3))


def test_a_world_holds_the_demos_faces_the_pairs_and_an_oracle_of_the_same_people(
    world: dict[str, Manifest], tmp_path: Path
) -> None:
    shifted, oracle = world[SHIFTED], world[ORACLE]
    demo = write(TINY, tmp_path / "demo", seed=4, progress=False)
    assert demo.splits == ["train", "val", "matched", "balanced", "reversed"]
    assert shifted.splits == [*demo.splits, CHANGED, CROSS, PROBED]
    same = shifted.select(demo.splits).frame.drop(columns="caption")
    assert same.equals(demo.frame.drop(columns="caption"))
    check_pairs(shifted.select("balanced"), shifted.select(CHANGED))
    for split in ("train", "val"):
        first, second = shifted.select(split), oracle.select(split)
        assert first.frame["subject"].equals(second.frame["subject"])
        assert first.frame["factor.yaw"].equals(second.frame["factor.yaw"])
        assert not np.allclose(first.targets, second.targets)


def test_drift_by_hand() -> None:
    first = np.array([[0.0, 0.0], [0.5, 0.5], [1.0, 0.0], [0.2, 0.2]])
    second = first + np.array([[0.1, -0.3], [0.0, 0.2], [0.0, 0.0], [0.4, 0.4]])
    found = drift_of(first, second, ["a", "a", "b", "b"])
    assert found.value == pytest.approx((0.2 + 0.1 + 0.0 + 0.4) / 4)
    assert found.low <= found.value <= found.high
    assert np.isnan(drift_of(first, second, ["a"] * 4).low)
    with pytest.raises(IdferError, match="wanted \\(N, 2\\) twice"):
        drift_of(first, second[:3], ["a"] * 4)


def test_drift_of_networks_whose_answer_is_known(world: dict[str, Manifest]) -> None:
    pairs = world[SHIFTED].select("balanced"), world[SHIFTED].select(CHANGED)
    blind = checkpoint()
    torch.nn.init.zeros_(blind.network.head[2].weight)  # says the same of every face
    assert drift(blind, *pairs).value == 0
    seeing = checkpoint()
    torch.nn.init.constant_(seeing.network.head[2].weight, 3.0)
    found = drift(seeing, *pairs)
    assert 0 < found.low < found.value < found.high


class Turncoat:
    """Says one thing of the first `count` faces that it sees and another of the rest."""

    name, attributes, preprocess = "turncoat", (), Preprocess(8)

    def __init__(self, count: int, moved: tuple[float, float]):
        self.left, self.moved = count, np.array(moved)

    def predict(self, crops: np.ndarray, strength: object = None) -> Outputs:
        after = np.arange(len(crops)) >= self.left
        self.left -= len(crops)
        return Outputs(0.2 + after[:, None] * self.moved)


def test_drift_is_the_mean_size_of_the_change_whichever_way_it_goes(world: dict[str, Manifest]) -> None:
    """A rise of .4 in valence and a fall of .2 in arousal on every face: .3, and no doubt about it."""
    pairs = world[SHIFTED].select("balanced"), world[SHIFTED].select(CHANGED)
    found = drift(Turncoat(len(pairs[0]), (0.4, -0.2)), *pairs)
    assert [found.value, found.low, found.high] == pytest.approx([0.3] * 3)
    assert drift(Turncoat(10**6, (0.4, -0.2)), *pairs).value == 0


def test_what_is_no_pair_is_refused(world: dict[str, Manifest]) -> None:
    faces = world[SHIFTED].select("balanced")
    with pytest.raises(IdferError, match="row 0 shows the same person"):
        check_pairs(faces, faces)
    with pytest.raises(IdferError, match="row 0 shows another expression"):
        check_pairs(faces, world[SHIFTED].select("matched"))
    with pytest.raises(IdferError, match="36 faces for 4"):
        check_pairs(faces, world[SHIFTED].select("val"))
