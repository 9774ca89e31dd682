r"""Penalty terms as methods use them: default settings, 128-wide features, two levels, few people.

A person has one of two levels k; the label y carries some of it, and the feature x reads y and more:

    u = s_y (2k - 1) + n_0,     y = (.35 u, .35 n_W+1),     x = Q [ s (2k - 1) + n_1, u, n_3 ... n_W ]

n normal, half of its variance shared by a person's faces (identity that is not k). Q is a rotation with scale
and shift, so nothing is lost, and all is known (nats): with J(a) = I(k; a (2k - 1) + n),

    I(x; k) = J( √(s² + s_y²) )           I(x; k | y) = J( √(s² + s_y²) ) - J(s_y)

Terms that see vectors get the whitened ID vector, here (±1, 0): two levels beside attributes of three leave a
padded coordinate. Those that see levels get one-hot posteriors. A critic learns from fresh people in every
batch, or again and again from as many as in training. It is judged on those it learned from, which is what a
penalty acts on, and on others, which is what it should mean. [ours]
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from idfer.catalogue import BOUNDS, ESTIMATORS, MAXIMISED
from idfer.names import load_object
from idfer.objectives.penalty_term import PenaltyTerm

Side = Literal["lower", "upper", "no unit"]
SIDES: dict[str, Side] = {
    **BOUNDS, "club_categorical": "upper", "conditional_club": "upper", "adversary": "lower",
    "hsic": "no unit",
}  # fmt: skip
"""What each estimator should be. HSIC has no unit: only its order means something. The adversary's entropy
less cross-entropy is a lower bound, of what this small reader attains."""
OF_LABEL = 0.1  # nats that the label tells of the level
AMOUNTS = (0.0, 0.1, 0.3, 0.6)  # I(x; k): nothing, what the label tells, and more; at most ln 2
WIDTHS = (8, 128)  # of a code, and of a feature without one
PEOPLE, EACH = 150, 40  # as in the shift protocol
HELD_OUT = 32  # batches that an estimate is the mean of
LR = 0.0025  # that of the methods


def told(strength: float) -> float:
    """J(a): nats that a (2k - 1) + n tells of a level k of two equally likely ones."""
    node, weight = np.polynomial.hermite_e.hermegauss(80)
    exponent = -2 * strength * (strength + node)
    return math.log(2) - float(weight @ np.logaddexp(0, exponent)) / math.sqrt(2 * math.pi)


@cache
def strength(nats: float) -> float:
    """The a of J(a) = nats, below ln 2."""
    return 0.0 if nats == 0 else float(brentq(lambda a: told(a) - nats, 1e-4, 10))


@dataclass(frozen=True)
class Faces:
    """What a batch is drawn from.

    Attributes:
        x: (N, A, W) features, a task of `AMOUNTS` each.
        level: (N,) 0 or 1.
        y: (N, 2) labels.
    """

    x: Tensor
    level: Tensor
    y: Tensor

    def rows(self, chosen: Tensor) -> Faces:
        """The faces of these row numbers."""
        return Faces(self.x[chosen], self.level[chosen], self.y[chosen])

    def attributes(self, sees: str) -> Tensor:
        """(N, A, 2) whitened vectors, the second coordinate padding, or posteriors."""
        tasks = self.x.shape[1]
        if sees == "levels":
            return torch.nn.functional.one_hot(self.level, 2).float()[:, None].expand(-1, tasks, -1)
        sign = 2.0 * self.level - 1
        return torch.stack([sign, 0 * sign], 1)[:, None].expand(-1, tasks, -1)


def faces(people: int, each: int, width: int, draw: torch.Generator, device: torch.device) -> Faces:
    """Draw `each` faces of each of `people` people."""
    level = torch.randint(2, (people,), generator=draw).repeat_interleave(each)
    person = torch.randn(people, width + 1, generator=draw).repeat_interleave(each, 0)
    noise = (person + torch.randn(people * each, width + 1, generator=draw)) / math.sqrt(2)
    sign = 2.0 * level - 1
    of_label = strength(OF_LABEL)
    label = of_label * sign + noise[:, 0]
    tasks = []
    for nats in AMOUNTS:
        x = noise[:, 1:].clone()
        if nats:  # the rest of a first task is noise, which tells nothing
            x[:, 1] = label
            x[:, 0] += math.sqrt(max(0.0, strength(nats) ** 2 - of_label**2)) * sign
        tasks.append(x)
    x = 1.5 * torch.stack(tasks, 1) @ _rotation(width) + 0.3
    y = torch.stack([0.35 * label, 0.35 * torch.randn(len(label), generator=draw)], 1)
    return Faces(x.to(device), level.to(device), y.to(device))


@cache
def _rotation(width: int) -> Tensor:
    """The same for every batch, (W, W)."""
    draw = torch.Generator().manual_seed(width)
    turn: Tensor = torch.linalg.qr(torch.randn(width, width, generator=draw))[0]
    return turn


def truth(estimator: str) -> list[float]:
    """What each task's estimate should be, in nats."""
    if estimator == "conditional_club":
        return [max(0.0, nats - OF_LABEL) for nats in AMOUNTS]
    return list(AMOUNTS)


