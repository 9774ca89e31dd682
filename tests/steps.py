"""What a training by ERM does, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from idfer.methods.erm import ERM
from idfer.types import Batch

T = TypeVar("T")


def after_each_step(monkeypatch: pytest.MonkeyPatch, look: Callable[[ERM, Batch], T]) -> list[T]:
    """A list that grows by what `look` sees of the method and its batch, whenever it has taken a step."""
    seen: list[T] = []
    step = ERM.step

    def watched(method: ERM, batch: Batch) -> dict[str, float]:
        logged = step(method, batch)
        seen.append(look(method, batch))
        return logged

    monkeypatch.setattr(ERM, "step", watched)
    return seen
