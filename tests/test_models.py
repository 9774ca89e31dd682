"""Backbones, residual modules and detaching at run time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from idfer.errors import IdferError, UsageError
from idfer.methods.idfer import Whitening
from idfer.models.backbone import create_backbone, data_config, feature_width
from idfer.models.network import Network
from idfer.models.residual import ResidualModules

from conftest import BACKBONE


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_any_timm_model_gives_features_at_the_size_asked_for(name: str) -> None:
    model = create_backbone(name, size=64)
    width = feature_width(model, 64)
    assert model.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, width)
    assert set(data_config(model)) == {"size", "mean", "std"}


def test_unknown_backbone_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="resnet18"):
        create_backbone("resnt18")


@pytest.mark.parametrize(("name", "size"), [("test_vit", 8), ("test_coatnet", 50)])
def test_impossible_size_is_a_usage_error(name: str, size: int) -> None:
    with pytest.raises(UsageError, match=f"{name}' cannot take {size} px"):
        Network(name, size)


def test_local_weights_are_loaded_and_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    donor = create_backbone(BACKBONE)
    save_file(donor.state_dict(), tmp_path / "w.safetensors")
    loaded = create_backbone(BACKBONE, pretrained=str(tmp_path / "w.safetensors"))
    for ours, theirs in zip(loaded.state_dict().values(), donor.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs)
    with pytest.raises(IdferError, match=r"nowhere\.safetensors"):
        create_backbone(BACKBONE, pretrained=str(tmp_path / "nowhere.safetensors"))
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    with pytest.raises(IdferError, match=r"bad\.safetensors"):
        create_backbone(BACKBONE, pretrained=str(tmp_path / "bad.safetensors"))


def test_residual_modules_equal_one_module_per_attribute() -> None:
    """The batched operation is φ = LeakyReLU ∘ BatchNorm ∘ Linear for each attribute on its own."""
    torch.manual_seed(0)
    together = ResidualModules(3, 10, 4)
    torch.nn.init.uniform_(together.norm.weight)
    z, strength = torch.randn(6, 10), torch.rand(6, 3)
    expression, identity = together(z, strength)
    parts = []
    for k in range(4):
        linear, norm = torch.nn.Linear(10, 4, bias=False), torch.nn.BatchNorm1d(4)
        linear.weight.data = together.linear.weight.data[4 * k : 4 * k + 4]
        norm.weight.data = together.norm.weight.data[4 * k : 4 * k + 4]
        parts.append(torch.nn.functional.leaky_relu(norm(linear(z)), 0.1))
    expected = parts[0] - sum(strength[:, a, None] * parts[a + 1] for a in range(3))
    torch.testing.assert_close(expression, expected)
    torch.testing.assert_close(identity, torch.stack(parts[1:], 1))


def test_detaching_changes_what_it_should_and_nothing_else() -> None:
    torch.manual_seed(0)
    network = Network(BACKBONE, 64, ("gender", "age"), dim=8).eval()
    image = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        everything, nothing = network(image), network(image, detach=[])
        age = network(image, detach=["age"])
    torch.testing.assert_close(everything.backbone, nothing.backbone)
    torch.testing.assert_close(everything.identity, age.identity)
    torch.testing.assert_close(age.expression, nothing.expression - age.identity[:, 1])
    torch.testing.assert_close(everything.expression, nothing.expression - everything.identity.sum(1))
    both = network(image, detach=["gender", "age"])
    torch.testing.assert_close(both.valence_arousal, everything.valence_arousal)


def test_detaching_an_unknown_attribute_names_the_known() -> None:
    network = Network(BACKBONE, 64, ("gender", "age"), dim=8)
    with pytest.raises(UsageError, match="gender, age"):
        network(torch.zeros(2, 3, 64, 64), detach=["agee"])


def test_one_image_is_a_batch_and_predictions_stay_in_range() -> None:
    network = Network(BACKBONE, 64, ("age",), dim=8).eval()
    with torch.no_grad():
        network.head[-1].bias.fill_(50.0)
        found = network(torch.randn(1, 3, 64, 64))
    assert found.valence_arousal.shape == (1, 2)
    assert found.identity.shape == (1, 1, 8)
    assert float(found.valence_arousal.max()) == 1.0


def test_whitening_gives_unit_uncorrelated_coordinates_and_masks_the_rest() -> None:
    torch.manual_seed(0)
    posterior = torch.softmax(3 * torch.randn(200, 2, 3), -1)
    posterior[:, 0, 2] = 0
    posterior[:, 0] /= posterior[:, 0].sum(-1, keepdim=True)
    retrieved = torch.einsum("nak,ake->nae", posterior, torch.randn(2, 3, 16))
    white = Whitening(retrieved, {"gender": 2, "age": 3})
    found = white(retrieved)
    assert white.mask.tolist() == [[1, 0], [1, 1]]
    torch.testing.assert_close(found[:, 1].T @ found[:, 1] / 200, torch.eye(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(found[:, 0, 1], torch.zeros(200))


def test_an_attribute_that_never_varies_is_named() -> None:
    retrieved = torch.ones(10, 1, 4)
    with pytest.raises(IdferError, match="'view' is the same"):
        Whitening(retrieved, {"view": 2})
