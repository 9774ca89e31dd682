"""The exponential moving average of a network's weights over the steps of its training.

    average_t = d_t average_(t-1) + (1 - d_t) weights_t        d_t = min(decay, (1 + t) / (10 + t))

Weights of the last step carry the noise of the last batches; their average does not (Polyak and Juditsky
1992, SIAM J. Control Optim. 30:838). The decay grows in the first steps, so that a short training does not
keep its random start. Statistics of the network are averaged alike: batch normalisation's, and the error that
evidence of attributes is weighed by, which is the last step's network's, so rather too large.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """The average of a network's parameters and statistics; call `update_parameters` after every step."""

    @torch.no_grad()
    def move(average: PARAM_LIST, current: PARAM_LIST, steps: Tensor | int) -> None:
        count = int(steps)
        pace = 1 - min(decay, (1 + count) / (10 + count))
        for kept, new in zip(average, current, strict=True):
            if kept.is_floating_point():
                kept.copy_(torch.where(new.isfinite(), kept.lerp(new, pace), new))  # masks are infinite
            else:
                kept.copy_(new)

    where = next(network.parameters()).device
    return AveragedModel(network, where, multi_avg_fn=move, use_buffers=True).eval()
