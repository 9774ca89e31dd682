"""Backbones, residual modules and detaching at run time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from idfer.catalogue import ATTACHMENTS, FORMS
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError, UsageError
from idfer.models.backbone import create_backbone, data_config, feature_width
from idfer.models.forms.form import ResidualForm
from idfer.models.network import Network
from idfer.models.residual import residual_modules
from idfer.training.checkpoint import load_checkpoint

from conftest import BACKBONE
from runs import record_of, write_run


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_any_timm_model_gives_features_at_the_size_asked_for(name: str) -> None:
    model = create_backbone(name, size=64)
    width = feature_width(model, 64)
    assert model.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, width)
    assert set(data_config(model)) == {"size", "mean", "std"}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnt18", "Did you mean '.*resnet18'"),
        ("alexnt", "Did you mean 'alexnet'"),
        ("cnv4", "Did you mean 'conv4'"),
        ("swin_tiny", "begin so: swin_tiny_patch4_window7_224"),
    ],
)
def test_unknown_backbone_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UsageError, match=near):
        create_backbone(name)


def test_alexnet_is_torchvisions_up_to_its_last_layer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = torchvision.models.alexnet(weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "alexnet.pth")
    ours = create_backbone("alexnet", 64, pretrained=str(tmp_path / "alexnet.pth")).eval()
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(whole.classifier[6](ours(image)), whole(image))
    assert feature_width(ours, 64) == ours.num_features == 4096
    config = data_config(ours)
    assert config == {"size": 224, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    with pytest.raises(UsageError, match="'alexnet' cannot take 32 px"):
        feature_width(ours, 32)
    save_file(whole.state_dict(), tmp_path / "alexnet.safetensors")
    other = create_backbone("alexnet", pretrained=str(tmp_path / "alexnet.safetensors"))
    assert torch.equal(other.state_dict()["classifier.4.weight"], whole.state_dict()["classifier.4.weight"])


def test_weights_of_networks_that_are_not_timms_and_cannot_be_had_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        IdferError, match=r"'alexnet'.*published weights.*downloads are off.*--pretrained false"
    ):
        create_backbone("alexnet", pretrained=True)
    for name in ("conv4", "conv7"):
        with pytest.raises(UsageError, match=f"'{name}' has no published weights"):
            create_backbone(name, pretrained=True)
        donor = create_backbone(name)
        save_file(donor.state_dict(), tmp_path / f"{name}.safetensors")
        ours = create_backbone(name, pretrained=str(tmp_path / f"{name}.safetensors"))
        torch.testing.assert_close(ours.state_dict(), donor.state_dict())
    with pytest.raises(IdferError, match=r"'conv7': cannot load .*conv4\.safetensors"):
        create_backbone("conv7", pretrained=str(tmp_path / "conv4.safetensors"))
    for name in ("alexnet", "conv4", "conv7"):
        with pytest.raises(IdferError, match=r"nowhere\.pth: no such weight file"):
            create_backbone(name, pretrained=str(tmp_path / "nowhere.pth"))
    with pytest.raises(IdferError, match=r"'alexnet': cannot load .*conv4\.safetensors"):
        create_backbone("alexnet", pretrained=str(tmp_path / "conv4.safetensors"))


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


def phi(linear: torch.Tensor, norm: torch.nn.BatchNorm1d, part: slice, x: torch.Tensor) -> torch.Tensor:
    """φ of one attribute on its own: its own Linear, BatchNorm (batch statistics) and LeakyReLU."""
    alone = torch.nn.BatchNorm1d(linear.shape[1])
    alone.weight.data, alone.bias.data = norm.weight.data[part], norm.bias.data[part]
    return torch.nn.functional.leaky_relu(alone(x @ linear), 0.1)


def by_hand(
    modules: ResidualForm, z: torch.Tensor, strength: torch.Tensor, retrieved: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The equations at the top of `models/forms/__init__.py`, an attribute at a time."""
    count, dim, form = modules.attributes, modules.dim, modules.form
    parts = [slice(a * dim, (a + 1) * dim) for a in range(count + 1)]
    whole = modules.linear.weight.data[:dim].T
    identity, moved = [], z @ whole
    for a in range(count):
        c = retrieved[:, a]
        if form == "distilled":
            r = phi(modules.linear.weight.data[parts[a + 1]].T, modules.norm, parts[a + 1], z)
        elif form == "simple":
            r = c @ modules.project.weight.data.T
        else:
            x = torch.cat([z, c], 1) if form == "residual_post" else c
            r = phi(modules.maps.data[a], modules.maps_norm, parts[a], x)
        identity.append(r)
        if form == "residual_prev":
            moved = moved - strength[:, a, None] * (c @ modules.project.weight.data.T)
    if form == "residual_prev":
        expression = phi(torch.eye(dim), modules.norm, slice(dim), moved)
    else:
        start = moved if form == "simple" else phi(whole, modules.norm, parts[0], z)
        expression = start - sum(strength[:, a, None] * identity[a] for a in range(count))
    return expression, torch.stack(identity, 1)


