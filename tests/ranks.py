"""What the processes of tests/test_devices.py run: a module without pytest, for each of them imports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from idfer.methods import optimise
from idfer.training import run


class Descent(torch.optim.SGD):
    """In place of Adam, which makes much of the last digits of small gradients."""

    def __init__(self, params: Any, lr: float, **_: Any):
        super().__init__(params, lr=lr)


def train_each(works: tuple[Sequence[Any], Sequence[Any]]) -> None:
    """Train the first in turn by plain descent and the others as they are; processes are costly to start."""
    adam, adamw = torch.optim.Adam, optimise.AdamW
    torch.optim.Adam, optimise.AdamW = Descent, Descent  # type: ignore[misc,assignment]
    for work in works[0]:
        run._in_process(work)
    torch.optim.Adam, optimise.AdamW = adam, adamw  # type: ignore[misc]
    for work in works[1]:
        run._in_process(work)
