"""Device names as users write them: auto, cpu, cuda, cuda:1, mps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from idfer.errors import UsageError

if TYPE_CHECKING:
    import torch


def check_device(name: str) -> None:
    """Refuse what is no device's name.

    Raises:
        UsageError: the name is not auto, cpu, cuda, cuda:N or mps.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise UsageError(f"unknown device {name!r}; use auto, cpu, cuda, cuda:N or mps.")


def resolve_device(name: str = "auto") -> torch.device:
    """The torch device for `auto` (cuda, else mps, else cpu), `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        UsageError: the name is none of these, or the machine has no such device.
    """
    import torch

    check_device(name)
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    device = torch.device(name)
    if (device.type == "cuda" and (device.index or 0) >= cuda) or (device.type == "mps" and not mps):
        raise UsageError(f"device {name!r} is not available here ({cuda} CUDA device(s)); use auto or cpu.")
    return device