@pytest.mark.parametrize("form", FORMS)
def test_every_residual_form_equals_its_equation_attribute_by_attribute(form: str) -> None:
    torch.manual_seed(0)
    modules = residual_modules(form, 3, 10, 4, embedding=7)
    for name, parameter in modules.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    z, strength, retrieved = torch.randn(6, 10), 3 * torch.randn(6, 3), torch.randn(6, 3, 7)
    expression, identity = modules(z, strength, retrieved)
    expected, parts = by_hand(modules, z, strength, retrieved)
    torch.testing.assert_close(expression, expected)
    torch.testing.assert_close(identity, parts)


@pytest.mark.parametrize("form", FORMS)
def test_without_attributes_every_form_is_the_plain_regressor(form: str) -> None:
    torch.manual_seed(0)
    plain = Network(BACKBONE, 64, (), dim=8).eval()
    other = Network(BACKBONE, 64, (), dim=8, form=form, embedding=7).eval()
    other.load_state_dict(plain.state_dict())  # the same weights, by name and shape
    image = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = plain(image), other(image, retrieved=torch.randn(3, 0, 7))
    torch.testing.assert_close(ours.valence_arousal, theirs.valence_arousal)
    assert theirs.identity.shape == (3, 0, 8)
    assert not other.residual.needs_retrieved


def network_with(form: str, **options: object) -> tuple[Network, torch.Tensor, torch.Tensor]:
    """A network in eval mode that has seen some data, three images and their ID vectors."""
    torch.manual_seed(0)
    network = Network(BACKBONE, 64, ("gender", "age"), dim=8, form=form, embedding=7, **options)
    for _ in range(3):
        network(torch.randn(8, 3, 64, 64), retrieved=torch.randn(8, 2, 7))
    return network.eval(), torch.randn(3, 3, 64, 64), torch.randn(3, 2, 7)


@pytest.mark.parametrize("form", FORMS)
def test_only_the_distilled_form_does_without_retrieved_vectors(form: str) -> None:
    network, image, _ = network_with(form)
    if form == "distilled":
        network(image)
        return
    with pytest.raises(UsageError, match=rf"'{form}' reads retrieved ID vectors.*attribute table"):
        network(image)


@pytest.mark.parametrize("head", ["mlp", "bottleneck"])
@pytest.mark.parametrize("form", FORMS)
def test_one_face_is_predicted_as_it_is_among_others(form: str, head: str) -> None:
    network, image, retrieved = network_with(form, head=head, code=4)
    with torch.no_grad():
        together = network(image, retrieved=retrieved)
        for i in range(3):
            alone = network(image[i : i + 1], retrieved=retrieved[i : i + 1])
            assert alone.expression.shape == (1, 4)
            assert alone.identity.shape == (1, 2, 8)
            torch.testing.assert_close(alone.valence_arousal, together.valence_arousal[i : i + 1])


