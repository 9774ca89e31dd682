"""Attaching an attribute multiplies its evidence of the label in; detaching leaves it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import idfer
from idfer import AttributeTable, Manifest, UsageError
from idfer.models.evidence import Evidence
from idfer.models.network import Network
from idfer.statistics.label_evidence import LabelEvidence, label_evidence


def population(count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n, 2) and levels (n, 2, 3): valence follows the first attribute, arousal the second."""
    rng = np.random.default_rng(0)
    levels = np.zeros((count, 2, 3))
    first, second = rng.integers(0, 3, count), rng.integers(0, 2, count)
    levels[np.arange(count), 0, first] = 1
    levels[np.arange(count), 1, second] = 1  # two levels only: the third column stays 0
    labels = np.stack([0.3 * (first - 1), 0.4 * (second - 0.5)], 1) + 0.2 * rng.standard_normal((count, 2))
    return labels, levels


def known(fitted: LabelEvidence, levels: np.ndarray, weight: list[float]) -> torch.Tensor:
    """(n, A, 3) evidence of levels that are read without error, known to the degrees `weight`."""
    said = np.einsum("nak,akd->nad", levels - fitted.centre, fitted.slope)
    stacked = np.concatenate([said, np.ones_like(said[..., :1])], -1) * np.array(weight)[None, :, None]
    return torch.from_numpy(stacked).float()


def world(count: int = 200_000):
    """Two attributes that both tell of valence, the label, and an identity-free reading f with its error."""
    rng = np.random.default_rng(1)
    levels = np.zeros((count, 2, 2))
    first, second = rng.integers(0, 2, (2, count))
    levels[np.arange(count), 0, first], levels[np.arange(count), 1, second] = 1, 1
    shift = 0.4 * (first - 0.5) + 0.3 * (second - 0.5)
    labels = np.stack([shift + 0.25 * rng.standard_normal(count), rng.standard_normal(count)], 1)
    # what a face shows, and the posterior mean of one who knows the labels' distribution alone
    shown = labels[:, 0] + 0.3 * rng.standard_normal(count)
    variance = labels[:, 0].var()
    f = labels[:, 0].mean() + variance / (variance + 0.09) * (shown - labels[:, 0].mean())
    return levels, labels, np.stack([f, np.zeros(count)], 1)


