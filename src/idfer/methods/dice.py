r"""DICE: expression codes of two people who express the same are interchangeable, and hold no identity.

    min_network L_VA - α [ I_DV(z_i; s_π(i)) - δ |s_i - s_π(i)|₁ + I_DV(z_i; e_i) ] + β τ(t) I_DV*(s_i; e_i)

(DICE-FER: Aquib, Verma, Akhtar 2025, CVPR Workshops, pp. 5561-5570; I_DV: Donsker, Varadhan 1983,
`objectives/mine.py`). z backbone features, s = z_exp the expression code, e the identity code, |·|₁ a mean
over coordinates; nats. We know no public code of the authors. The abstract pairs images that share an
expression, maximises the MI of an image with the *other's* expression code (cross-referenced), and minimises
the MI between expression and identity code adversarially [paper]. Public reimplementations by others have
more: an L1 between the codes of a pair (δ: 0.1 beside an MI of weight 0.5), two stages, the second of which
learns the identity code with the expression encoder *frozen*, an adversary of weight 0.01 to 0.1, and
gradients clipped, for training diverges without. The rest is [ours]:

- `two_stages`: s is held still where e meets it. The stages run side by side, since the prediction sees
  nothing of the second: it is the first's, with L_VA throughout (there a classifier is fitted afterwards).
  Without, s gives way to e too, as the abstract's "dual optimization" may be read;
- the source pairs expression classes; here π(i) is the face of another person in the batch whose valence and
  arousal are nearest, if they are within `radius`, and L_VA supervises;
- e is a small MLP of detached z, kept from being empty by α I_DV(z; e): it shall hold what z has of identity,
  not draw more into z. The scheme resembles the shared and exclusive codes of Sanchez, Serrurier, Ortner 2020
  (arXiv:1912.03915);
- critics are separable and bounded by ±`bound` nats. They take one step up a batch on detached codes, before
  the network's step, with an Adam of their own: at the network's learning rate those of the first term, which
  start with little to find, only learn to say nothing;
- features and codes are standardised over the batch before a critic reads them: longer codes gain nothing,
  and what all faces have in common does not drown what tells them apart;
- an estimate of the last term at or below 0 gives no gradient; τ rises linearly over the share `ramp`;
- critics are clipped as the network is. A batch without a valid pair has no first term.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idfer.methods.common import Plain, Setup, numbers, terms_of
from idfer.methods.optimise import Companion, learn_critic, ramp, within
from idfer.objectives.guards import shares
from idfer.objectives.mine import MINE
from idfer.objectives.va import va_loss
from idfer.types import Batch, Stateful


def partners(target: Tensor, subject: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """π (B,) and whether it is valid, (B,) bool: the face of another person with the nearest label.

    Args:
        target: (B, 2) valence and arousal.
        subject: (B,) number of the person.
        radius: largest distance of a pair's labels.
    """
    distance = (target[:, None] - target[None]).square().sum(-1)
    distance = distance.masked_fill(subject[:, None] == subject[None], inf)
    nearest = distance.min(1)
    return nearest.indices, nearest.values <= radius**2


def information(critic: MINE, x: Tensor, y: Tensor, valid: Tensor) -> Tensor:
    """I_DV(x; y) of the valid pairs (x_i, y_i), a scalar in nats to maximise; 0 without any.

    Args:
        critic: of one pair of variables.
        x: (B, dim_x).
        y: (B, dim_y); all rows but a pair's own are its negatives.
        valid: (B,) bool.
    """
    share, some = shares(valid.float()[:, None])
    values = critic.estimate(_standard(x), _standard(y)[:, None], y.new_ones(1, y.shape[1]), share, None)
    return (share * values).sum() * some.squeeze()


def pair_distance(code: Tensor, partner: Tensor, valid: Tensor) -> Tensor:
    """Mean |s_i - s_π(i)| over coordinates and valid pairs, a scalar; 0 without any."""
    distance = (code - code[partner]).abs().mean(1)
    return (distance * valid).sum() / valid.sum().clamp_min(1)


def _standard(code: Tensor) -> Tensor:
    """Each coordinate with mean 0 and variance 1 over the batch."""
    return F.batch_norm(code, None, None, training=True)


class Critics(nn.Module):
    """T of the three terms.

    Args:
        backbone: width of z.
        expression: width of s.
        identity: width of e.
        bound: in nats.
    """

    def __init__(self, backbone: int, expression: int, identity: int, bound: float):
        super().__init__()
        # inputs are standardised here, so not once more inside
        self.swapped = MINE(1, backbone, expression, bound=bound, normalise=False)
        self.identity = MINE(1, backbone, identity, bound=bound, normalise=False)
        self.shared = MINE(1, expression, identity, bound=bound, normalise=False)

    def forward(
        self, z: Tensor, s: Tensor, e: Tensor, partner: Tensor, valid: Tensor, held: bool = False
    ) -> tuple[Tensor, ...]:
        """I_DV(z; s_π), I_DV(z; e) and I_DV(s; e), scalars in nats, for π and its validity, (B,) each.

        The last gives s no gradient where it is `held`.
        """
        all_valid = torch.ones_like(valid)
        return (
            information(self.swapped, z, s[partner], valid),
            information(self.identity, z.detach(), e, all_valid),
            information(self.shared, s.detach() if held else s, e, all_valid),
        )


class DICE(Plain):
    """L_VA, mutual information across swapped codes, and an adversary between expression and identity."""

    @dataclass(frozen=True)
    class Terms:
        """Settings of the mutual information terms.

        Attributes:
            alpha: α, weight of what is maximised.
            beta: β, weight of what is minimised.
            delta: δ, weight of the distance of a pair's codes, beside an information of weight 1.
            two_stages: whether the expression code is held still where the identity code meets it.
            radius: largest distance of a pair's valence and arousal.
            ramp: share of the steps over which β rises from 0.
            identity: width of the identity code.
            bound: of the critics, in nats.
            critic_lr: learning rate of the critics' Adam.
        """

        alpha: float = 0.01
        beta: float = 0.01
        delta: float = 0.2
        two_stages: bool = True
        radius: float = 0.25
        ramp: float = 0.5
        identity: int = 32
        bound: float = 10.0
        critic_lr: float = 5e-4

        def __post_init__(self) -> None:
            within(self, 0, inf, "alpha", "beta", "delta", "radius", "critic_lr")
            within(self, 0, 1, "ramp")
            within(self, 1, inf, "identity")
            within(self, 1, 80, "bound")  # exp(80) is still a float32

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.terms = terms_of(self.Terms, setup.terms)
        backbone, expression, width = setup.network.dim_backbone, setup.network.dim, self.terms.identity
        self.identity = nn.Sequential(nn.Linear(backbone, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.companion = Companion("identity", self.identity, self.fabric, self.budget)
        self.critics = Critics(backbone, expression, width, self.terms.bound).to(setup.fabric.device)
        self.critics_adam = torch.optim.Adam(self.critics.parameters(), lr=self.terms.critic_lr)

    def step(self, batch: Batch) -> dict[str, float]:
        """One step; logs the loss, L_VA, three estimates in nats, distance and share of pairs."""
        prediction = self.network(batch.image)
        va = va_loss(prediction.valence_arousal.float(), batch.target, batch.sample_weight)
        z, s = prediction.backbone.float(), prediction.expression.float()
        e = self.identity(z.detach())
        pairs = partners(batch.target, batch.subject, self.terms.radius)
        estimates = torch.stack(self.critics(z.detach(), s.detach(), e.detach(), *pairs))
        learn_critic(self.critics, self.critics_adam, -estimates.sum(), self.budget.clip)
        self.critics.requires_grad_(False)
        swapped, identity, shared = self.critics(z, s, e, *pairs, held=self.terms.two_stages)
        self.critics.requires_grad_(True)
        strength = self.terms.beta * ramp(self.schedule.last_epoch, self.budget.steps, self.terms.ramp)
        distance = pair_distance(s, *pairs)
        gained = swapped - self.terms.delta * distance + identity
        loss = va - self.terms.alpha * gained + strength * F.relu(shared)
        self.companion.clear()
        self.descend(loss)  # its backward pass reaches the identity code too
        self.companion.step()
        paired = pairs[1].float().mean()
        return numbers(
            loss=loss,
            va=va,
            swapped=swapped,
            identity=identity,
            shared=shared,
            distance=distance,
            paired=paired,
        )

    def modules(self) -> dict[str, nn.Module]:
        """The network, the identity code and the critics."""
        return super().modules() | self.companion.modules() | {"critics": self.critics}

    def optimizers(self) -> dict[str, Stateful]:
        """AdamW and schedule of network and identity code, and the critics' Adam."""
        return super().optimizers() | self.companion.optimizers() | {"critics": self.critics_adam}