@pytest.mark.parametrize("form", FORMS)
def test_attaching_what_was_detached_is_where_one_started(form: str) -> None:
    """z' - Σ m r(x) + Σ m r(x) = z', whatever the strength, in every form."""
    network, image, retrieved = network_with(form)
    strength = torch.tensor([[0.3, -1.7]])
    with torch.no_grad():
        identity = network.attachable(image, retrieved)
        start = network(image, [], retrieved=retrieved)
        back = network(image, strength=strength, retrieved=retrieved, attach=strength[..., None] * identity)
    torch.testing.assert_close(back.expression, start.expression)
    torch.testing.assert_close(back.valence_arousal, start.valence_arousal)


@pytest.mark.parametrize("form", FORMS)
def test_another_faces_identity_takes_the_place_of_ones_own(form: str) -> None:
    network, image, retrieved = network_with(form)
    order = [1, 2, 0]
    with torch.no_grad():
        whole, identity, _ = network.residual.parts(network.backbone(image), retrieved)
        other = network.attachable(image[order], retrieved[order])
        swapped = network(image, ["age"], retrieved=retrieved, attach=other * torch.tensor([[[0.0], [1.0]]]))
        expected = whole - identity[:, 1] + other[:, 1]
        if form == "residual_prev":
            expected = network.residual.expression(expected)
    torch.testing.assert_close(other, identity[order])
    torch.testing.assert_close(swapped.expression, expected)


def test_strength_is_a_real_number() -> None:
    network, image, _ = network_with("distilled")
    with torch.no_grad():
        whole, identity, _ = network.residual.parts(network.backbone(image))
        for gender, age in ((0.5, 1.0), (-1.0, 2.5), (0.0, 0.0)):
            expression = network(image, {"gender": gender, "age": age}).expression
            torch.testing.assert_close(expression, whole - gender * identity[:, 0] - age * identity[:, 1])
        half = network(image, {"age": 0.5}).expression  # what a mapping leaves out stays attached
    torch.testing.assert_close(half, whole - 0.5 * identity[:, 1])


@pytest.mark.parametrize("attachment", ATTACHMENTS)
@pytest.mark.parametrize(("head", "code"), [("mlp", 0), ("mlp", 4), ("bottleneck", 4)])
@pytest.mark.parametrize("form", FORMS)
def test_every_network_comes_back_from_disk_as_it_was(
    form: str, head: str, code: int, attachment: str, tmp_path: Path
) -> None:
    levels = (2, 2) if attachment == "evidence" else ()
    network, image, retrieved = network_with(form, head=head, code=code, levels=levels)
    record = record_of(
        BACKBONE, ["gender", "age"], 8, Preprocess(64), embedding=7, form=form, code=code, head=head,
        attachment=attachment,
    )  # fmt: skip
    write_run(tmp_path, network, record, text=np.zeros((4, 7)))
    again = load_checkpoint(tmp_path).network
    with torch.no_grad():
        saved, loaded = network(image, retrieved=retrieved), again(image, retrieved=retrieved)
    for before, after in zip(saved, loaded, strict=True):
        assert before is after is None or torch.equal(before, after)


def test_the_budgeted_feature_is_a_sample_in_training_and_its_mean_otherwise() -> None:
    network, image, _ = network_with("distilled", code=4)
    with torch.no_grad():
        mean = network(image)
        assert torch.equal(mean.expression, mean.mean)
        many = network(image.repeat(500, 1, 1, 1), sample=True)
        draws = many.expression.view(500, 3, 4)
        network.train()
        trained = network(image)
    assert not torch.equal(trained.expression, trained.mean)
    assert mean.log_variance is not None
    spread = (draws - mean.mean).div((0.5 * mean.log_variance).exp())
    torch.testing.assert_close(spread.mean(0), torch.zeros(3, 4), atol=0.2, rtol=0)
    torch.testing.assert_close(spread.std(0), torch.ones(3, 4), atol=0.15, rtol=0)


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
        prediction = network(torch.randn(1, 3, 64, 64))
    assert prediction.valence_arousal.shape == (1, 2)
    assert prediction.identity.shape == (1, 1, 8)
    assert float(prediction.valence_arousal.max()) == 1.0
