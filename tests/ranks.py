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


def train_by_descent(works: Sequence[Any]) -> None:
    """Train each in turn, in processes that are started once for all."""
    optimise.AdamW = Descent  # type: ignore[misc,assignment]
    torch.optim.Adam = Descent  # type: ignore[misc,assignment]
    for work in works:
        run._in_process(work)
