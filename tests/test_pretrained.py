"""Pretrained backbones: offline nothing is asked of a network, and a damaged file is one line."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from idfer.errors import IdferError
from idfer.models.backbone import create_backbone

from conftest import BACKBONE


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Caches that hold nothing, and what was asked of a network, which refuses."""
    asked: list[str] = []

    def refuse(*address: Any, **options: Any) -> None:
        asked.append(str(address))
        raise OSError("there is no network here")

    for owner, name in ((socket, "getaddrinfo"), (socket, "create_connection"), (socket.socket, "connect")):
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return asked


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "alexnet"])
def test_published_weights_that_are_not_here_are_refused_without_asking_a_network(
    name: str, no_network: list[str]
) -> None:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    with pytest.raises(IdferError, match=rf"'{name}'.*downloads are off \(IDFER_OFFLINE.*--pretrained false"):
        create_backbone(name, 64, pretrained=True)
    assert no_network == []
    assert before == constants.HF_HUB_OFFLINE


def test_published_weights_that_are_here_are_used_without_asking_a_network(
    tmp_path: Path, no_network: list[str]
) -> None:
    import timm

    donor = timm.create_model(BACKBONE, pretrained=False)
    repository = timm.get_pretrained_cfg(BACKBONE).hf_hub_id.replace("/", "--")
    folder = tmp_path / "hub" / f"models--{repository}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(donor.state_dict(), folder / "snapshots" / ("0" * 40) / "model.safetensors")
    ours = create_backbone(BACKBONE, 64, pretrained=True).state_dict()
    assert no_network == []
    assert all(torch.equal(value, donor.state_dict()[name]) for name, value in ours.items())


def test_weights_of_a_transformer_whose_authors_gave_another_kind_of_file(tmp_path: Path) -> None:
    """The published ones are JAX archives, for which timm has a reader; a user's are not."""
    donor = create_backbone("vit_tiny_patch16_224", 32)
    save_file(donor.state_dict(), tmp_path / "w.safetensors")
    ours = create_backbone("vit_tiny_patch16_224", 32, pretrained=str(tmp_path / "w.safetensors"))
    torch.testing.assert_close(ours.state_dict(), donor.state_dict())


class Pickled:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["conv4", BACKBONE])
def test_a_damaged_weight_file_is_one_line_that_names_it(name: str, tmp_path: Path) -> None:
    state = create_backbone(name, 64).state_dict()
    first = next(iter(state))
    torch.save(state, tmp_path / "good.pth")
    save_file(state, tmp_path / "good.safetensors")
    create_backbone(name, 64, pretrained=str(tmp_path / "good.pth"))
    damaged = {
        f"{kind}.{suffix}": content
        for suffix in ("pth", "safetensors")
        for good in [(tmp_path / f"good.{suffix}").read_bytes()]
        for kind, content in {
            "empty": b"", "text": b"hello", "half": good[: len(good) // 2], "short": good[:-1],
            "zeros": bytes(len(good)), "header": b"\xff" * 8 + good[8:],
        }.items()
    }  # fmt: skip
    for file, content in damaged.items():
        (tmp_path / file).write_bytes(content)
    foreign = {
        "list": [1, 2], "nothing": None, "none": {}, "words": dict.fromkeys(state, "a"), "places": {1: 2},
        "nested": {"state_dict": 5}, "nan": state | {first: state[first] * torch.nan},
        "shape": state | {first: state[first][:1]}, "code": Pickled(tmp_path / "ran"),
    }  # fmt: skip
    for kind, content in foreign.items():
        torch.save(content, tmp_path / f"{kind}.pth")
    for file in [*damaged, *(f"{kind}.pth" for kind in foreign)]:
        with pytest.raises(
            IdferError, match=rf"'{name}': cannot load .*{file} \(.{{10,}}\); check"
        ) as caught:
            create_backbone(name, 64, pretrained=str(tmp_path / file))
        assert "\n" not in str(caught.value)
        assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(IdferError, match=f"not finite: '{first}'"):
        create_backbone(name, 64, pretrained=str(tmp_path / "nan.pth"))
    with pytest.raises(IdferError, match=f"size mismatch for {first}"):
        create_backbone(name, 64, pretrained=str(tmp_path / "shape.pth"))