@pytest.mark.parametrize("weight", [[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
def test_attached_is_what_is_known_of_the_label_given_face_and_attributes(weight: list[float]) -> None:
    """Among faces that look alike (f) and share the attached levels, ŷ is their mean label."""
    levels, labels, f = world()
    fitted = label_evidence(labels, levels, ridge=1e-6)
    module = Evidence((2, 2), 8)
    module.take(fitted)
    module.error.copy_(torch.from_numpy(np.square(f - labels).mean(0)))
    said = module.attached(torch.from_numpy(f).float(), known(fitted, levels, weight)).numpy()[:, 0]
    group = levels[:, 0, 1] * weight[0] + 2 * levels[:, 1, 1] * weight[1]
    for at in (-0.3, 0.0, 0.3):
        for which in np.unique(group):
            alike = (np.abs(f[:, 0] - at) < 0.05) & (group == which)
            assert said[alike].mean() == pytest.approx(labels[alike, 0].mean(), abs=0.02)


def test_levels_alone_give_the_mean_label_of_those_levels() -> None:
    """With f that says nothing (no error smaller than the labels' spread)."""
    labels, levels = population()
    fitted = label_evidence(labels, levels, ridge=1e-6)
    module = Evidence((3, 2), 8)
    module.take(fitted)
    nothing = torch.from_numpy(fitted.mean).float().expand(len(labels), 2)
    said = module.attached(nothing, known(fitted, levels, [1.0, 1.0])).numpy()
    for k in range(3):
        at = levels[:, 0, k] == 1
        assert said[at, 0].mean() == pytest.approx(labels[at, 0].mean(), abs=0.01)


def test_the_error_of_predictions_is_measured_under_weights() -> None:
    module, generator = Evidence((2,), 4), torch.Generator().manual_seed(0)
    for step in range(800):
        hard = (torch.rand(64, generator=generator) < 0.5).float()
        error = (0.2 + 0.4 * hard)[:, None] * torch.randn(64, 2, generator=generator)
        module.measure(error, torch.zeros(64, 2), 1 - hard, step)
        if step == 40:  # a short training keeps nothing of the error it began with
            assert module.error.sqrt().tolist() == pytest.approx([0.2, 0.2], rel=0.2)
    assert module.error.sqrt().tolist() == pytest.approx([0.2, 0.2], rel=0.1)


def test_an_attribute_without_a_say_has_no_evidence() -> None:
    labels, levels = population()
    fitted = label_evidence(labels, levels)
    assert (fitted.explained[1, 0], fitted.explained[0, 1]) == pytest.approx((0, 0), abs=1e-3)
    assert np.abs(fitted.slope[1, :, 0]).max() < 0.05 * np.abs(fitted.slope[0, :, 0]).max()


def test_labels_that_attributes_determine_stay_uncertain() -> None:
    _, levels = population()
    told = np.stack([levels[:, 0, 0], levels[:, 1, 0]], 1)
    fitted = label_evidence(told, levels)
    assert np.isfinite(fitted.slope).all()
    assert (fitted.left >= 0.049 * told.var(0)).all()


def evidence() -> Evidence:
    torch.manual_seed(0)
    module = Evidence((3, 2), 8)
    module.take(label_evidence(*population()))
    return module


def test_levels_that_do_not_exist_have_no_probability_and_no_gradient_trouble() -> None:
    module, identity = evidence(), torch.randn(4, 2, 8, requires_grad=True)
    levels = module.log_levels(identity).exp()
    assert levels[:, 1, 2].eq(0).all()
    torch.testing.assert_close(levels.sum(-1), torch.ones(4, 2))
    module(identity).sum().backward()
    assert torch.isfinite(identity.grad).all()


def network() -> Network:
    torch.manual_seed(0)
    made = Network("conv4", 32, ("age", "gender"), 16, code=4, levels=(3, 2)).eval()
    assert made.evidence is not None
    made.evidence.take(label_evidence(*population()))
    with torch.no_grad():
        made.evidence.weight.mul_(5)
        for norm in (m for m in made.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.running_var.mul_(0.5)
    return made


@torch.inference_mode()
def test_detached_is_what_the_head_reads_and_attached_is_something_else() -> None:
    model, image = network(), torch.randn(6, 3, 32, 32)
    out = model(image)
    torch.testing.assert_close(out.valence_arousal, model.head(out.mean).clamp(-1, 1))
    assert (model(image, detach=["gender"]).valence_arousal - out.valence_arousal).abs().max() > 1e-3


@torch.inference_mode()
def test_attaching_one_attribute_leaves_the_label_of_the_other_alone() -> None:
    model, image = network(), torch.randn(6, 3, 32, 32)
    moved = (model(image, detach=["age"]).valence_arousal - model(image).valence_arousal).abs().mean(0)
    assert moved[0] < 0.1 * moved[1]  # gender speaks of arousal only


@torch.inference_mode()
def test_half_a_strength_lies_between_and_a_face_swapped_with_itself_is_attached() -> None:
    model, image = network(), torch.randn(6, 3, 32, 32)
    none, half, all_of_it = (model(image, {"age": 1.0, "gender": m}).valence_arousal for m in (1.0, 0.5, 0.0))
    assert ((half - none) * (all_of_it - half) >= -1e-7).all()
    own = model.attachable(image) * torch.tensor([0.0, 1.0])[None, :, None]
    torch.testing.assert_close(model(image, attach=own).valence_arousal, all_of_it)


@torch.inference_mode()
def test_strengths_far_beyond_one_stay_finite() -> None:
    model, image = network(), torch.randn(6, 3, 32, 32)
    assert torch.isfinite(model(image, {"age": 50.0, "gender": 50.0}).valence_arousal).all()


OPTIONS: dict[str, Any] = {
    "backbone": "conv4", "size": 32, "batch_size": 24, "dim": 16, "device": "cpu", "lr": 3e-3, "epochs": 2,
    "progress": False,
}  # fmt: skip


def test_identity_features_learn_their_levels_without_clip_at_run_time(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    options = OPTIONS | {"epochs": 30, "lr": 1e-2, "batch_size": 12, "terms": {"alpha": 1.0}}
    run = idfer.fit(squares, squares_table, out=tmp_path / "run", **options)
    model = idfer.load(str(run), "cpu").checkpoint
    train = squares.select("train")
    crops = np.stack([model.preprocess.crop(_pixels(train, row)) for row in range(len(train))])
    with torch.inference_mode():
        identity = model.network(model.inputs(crops)).identity
        told = model.network.evidence.log_levels(identity).exp().numpy()
    table = squares_table.align(train)
    name = model.attributes[0]
    posterior = table.posterior(name)
    assert np.mean(told[:, 0, : posterior.shape[1]].argmax(1) == posterior.argmax(1)) > 0.9


def _pixels(faces: Manifest, row: int) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(faces.root / faces.frame["path"].iloc[row]).convert("RGB"))


def test_features_can_still_be_attached_and_an_unknown_way_is_named(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    run = idfer.fit(squares, squares_table, out=tmp_path / "run", attachment="features", **OPTIONS)
    assert idfer.load(str(run), "cpu").checkpoint.network.evidence is None
    with pytest.raises(UsageError, match="unknown attachment 'glue'"):
        idfer.fit(squares, squares_table, out=tmp_path / "other", attachment="glue", **OPTIONS)
