"""The backbones of the paper's family and others: each trains, is saved, and predicts as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import idfer
from idfer import AttributeTable, Manifest
from idfer.models.network import Network
from idfer.training import checkpoint

# the smallest side that the whole network takes in its own way, so that one core is enough
BACKBONES = {
    "alexnet": 64,
    "conv4": 32,
    "conv7": 32,
    "convnext_atto": 32,
    "efficientnet_b0": 32,
    "mixer_b16_224": 32,
    "mobilenetv3_small_100": 32,
    "resnet18": 32,
    "resnet50": 32,
    "swin_tiny_patch4_window7_224": 64,
    "vit_tiny_patch16_224": 32,
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, AttributeTable]:
    """Twelve drawn faces of six people, with the builtin CLIP's attributes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDFER_CACHE", str(tmp_path_factory.mktemp("cache")))
        faces = idfer.synth(tmp_path_factory.mktemp("drawn"), identities=6, per_identity=2, seed=3)
        return faces, idfer.retrieve(faces, device="cpu", progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BACKBONES))
def test_three_steps_then_from_disk_the_same_predictions(
    name: str, drawn: tuple[Manifest, AttributeTable], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces, table = drawn
    size = BACKBONES[name]
    image = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    before: dict[str, torch.Tensor] = {}
    save = checkpoint.save_model

    def remember(folder: Path, network: Network, **options: object) -> None:
        with torch.no_grad():
            said = network.eval()(image)
        before.update(va=said.valence_arousal, feature=said.expression)
        save(folder, network, **options)

    monkeypatch.setattr("idfer.training.run.save_model", remember)
    run = idfer.fit(
        faces, table, backbone=name, size=size, batch_size=4, epochs=1, dim=8, use="age,skin", code=4,
        out=tmp_path / "run", device="cpu", progress=False,
    )  # fmt: skip
    again = checkpoint.load_checkpoint(run)
    with torch.no_grad():
        said = again.network(image)
    assert torch.equal(said.valence_arousal, before["va"])
    assert torch.equal(said.expression, before["feature"])
    torch.manual_seed(0)
    start = Network(name, size, ("age", "skin"), 8, code=4).backbone.state_dict()
    trained = again.network.backbone.state_dict()
    moved = [k for k in start if start[k].is_floating_point() and not torch.equal(start[k], trained[k])]
    assert len(moved) > 0.5 * len(start)
    frame = idfer.load(str(run), device="cpu")(faces.files[0], detector="none").frame()
    assert np.isfinite(frame[["valence", "arousal"]]).all(axis=None)
