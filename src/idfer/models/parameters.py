"""Parameters of backbones: from a file, or as their authors published them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from idfer.errors import IdferError
from idfer.files import offline

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # where training scripts put them
OFFLINE = "downloads are off (IDFER_OFFLINE or HF_HUB_OFFLINE); unset it once to download them"


def read_parameters(path: str | Path) -> dict[str, Tensor]:
    """A state dict from a safetensors file or a plain torch file; no pickled code is run.

    What training scripts wrap around it is taken off.

    Raises:
        IdferError: the file is damaged, holds no parameters, or some that are not finite. The message leaves
            naming the file to the caller.
    """
    from safetensors import SafetensorError

    try:
        content = _content(Path(path))
    except (PermissionError, SafetensorError) as error:
        raise IdferError(f"it cannot be read: {reason(error)}") from error
    except Exception as error:  # of many kinds, and torch's own words advise to run what the file says
        raise IdferError("it is damaged or holds more than parameters") from error
    if isinstance(content, Mapping):
        wrapped = (content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping))
        content = next(wrapped, content)
    if not isinstance(content, Mapping) or not content:
        raise IdferError("it holds no parameters by name")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise IdferError(f"it holds something else than parameters by name: {name!r}")
        if value.is_floating_point() and not bool(value.to_dense().isfinite().all()):
            raise IdferError(f"it holds a parameter that is not finite: {name!r}")
    return dict(content)


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def reason(error: Exception) -> str:
    """What an error says, in one line of at most 160 characters; its kind where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines[:2]) if lines and lines[0].endswith(":") else "".join(lines[:1])
    said = said if len(said) <= 400 else f"{said[:397]}..."
    return said if said and not isinstance(error, KeyError) else f"{type(error).__name__} {said}".strip()


def published(url: str) -> dict[str, Tensor]:
    """A state dict from torch's cache, downloaded on first use with its checksum checked.

    Raises:
        IdferError: it is not in the cache, and downloads are off.
    """
    from torch.hub import load_state_dict_from_url

    refuse_download(url)
    state: dict[str, Tensor] = load_state_dict_from_url(
        url, map_location="cpu", progress=False, check_hash=True, weights_only=True
    )
    return state


def refuse_download(url: str) -> None:
    """Stop before a file that is not in torch's cache is downloaded while downloads are off.

    Raises:
        IdferError: it would be.
    """
    from torch.hub import get_dir

    place = Path(get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not place.is_file() and offline():
        raise IdferError(f"{place.name} is not in {place.parent}, and {OFFLINE}")