def measure(
    estimator: str, width: int, people: int, seed: int, steps: int, batch_size: int, device: torch.device
) -> list[dict[str, Any]]:
    """Fit one estimator's critic, as shipped, on all tasks, and judge it.

    Args:
        estimator: a name in `SIDES`.
        width: of x.
        people: in the training set, with `EACH` faces; 0: others in every batch.
        seed: of samples and initial weights.
        steps: of Adam.
        batch_size: in fitting and in judging.
        device: where.

    Returns:
        A row per amount: `truth`, `seen` (the estimate on people learned from; with 0 people as `unseen`),
        `unseen` and `seconds`, of CPU or of a GPU's wall clock.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    draw = torch.Generator().manual_seed(seed)
    kind: type[PenaltyTerm] = load_object({**MAXIMISED, **ESTIMATORS}[estimator], "estimator")
    known = faces(people, EACH, width, draw, device) if people else None

    def batch(seen: bool) -> tuple[Tensor, Tensor, Tensor]:
        part = (
            known.rows(torch.randint(len(known.level), (batch_size,), generator=draw).to(device))
            if known and seen
            else faces(batch_size, 1, width, draw, device)
        )
        return part.x, part.attributes(kind.sees), part.y

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        term = kind(len(AMOUNTS), width, 2).to(device)
        exists = torch.tensor([1.0, float(kind.sees == "levels")], device=device)
        mask = exists.expand(len(AMOUNTS), -1)
        parameters = list(term.parameters())
        adam = torch.optim.Adam(parameters, lr=LR) if parameters else None
        for _ in range(steps if adam else 0):
            x, c, y = batch(seen=True)
            loss = term.learning_loss(x, c, mask, y=y)
            assert adam is not None
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
        found = [_judged(term, mask, [batch(seen) for _ in range(HELD_OUT)]) for seen in (True, False)]
    seconds = (clock() - start) / len(AMOUNTS)
    return [
        {
            "estimator": estimator, "width": width, "people": people, "seed": seed, "steps": steps,
            "batch_size": batch_size, "mi": AMOUNTS[i], "truth": truth(estimator)[i],
            "seen": round(found[0][i], 4), "unseen": round(found[1][i], 4), "seconds": round(seconds, 4),
        }
        for i in range(len(AMOUNTS))
    ]  # fmt: skip


def _judged(term: PenaltyTerm, mask: Tensor, batches: list[tuple[Tensor, Tensor, Tensor]]) -> list[float]:
    """The mean estimate (A,) over batches."""
    with torch.no_grad():
        values = [term(x, c, mask, y=y) for x, c, y in batches]
    means = [value if value.dim() == 1 else value.mean(1) for value in values]
    return [float(v) for v in torch.stack(means).double().mean(0)]
