"""Weights of backbones that are not timm's: from a file, or as their authors published them."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from idfer.errors import IdferError
from idfer.files import offline


def read_parameters(path: str | Path) -> dict[str, Tensor]:
    """A state dict from a safetensors file or a plain torch file; no pickled code is run."""
    if Path(path).suffix == ".safetensors":
        from safetensors.torch import load_file

        found: dict[str, Tensor] = load_file(path)
        return found
    import torch

    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def published(url: str) -> dict[str, Tensor]:
    """A state dict from torch's cache, downloaded on first use with its checksum checked.

    Raises:
        IdferError: it is not in the cache, and downloads are off.
    """
    from torch.hub import get_dir, load_state_dict_from_url

    place = Path(get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not place.is_file() and offline():
        raise IdferError(f"{place.name} is not in {place.parent} and downloads are off (IDFER_OFFLINE)")
    state: dict[str, Tensor] = load_state_dict_from_url(
        url, map_location="cpu", progress=False, check_hash=True, weights_only=True
    )
    return state
