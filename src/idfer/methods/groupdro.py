r"""GroupDRO: minimise the loss of the worst group, by weights that grow with a group's loss.

    q_g ∝ q_g exp(η ℓ_g),     min_network L_VA(z_exp, y; s),     s_i = Σ_g q_g m_ig / Σ_j m_jg

(Sagawa et al. 2020, ICLR, arXiv:1911.08731). Decisions, all [ours] where not said otherwise:

- groups are pairs (attribute, level), not the product of attributes, of which a batch would hold few; with
  `quadrants` each is split by the signs of valence and arousal, as in Sagawa et al. groups are pairs of
  attribute and label;
- membership m_ig is the retrieved posterior p[a, k](x_i) (times the sample weight), not its top level;
- ℓ_g = Σ_i m_ig e_i / Σ_i m_ig with e_i the squared error of a face, valence and arousal summed: PCC and CCC
  do not split into faces or groups. Since Σ_g q_g ℓ_g = Σ_i s_i e_i, groups act as the sample weights s, and
  under these L_VA takes its correlations too;
- with `uniform` faces are drawn with replacement so that every group is as frequent, as in Sagawa et al.:
  face i with probability (1 / G) Σ_g m_ig / Σ_j m_jg over the training faces, of groups that hold one face or
  more (Σ_j m_jg >= 1): the small doubts of soft posteriors are no group;
- a group that a batch holds less than one face of (Σ_i p < 1) has no loss there: its q stays, and the shares
  of the others are scaled to 1. A batch that holds no group at all is an ERM step.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idfer.methods.attribute_targets import LevelPosteriors
from idfer.methods.common import Plain, Setup, numbers, terms_of
from idfer.methods.optimise import within
from idfer.objectives.va import va_loss
from idfer.types import Batch

LEAST = 1 - 1e-4  # faces that a group must have, in a batch or in all; posteriors are rounded


def memberships(posterior: Tensor, target: Tensor, quadrants: bool) -> Tensor:
    """m (B, G): the posteriors (B, K) themselves, or each split over the quadrants of valence-arousal."""
    if not quadrants:
        return posterior
    quadrant = 2 * (target[:, 0] >= 0).long() + (target[:, 1] >= 0).long()
    return (posterior[:, :, None] * F.one_hot(quadrant, 4)[:, None]).flatten(1)


def uniform_sampling(member: Tensor) -> Tensor:
    """Probability (n,) of each face, of which memberships (n, G) are given, when groups are as frequent."""
    mass = member.sum(0)
    seen = mass >= min(LEAST, float(mass.max()))  # the largest, where none holds a whole face
    share = member[:, seen] / mass[seen]
    return share.mean(1) / share.mean(1).sum()


def group_losses(error: Tensor, member: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """ℓ (G,), the mean error (B,) of each group, and whether the batch holds the group, (G,) bool."""
    share = member * weight[:, None]
    mass = share.sum(0)
    return (share * error[:, None]).sum(0) / mass.clamp_min(1e-6), (member.sum(0) >= LEAST) & (mass > 1e-6)


def sample_weights(log_q: Tensor, member: Tensor, weight: Tensor, present: Tensor) -> Tensor:
    """s (B,) times B, so of mean 1; `weight` itself where no group is present."""
    share = member * weight[:, None]
    q = torch.where(present, log_q.softmax(0), torch.zeros_like(log_q))
    q = q / q.sum().clamp_min(1e-12)
    reweighted = (share / share.sum(0).clamp_min(1e-6)) @ q * len(member)
    return torch.where(present.any(), reweighted, weight)


class GroupWeights(nn.Module):
    """q on the simplex of G groups, as logarithms; saved with a checkpoint.

    Args:
        groups: G.
    """

    def __init__(self, groups: int):
        super().__init__()
        self.register_buffer("log_q", torch.zeros(groups).log_softmax(0))
        self.log_q: Tensor

    def update(self, losses: Tensor, present: Tensor, eta: float) -> None:
        """Exponentiated gradient: q_g ∝ q_g exp(η ℓ_g) for the groups that are present."""
        gain = torch.where(present, eta * losses, torch.zeros_like(losses))
        self.log_q.copy_((self.log_q + gain).log_softmax(0))


class GroupDRO(Plain):
    """L_VA under weights that follow the worst group.

    Attributes:
        sampling: (n,) probability of each training face to be drawn, or None: each once in an epoch.
    """

    @dataclass(frozen=True)
    class Terms:
        """Settings of the group weights.

        Attributes:
            eta: η, step of the exponentiated gradient.
            quadrants: whether groups are split by the signs of valence and arousal.
            uniform: whether every group is drawn as often.
        """

        eta: float = 0.01
        quadrants: bool = True
        uniform: bool = True

        def __post_init__(self) -> None:
            within(self, 0, inf, "eta")

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.terms = terms_of(self.Terms, setup.terms)
        groups = int(LevelPosteriors(setup.facts.levels, setup.fabric.device).mask.sum())
        member = memberships(setup.facts.posterior, setup.facts.target, self.terms.quadrants)
        self.sampling = uniform_sampling(member) if self.terms.uniform else None
        self.q = GroupWeights(groups * (4 if self.terms.quadrants else 1)).to(setup.fabric.device)

    def step(self, batch: Batch) -> dict[str, float]:
        """One step; logs the loss, the worst group's squared error, the largest q and the groups seen."""
        prediction = self.network(batch.image).valence_arousal.float()
        error = (prediction.detach() - batch.target).square().sum(1)
        member = memberships(batch.posterior, batch.target, self.terms.quadrants)
        losses, present = group_losses(error, member, batch.sample_weight)
        self.q.update(losses, present, self.terms.eta)
        weight = sample_weights(self.q.log_q, member, batch.sample_weight, present)
        loss = va_loss(prediction, batch.target, weight)
        self.descend(loss)
        worst = torch.where(present, losses, torch.zeros_like(losses)).max()
        largest = self.q.log_q.max().exp()
        return numbers(loss=loss, worst=worst, largest_q=largest, groups=present.float().sum())

    def modules(self) -> dict[str, nn.Module]:
        """The network and the group weights."""
        return super().modules() | {"q": self.q}
