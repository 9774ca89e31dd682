"""The rule: what it chooses, what that costs in hindsight, and that it sees through a shortcut."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from idfer.attributes.table import AttributeTable, retrieve
from idfer.data.manifest import Manifest
from idfer.errors import UsageError
from idfer.experiments.measuring import selection
from idfer.experiments.protocol import RHO, correlation
from idfer.experiments.scores import Row, Score
from idfer.experiments.seeds import lengths
from idfer.experiments.tuning import Tried, regret, select
from idfer.search import Range
from idfer.statistics.decorrelation import decorrelation_weights
from idfer.synthetic.dataset import write_splits
from idfer.synthetic.factors import sample
from idfer.training.settings import Settings


def test_the_rule_takes_the_best_mean_and_the_first_of_equals() -> None:
    assert select([[0.5, 0.7], [0.9, 0.4], [0.6, 0.6]]) == 1
    assert select([[0.5, 0.5], [0.5, 0.5]]) == 0
    assert (
        select([[float("nan"), 0.9], [0.1, 0.1]]) == 1
    )  # not defined on a seed: the model is constant there


def tried(lr: float, chosen: bool, *by_seed: tuple[float, float]) -> Tried:
    rows = [
        Row("erm", seed, [Score("ccc", b, "balanced", "mean"), Score("ccc", r, "reversed", "mean")])
        for seed, (b, r) in enumerate(by_seed)
    ]
    settings = Settings.of(method="erm", lr=lr)
    return Tried.of({"lr": lr}, settings, rows, chosen, {"lr": Range(0.001, 0.1)})


def test_regret_is_what_the_best_setting_in_hindsight_would_have_gained() -> None:
    settings = [
        tried(0.01, False, (0.7, 0.2), (0.8, 0.4)),
        tried(0.001, True, (0.6, 0.4), (0.7, 0.5)),
        tried(0.02, False, (0.1, float("nan")), (0.1, 0.9)),  # not defined on a seed: no best
    ]
    assert regret(settings) == pytest.approx({"balanced_ccc": 0.1, "reversed_ccc": 0.0})
    assert settings[1].edges == ["lr"]
    assert settings[0].edges == []
    assert settings[1].to_dict()["edges"] == ["lr"]
    assert settings[1].to_dict()["reversed_ccc"] == pytest.approx(0.45)


def test_a_default_at_an_edge_is_marked_though_nothing_was_drawn() -> None:
    settings = Settings.of(method="erm", lr=0.1)
    rows = [Row("erm", 1, [])]
    assert Tried.of({}, settings, rows, True, {"lr": Range(0.001, 0.1)}).edges == ["lr"]


def test_epochs_as_people_type_them() -> None:
    assert lengths("24,8,8") == lengths([8, 24]) == [8, 24]
    for bad in ("8,0", "8.5", "eight", "-1", ""):
        with pytest.raises(UsageError, match="--epochs"):
            lengths(bad)


def weighted_ccc(label: np.ndarray, said: np.ndarray, weights: np.ndarray) -> float:
    """By the definition, mean of both dimensions."""
    share = weights / weights.sum()
    found = []
    for a, b in zip(label.T, said.T, strict=True):
        ma, mb = share @ a, share @ b
        covariance = share @ ((a - ma) * (b - mb))
        found.append(2 * covariance / (share @ (a - ma) ** 2 + share @ (b - mb) ** 2 + (ma - mb) ** 2))
    return float(np.mean(found))


@pytest.mark.parametrize("noise", [1.0, 2.0, 4.0])
def test_averaging_a_persons_posteriors_ranks_the_blind_above_the_follower(noise: float) -> None:
    """Two readers of valence, which an attribute tells of: one blind to it, one that leans on it.

    Where the shortcut holds the follower is better. Retrieval is noisy per image, so weights from single
    images keep a part of the shortcut, and with it the follower's advantage.
    """
    lead: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        person = np.repeat(np.arange(60), 20)
        trait = rng.normal(size=60)[person]
        clean = np.stack(
            [RHO * trait + np.sqrt(1 - RHO**2) * rng.normal(size=1200), rng.normal(size=1200)], 1
        )
        labels = np.tanh(0.6 * clean)
        posterior = 1 / (1 + np.exp(-(2 * trait + noise * rng.normal(size=1200))))[:, None]
        error = rng.normal(size=labels.shape)
        blind = 0.8 * labels + 0.3 * error
        follower = blind.copy()
        follower[:, 0] = 0.55 * labels[:, 0] + 0.5 * np.tanh(0.6 * RHO * trait) + 0.2 * error[:, 0]
        ones = np.ones(1200)
        assert weighted_ccc(labels, follower, ones) > weighted_ccc(labels, blind, ones)
        for averaged, found in lead.items():
            weights = decorrelation_weights(labels, posterior, person, by_person=averaged, seed=seed).values
            found.append(weighted_ccc(labels, blind, weights) - weighted_ccc(labels, follower, weights))
    right = {averaged: np.mean(np.array(found) > 0) for averaged, found in lead.items()}
    assert right[True] >= 0.8
    assert right[True] >= right[False]
    assert np.mean(lead[True]) > np.mean(lead[False]) + 0.02


def test_posteriors_are_averaged_over_all_faces_of_a_person_and_of_nobody_else() -> None:
    rng = np.random.default_rng(0)
    labels, person = rng.normal(size=(120, 2)), np.repeat(np.arange(12), 10)
    posterior = rng.random((120, 2))
    means = np.stack([posterior[person == p].mean(0) for p in range(12)])[person]
    found = decorrelation_weights(labels, posterior, person, by_person=True).values
    np.testing.assert_allclose(found, decorrelation_weights(labels, means, person).values, rtol=1e-5)
    order = rng.permutation(120)
    shuffled = decorrelation_weights(labels[order], posterior[order], person[order], by_person=True).values
    np.testing.assert_allclose(shuffled, found[order], rtol=1e-4)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, AttributeTable]:
    """Drawn people under the shortcut, with attributes retrieved as in the benchmark."""
    folder = tmp_path_factory.mktemp("world")
    drawn = sample(40, 10, correlation(RHO), seed=2)
    faces = write_splits({"val": drawn}, folder / "faces", size=64, seed=2, progress=False)
    table = retrieve(faces, clip="builtin", out=folder / "t.parquet", device="cpu", progress=False)
    return faces, table


def test_selection_is_the_weighted_ccc_of_weights_from_averaged_posteriors(
    held_out: tuple[Manifest, AttributeTable],
) -> None:
    faces, table = held_out
    said = np.clip(
        0.7 * faces.targets + 0.2 * np.random.default_rng(1).normal(size=faces.targets.shape), -1, 1
    )
    scores = {score.key: score.value for score in selection(answers(said), faces, table, seed=5)}
    found = scores["selection", "", "", "", ""]
    weights = decorrelation_weights(faces.targets, table.free, faces.subjects, by_person=True, seed=5)
    assert found == pytest.approx(weighted_ccc(faces.targets, said, weights.values), abs=1e-6)
    assert scores["ccc", "val", "mean", "", ""] == pytest.approx(
        weighted_ccc(faces.targets, said, np.ones(len(said))), abs=1e-6
    )
    assert scores["effective", "val", "", "", ""] == pytest.approx(weights.effective / len(faces))


def test_on_drawn_faces_selection_sees_through_the_shortcut(
    held_out: tuple[Manifest, AttributeTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the shipped CLIP's own errors: a reader of age and gender presentation scores below a blind one.

    Made equally good where the shortcut holds, so that only the weights can tell them apart.
    """
    faces, table = held_out
    labels = faces.targets.astype(float)
    age, gender = (faces.frame[f"factor.{name}"].to_numpy(float) for name in ("age", "gender"))
    traits = np.stack([-(age - age.mean()) / age.std(), (gender - gender.mean()) / gender.std()], 1)
    follower = 0.55 * labels + 0.3 * 0.7 * traits * labels.std(0)
    ones = np.ones(len(faces))
    error = np.random.default_rng(0).normal(size=labels.shape)
    sizes = np.linspace(0, 1, 101)
    scores = [weighted_ccc(labels, 0.8 * labels + size * error, ones) for size in sizes]
    goal = weighted_ccc(labels, follower, ones)
    size = sizes[int(np.argmin(np.abs(np.array(scores) - goal)))]
    blind = 0.8 * labels + size * error

    def lead() -> float:
        chosen = [selection(answers(said), faces, table, seed=0)[0].value for said in (blind, follower)]
        assert None not in chosen
        return float(chosen[0]) - float(chosen[1])  # type: ignore[arg-type]

    averaged = lead()
    assert averaged > 0.02
    from idfer.statistics import decorrelation

    by_image = lambda *a, by_person, **k: decorrelation_weights(*a, **k)  # noqa: E731
    monkeypatch.setattr(decorrelation, "decorrelation_weights", by_image)
    assert averaged > lead()


def answers(said: np.ndarray) -> SimpleNamespace:
    """All that selection reads of `Answers`."""
    return SimpleNamespace(valence_arousal=said.astype(np.float64))
