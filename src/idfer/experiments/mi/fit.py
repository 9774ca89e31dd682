"""Fit one estimator's critics on fresh samples of many tasks at once, then estimate on samples of their own.

Tasks of one dimension stand where a method has attributes, so all are fitted in one batched operation.
Features are not layer-normalised here: their scale is fixed by the task, and normalising one coordinate would
erase it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from idfer.catalogue import ESTIMATORS, MAXIMISED
from idfer.experiments.mi.tasks import Tasks
from idfer.names import load_object
from idfer.objectives.penalty_term import PenaltyTerm


@dataclass(frozen=True)
class Settings:
    """How critics are fitted and judged.

    Attributes:
        steps: of Adam, a fresh batch each.
        batch_size: in fitting and in estimating.
        lr: learning rate at the start; it falls linearly to 0.
        held_out: batches that the estimate is the mean of.
    """

    steps: int
    batch_size: int
    lr: float = 5e-3
    held_out: int = 64


def build(estimator: str, tasks: int, dim: int) -> PenaltyTerm:
    """A new estimator for `tasks` pairs of variables of width `dim`."""
    options: dict[str, Any] = {"normalise": False}
    if estimator == "infonce":
        options = {"hidden": 64}
    kind: type[PenaltyTerm] = load_object({**MAXIMISED, **ESTIMATORS}[estimator], "estimator")
    return kind(tasks, dim, dim, **options)


def estimates(
    estimator: str, tasks: Tasks, seed: int, settings: Settings, device: torch.device
) -> tuple[list[float], list[float], float]:
    """The estimate of each task and its deviation between batches in nats, and seconds for all of them.

    Seconds are of CPU time, or on the wall for a GPU.

    Args:
        estimator: a name in `idfer.catalogue.BOUNDS`.
        tasks: the tasks, all of one dimension.
        seed: of samples and initial weights.
        settings: how critics are fitted and judged.
        device: where.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter  # others may share the CPU
    start = clock()
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        term = build(estimator, len(tasks.names), tasks.dim).to(device)
        adam = torch.optim.Adam(term.parameters(), lr=settings.lr)
        for step in range(settings.steps):
            for group in adam.param_groups:
                group["lr"] = settings.lr * (1 - step / settings.steps)
            loss = term.learning_loss(*tasks.sample(settings.batch_size, draw, device))
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
        with torch.no_grad():
            estimated = [
                term(*tasks.sample(settings.batch_size, draw, device)).mean(1)
                for _ in range(settings.held_out)
            ]
    batches = torch.stack(estimated).double()
    deviation = batches.std(0) if settings.held_out > 1 else torch.zeros_like(batches[0])
    return batches.mean(0).tolist(), deviation.tolist(), clock() - start
