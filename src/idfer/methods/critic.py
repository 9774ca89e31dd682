"""One step of a critic that learns beside the network, in float32, on detached features."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim import Optimizer


def learn(critic: nn.Module, optimizer: Optimizer, loss: Tensor, clip: float) -> None:
    """Descend `loss`, gradients clipped to the norm `clip`.

    It does not wait for the device to see whether the loss is finite: what a critic says enters the network's
    loss, so a critic that broke stops the run there (`idfer.methods.common.descend`).
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(critic.parameters(), clip)
    optimizer.step()
