"""Training on N devices: each computes the features of its share, and all the rest sees the whole batch.

    rank r:   z_r = backbone(images_r)       z = gather(z_1 ... z_N)       loss(z, labels of the whole batch)

Everything behind the backbone (residual modules, head, critics, correlations, batch statistics) is computed
alike by every process, so that no method knows of devices and N processes minimise what one does. A process's
own gradient reaches the backbone through its share z_r only; DDP averages over the ranks, and `gather` hands
back the sum over the ranks, N times the gradient: together the gradient of the whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from idfer.models.network import Network
from idfer.training.global_norm import with_global_statistics


class SharedBackbone(DDPStrategy):
    """Fabric's DDP, of a network's backbone alone.

    Args:
        side: of the network's images, pixels.
        options: of `DDPStrategy`.
    """

    def __init__(self, side: int, **options: Any):
        super().__init__(**options)
        self.side = side

    def setup_module(self, module: nn.Module) -> Any:
        """The same network, which in training takes a share of the images and answers for the whole batch."""
        if not isinstance(module, Network):
            raise TypeError(f"only a Network has a backbone to share, not a {type(module).__name__}.")
        backbone = module.backbone = with_global_statistics(module.backbone, self.root_device)
        share = DistributedDataParallel(
            backbone,
            device_ids=self._determine_ddp_device_ids(),
            find_unused_parameters=_has_unused(backbone, self.side),
        )
        module.shared = lambda images: gather(share(images))
        return module


def gather(share: Tensor) -> Tensor:
    """(B, ...) of all N processes, in the order of their ranks, from each one's (B / N, ...).

    Its gradient is the sum of what the processes give their copies.
    """
    gathered: Tensor = _Gather.apply(share)
    return gathered


def align(modules: dict[str, nn.Module]) -> None:
    """Give all processes the parameters and statistics of the first.

    They are equal already, but for the last digits of kernels that add in no fixed order, or of unequal GPUs.
    """
    for module in modules.values():
        for tensor in module.state_dict().values():
            distributed.broadcast(tensor, 0)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        parts = [torch.empty_like(share) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, share.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size())[distributed.get_rank()]


def _has_unused(backbone: nn.Module, side: int) -> bool:
    """Whether a parameter has no part in the features: DDP must know, or waits for its gradient."""
    training = backbone.training
    parameters = [p for p in backbone.parameters() if p.requires_grad]
    device = parameters[0].device if parameters else torch.device("cpu")
    with torch.enable_grad():
        features = backbone.eval()(torch.zeros(1, 3, side, side, device=device))
        gradients = torch.autograd.grad(features.sum(), parameters, allow_unused=True)
    backbone.train(training)
    return any(gradient is None for gradient in gradients)
