r"""ELIM: shift every person's features to those of an anchor person by optimal transport, then predict again.

    step 1:   min L_VA
    step 2:   min τ(t) λ Σ_id MSE(head(norm(z - μ_id)), y)
    μ_id = Σ_ij Q_ij (z_j - z_i) / Σ_ij Q_ij,    i in the anchor person, j in the person id,   μ_anchor = 0
    Q = diag(u) exp(-ε C) diag(v),   C_ij = 1 - cos(z_i, z_j),   5 Sinkhorn iterations, ε = 5
    marginals: a_i ∝ relu(<z_i, mean z of id>),   b_j ∝ relu(<z_j, mean z of the anchor>)

(Kim, Song 2022, NeurIPS, arXiv:2209.12172; Sinkhorn: Cuturi 2013, arXiv:1306.0895). Facts of the public code
[lineage]: costs, node weights, numbers, the anchor (a random person of the batch); λ = 0.5, and 0.001 in its
older version; 5 persons of a batch of 64 to 512 take part, each with `topk` (40 or 20) faces drawn without
replacement by Gumbel noise on log |y|, strong expressions more often; no second step in the first 10 steps.
The paper subtracts an ID-shift *vector*, as here; the code subtracts one detached scalar. [ours]:

- Q, and so μ, is detached, as in that code;
- the anchor is the first person, of batches in random order; all persons of a batch take part;
- node weights get 1e-3 before they are scaled to 1 (DeepEMD's habit): all may be 0;
- norm(·) gives z - μ the length of z, there that of √D: at inference the head reads z as it is, so it must
  know that scale;
- a person counts with `least` faces in the batch; with one, z - μ is the anchor's mean, whatever its
  face says. The first such person is the anchor, and its own MSE (μ = 0) counts too. With fewer than two
  persons that count, step 2 is 0;
- random batches from many people hold one face of each, so batches are drawn with `people_per_batch` people
  (`catalogue.py`; the lineage's batches hold few people, too);
- τ rises linearly over the share `ramp` of the steps; while it is 0 there is no second step;
- `two_steps: false` takes one step down the sum of both losses, at half the cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor
from torch.nn import functional as F

from idfer.errors import IdferError
from idfer.methods.common import Plain, Setup, numbers, terms_of
from idfer.methods.optimise import descend, ramp, within
from idfer.objectives.va import va_loss
from idfer.types import Batch

_LEAST_WEIGHT = 1e-3


def people(subject: Tensor, least: int) -> tuple[Tensor, Tensor, Tensor]:
    """Who is in a batch.

    Args:
        subject: (B,) number of the person.
        least: faces that a person must have in the batch to count.

    Returns:
        (B, B) one-hot person of each face, a person standing at its first face's place; (B,) bool, faces of
        the anchor; (B,) bool, faces of the other persons that count.
    """
    same = subject[:, None] == subject[None]
    place = F.one_hot(same.float().argmax(1), len(subject)).float()  # argmax: the first of equals
    counts = same.sum(1) >= least
    anchor = same[counts.float().argmax()] & counts
    return place, anchor, counts & ~anchor


def gumbel_top(target: Tensor, place: Tensor, topk: int) -> Tensor:
    """`topk` faces of each person, (B,) bool, drawn without replacement in proportion to |y|.

    Args:
        target: (B, 2) valence and arousal.
        place: (B, B) one-hot person of each face, as from `people`.
        topk: faces of a person at most.
    """
    noise = torch.rand(len(target), device=target.device).clamp(1e-6, 1 - 1e-6)
    score = target.norm(dim=1).clamp_min(1e-6).log() - (-noise.log()).log()
    before = (place @ place.T) * (score[None] > score[:, None])  # of the same person, with a higher score
    kept: Tensor = before.sum(1) < topk
    return kept


def transport(
    z: Tensor, place: Tensor, anchor: Tensor, target: Tensor, sharpness: float, iterations: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Sinkhorn's plans from the anchor to every other person, all in one.

    Args:
        z: (B, D) features.
        place: (B, B) one-hot person of each face, as from `people`.
        anchor: (B,) bool.
        target: (B,) bool.
        sharpness: ε, inverse temperature.
        iterations: each fits a, then b.

    Returns:
        Q (B, B), rows the anchor's faces, columns the others', 0 elsewhere, summing to 1 per person; and the
        marginals it aims at: a (B, B) of each of the anchor's faces (rows) to each person (columns), b (B,).
    """
    member = place * target[:, None]  # faces x persons
    mean = member.T @ z / member.sum(0).clamp_min(1)[:, None]
    anchor_mean = (anchor[:, None] * z).sum(0) / anchor.sum().clamp_min(1)
    a = (F.relu(z @ mean.T) + _LEAST_WEIGHT) * anchor[:, None]
    a = a / a.sum(0).clamp_min(1e-12)
    b = (F.relu(z @ anchor_mean) + _LEAST_WEIGHT) * target
    b = b / (member @ (member.T @ b)).clamp_min(1e-12)
    unit = F.normalize(z, dim=1)
    kernel = (sharpness * (unit @ unit.T - 1)).exp() * anchor[:, None] * target[None]
    u, v = torch.zeros_like(a), target.float()
    for _ in range(iterations):
        u = a / (kernel @ (v[:, None] * member)).clamp_min(1e-12)
        v = b / ((kernel.T @ u) * member).sum(1).clamp_min(1e-12)
    return (u @ member.T) * kernel * v[None], a, b


