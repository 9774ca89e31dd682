"""Any timm model, torchvision's AlexNet or the small conv4 and conv7 as a feature extractor."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from idfer.errors import IdferError, UsageError, unknown
from idfer.files import hub_offline, offline
from idfer.models.conv4 import SMALL
from idfer.models.parameters import OFFLINE, read_parameters, reason, refuse_download

NOT_TIMM = ("alexnet", *SMALL)


def create_backbone(name: str, size: int | None = None, pretrained: bool | str = False) -> nn.Module:
    """A network without its classifier: (B, 3, size, size) -> (B, F), F = `.num_features`.

    Args:
        name: a timm model name, e.g. "resnet18" or "vit_tiny_patch16_224", or one of `NOT_TIMM`.
        size: input side in pixels; None takes the model's own.
        pretrained: False for random weights, True for published ones (downloaded on first use), or the path
            of a local weight file.

    Raises:
        UsageError: no such model (the nearest name is suggested), or it cannot take that size.
        IdferError: the weights cannot be loaded or downloaded.
    """
    if name not in NOT_TIMM and not timm.is_model(name):
        known = [*NOT_TIMM, *timm.list_models()]
        longer = ", ".join([k for k in known if k.startswith(name)][:4])
        hint = f"Names that begin so: {longer}." if longer else "Any name of timm.list_models() works."
        raise unknown("backbone", name, known, hint)
    if name in SMALL and pretrained is True:
        raise UsageError(
            f"backbone {name!r} has no published weights; use --pretrained false or the path of a file."
        )
    if isinstance(pretrained, str) and not Path(pretrained).is_file():
        raise IdferError(
            f"{pretrained}: no such weight file for backbone {name!r}; use true, false or a file."
        )
    try:
        return _not_timm(name, pretrained) if name in NOT_TIMM else _timm(name, pretrained, size)
    except UsageError:
        raise
    except Exception as error:  # hub, torch and safetensors each raise their own kinds
        what = pretrained if isinstance(pretrained, str) else "its published weights"
        raise IdferError(
            f"backbone {name!r}: cannot load {what} ({reason(error)}); "
            "check the file or connection, or use --pretrained false."
        ) from error


def _not_timm(name: str, pretrained: bool | str) -> nn.Module:
    if name == "alexnet":
        from idfer.models.alexnet import AlexNet

        return AlexNet(pretrained)
    model = SMALL[name]()
    if isinstance(pretrained, str):
        model.load_state_dict(read_parameters(pretrained))
    return model


def _timm(name: str, pretrained: bool | str, size: int | None) -> nn.Module:
    """One of timm's models, its parameters random, published or from a file."""
    options: dict[str, Any] = {"num_classes": 0}
    if pretrained is True:
        return _published(name, size, options)
    if isinstance(pretrained, str):
        archive = pretrained.endswith(".npz")  # of JAX, which timm's models read themselves
        if not archive:
            read_parameters(pretrained)  # says what is wrong with a file better than timm does
        options["pretrained_cfg_overlay"] = {"file": pretrained, "custom_load": archive}
    return _create(name, bool(pretrained), size, options)


def _published(name: str, size: int | None, options: dict[str, Any]) -> nn.Module:
    """A model with its published parameters; while downloads are off only from the local cache.

    Raises:
        IdferError: downloads are off and the parameters are not in the cache.
    """
    from huggingface_hub.errors import LocalEntryNotFoundError

    config = timm.get_pretrained_cfg(name)
    if config is not None and not config.hf_hub_id and config.url:
        refuse_download(config.url)
    try:
        with hub_offline(offline()):
            return _create(name, True, size, options)
    except LocalEntryNotFoundError as error:
        if not offline():
            raise
        raise IdferError(f"they are not in the Hugging Face cache, and {OFFLINE}") from error


def _create(name: str, pretrained: bool, size: int | None, options: dict[str, Any]) -> nn.Module:
    """Build the model; transformers of a fixed grid are told the size, convolutions take any."""
    timm_log = logging.getLogger("timm")
    level = timm_log.level
    timm_log.setLevel(logging.ERROR)
    try:
        if size is not None:
            try:
                sized: nn.Module = timm.create_model(name, pretrained=pretrained, img_size=size, **options)
                return sized
            except TypeError:
                pass  # the model has no fixed grid
            except (AssertionError, ValueError, RuntimeError) as error:
                raise UsageError(
                    f"backbone {name!r} cannot take {size} px images ({error}); choose another --size."
                ) from error
        model: nn.Module = timm.create_model(name, pretrained=pretrained, **options)
        return model
    finally:
        timm_log.setLevel(level)


def data_config(model: nn.Module) -> dict[str, Any]:
    """The model's own input side (pixels), mean and std (3 values each, of RGB in [0, 1])."""
    contract: dict[str, Any] | None = getattr(model, "contract", None)
    if contract is not None:  # not timm's
        return contract
    config = timm.data.resolve_model_data_config(model)
    return {
        "size": int(config["input_size"][-1]),
        "mean": tuple(float(v) for v in config["mean"]),
        "std": tuple(float(v) for v in config["std"]),
    }


def feature_width(model: nn.Module, size: int) -> int:
    """F, measured: some timm models answer another width than their `num_features` says.

    Raises:
        UsageError: the model cannot take images of that size (a grid that does not divide it, for example).
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            width = int(model(torch.zeros(1, 3, size, size)).shape[-1])
    except (AssertionError, RuntimeError, ValueError) as error:
        known: dict[str, str] = getattr(model, "default_cfg", {})
        name = known.get("architecture", type(model).__name__.lower())
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"backbone {name!r} cannot take {size} px images ({reason}); choose another --size."
        ) from error
    model.train(training)
    return width
