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
from idfer.statistics.label_evidence import label_evidence


def population(count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n, 2) and levels (n, 2, 3): valence follows the first attribute, arousal the second."""
    rng = np.random.default_rng(0)
    levels = np.zeros((count, 2, 3))
    first, second = rng.integers(0, 3, count), rng.integers(0, 2, count)
    levels[np.arange(count), 0, first] = 1
    levels[np.arange(count), 1, second] = 1  # two levels only: the third column stays 0
    labels = np.stack([0.3 * (first - 1), 0.4 * (second - 0.5)], 1) + 0.2 * rng.standard_normal((count, 2))
    return labels, levels


def test_evidence_of_all_attributes_is_the_regression_on_all() -> None:
    """With f that knows nothing (flat likelihood), what is attached gives the mean label of the levels."""
    labels, levels = population()
    fitted = label_evidence(labels, levels, ridge=1e-6)
    eta = np.einsum("nak,akd->nad", levels - fitted.centre, fitted.slope) + fitted.offset
    prior = 1 / labels.var(0)
    attached = (labels.mean(0) * prior + eta.sum(1)) / (prior + fitted.precision.sum(0))
    for k in range(3):
        at = levels[:, 0, k] == 1
        assert attached[at, 0].mean() == pytest.approx(labels[at, 0].mean(), abs=0.01)


def test_an_attribute_without_a_say_has_no_evidence() -> None:
    labels, levels = population()
    fitted = label_evidence(labels, levels)
    assert (fitted.precision[1, 0], fitted.precision[0, 1]) == pytest.approx((0, 0), abs=0.05)
    assert np.abs(fitted.slope[1, :, 0]).max() < 0.05 * np.abs(fitted.slope[0, :, 0]).max()


def test_labels_that_attributes_determine_stay_uncertain() -> None:
    _, levels = population()
    known = np.stack([levels[:, 0, 0], levels[:, 1, 0]], 1)
    fitted = label_evidence(known, levels)
    assert np.isfinite(fitted.slope).all()
    assert (fitted.precision.sum(0) <= 19.1 / known.var(0)).all()


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
def test_detached_is_what_the_head_reads_and_attached_moves_by_the_natural_parameters() -> None:
    model, image = network(), torch.randn(6, 3, 32, 32)
    out = model(image)
    torch.testing.assert_close(out.valence_arousal, model.head(out.mean).clamp(-1, 1))
    eta, precision = model.evidence(out.identity)[:, 0].chunk(2, -1)
    own = (-2 * model.evidence.log_sigma).exp()
    expected = (model.head(out.mean) * own + eta) / (own + precision)
    attached = model(image, detach=["gender"]).valence_arousal
    torch.testing.assert_close(attached, expected.clamp(-1, 1))
    assert (attached - out.valence_arousal).abs().max() > 1e-3


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