def id_shifts(
    z: Tensor, subject: Tensor, least: int, sharpness: float, iterations: int, kept: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """ID-shift vectors of a batch.

    Args:
        z: (B, D) features.
        subject: (B,) number of the person.
        least: faces that a person must have in the batch to count.
        sharpness: as in `transport`.
        iterations: as in `transport`.
        kept: (B,) bool, faces that may take part; None is all.

    Returns:
        μ of each face's person (B, D), 0 for the anchor and for persons that do not count; (B,) bool, faces
        that take part, none where fewer than two persons count; (B, B) one-hot person of each face.
    """
    place, anchor, target = people(subject, least)
    if kept is not None:
        anchor, target = anchor & kept, target & kept
    plan, _, _ = transport(z, place, anchor, target, sharpness, iterations)
    mass = plan.sum(0)
    moved = place.T @ (mass[:, None] * z - plan.T @ z)  # persons x D
    shift = moved / (place.T @ mass).clamp_min(1e-12)[:, None]
    return place @ shift, (anchor | target) & target.any(), place


def shifted(z: Tensor, shift: Tensor) -> Tensor:
    """norm(z - μ): the direction of z - μ at the length of z, (B, D)."""
    moved: Tensor = F.normalize(z - shift, dim=1) * z.norm(dim=1, keepdim=True)
    return moved


def person_error(error: Tensor, weight: Tensor, used: Tensor, place: Tensor) -> Tensor:
    """Σ_id of the mean error of each person's used faces, a scalar.

    Args:
        error: (B,) of each face.
        weight: (B,) sample weights.
        used: (B,) bool.
        place: (B, B) one-hot person of each face.
    """
    share = place * (weight * used)[:, None]
    return ((share * error[:, None]).sum(0) / share.sum(0).clamp_min(1e-6)).sum()


class ELIM(Plain):
    """L_VA, then the same labels from features shifted to the anchor person's."""

    @dataclass(frozen=True)
    class Terms:
        """Settings of the second step.

        Attributes:
            weight: λ, weight of the second step.
            ramp: share of the steps over which it rises from 0.
            least: faces that a person must have in a batch to count.
            topk: faces of a person that take part at most; 0 is all.
            sharpness: ε of the transport.
            iterations: Sinkhorn iterations.
            two_steps: whether the second step is one of its own; else both losses are summed.
        """

        weight: float = 0.5
        ramp: float = 0.2
        least: int = 2
        topk: int = 3
        sharpness: float = 5.0
        iterations: int = 5
        two_steps: bool = True

        def __post_init__(self) -> None:
            within(self, 0, inf, "weight")
            within(self, 0, 1, "ramp")
            within(self, 0, 50, "sharpness")  # exp(-2 · 50) is the smallest float32 that a kernel bears
            within(self, 1, inf, "iterations")
            within(self, 2, inf, "least")
            within(self, 0, inf, "topk")

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.terms = terms_of(self.Terms, setup.terms)
        faces = setup.facts.subject.bincount()
        if int((faces >= self.terms.least).sum()) < 2:
            raise IdferError(
                f"method 'elim' compares people, and fewer than two have {self.terms.least} training faces: "
                "name the person of each face in the manifest's column 'subject'."
            )

    def step(self, batch: Batch) -> dict[str, float]:
        """One or two steps; logs both losses, the mean length of μ and the share of faces that took part."""
        terms = self.terms
        strength = terms.weight * ramp(self.schedule.last_epoch, self.budget.steps, terms.ramp)
        prediction = self.network(batch.image)
        va = va_loss(prediction.valence_arousal.float(), batch.target, batch.sample_weight)
        feature = prediction.expression.float()
        two_steps = terms.two_steps and strength > 0
        if two_steps:
            descend(self.fabric, va, self.network, self.adam, self.budget.clip)
            feature = self.network(batch.image).expression.float()
        with torch.no_grad():
            kept = None
            if terms.topk:
                kept = gumbel_top(batch.target, people(batch.subject, terms.least)[0], terms.topk)
            shift, used, place = id_shifts(
                feature, batch.subject, terms.least, terms.sharpness, terms.iterations, kept
            )
        said = self.network.module.head(shifted(feature, shift)).float()
        error = (said - batch.target).square().mean(1)
        second = person_error(error, batch.sample_weight, used, place)
        self.descend(strength * second if two_steps else va + strength * second)
        share = used.float()
        length = (shift.norm(dim=1) * share).sum() / share.sum().clamp_min(1)
        return numbers(loss=va + strength * second, va=va, shifted=second, shift=length, used=share.mean())
