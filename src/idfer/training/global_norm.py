"""Batch normalisation over the samples of all processes: a batch has the statistics that it has in one.

On GPUs torch's own `SyncBatchNorm`, which refuses CPUs; on CPUs the same in plain operations.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


def with_global_statistics(module: nn.Module, device: torch.device) -> nn.Module:
    """The module with every batch normalisation over all processes; parameters keep their names."""
    if device.type != "cpu":
        synchronised: nn.Module = convert_sync_batchnorm(module)
        return synchronised
    for layer in module.modules():
        if isinstance(layer, BatchNormAct2d):
            layer.__class__ = _GlobalBatchNormAct
        elif isinstance(layer, _BatchNorm):
            layer.__class__ = _GlobalBatchNorm
    return module


class _GlobalBatchNorm(_BatchNorm):
    """Batch normalisation whose mean and variance are those of all processes' samples, as many each."""

    def forward(self, input: Tensor) -> Tensor:
        """(B / N, C, ...) -> the same shape."""
        if not self.training:
            return super().forward(input)
        ranks = distributed.get_world_size()
        x = input.float()
        axes = [0, *range(2, x.dim())]
        shape = [1, -1] + [1] * (x.dim() - 2)
        mean = _total(x.mean(axes)) / ranks
        centred = x - mean.view(shape)
        variance = _total(centred.square().mean(axes)) / ranks
        if self.track_running_stats:
            self._track(mean.detach(), variance.detach(), ranks * x.numel() // x.shape[1])
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics towards those of a batch of `count` samples."""
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        pace = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, pace)
        self.running_var.lerp_(variance * (count / max(1, count - 1)), pace)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of places."""


class _GlobalBatchNormAct(_GlobalBatchNorm):
    """timm's `BatchNormAct2d`: dropout and activation behind the normalisation."""

    def forward(self, input: Tensor) -> Tensor:
        """(B / N, C, H, W) -> the same shape."""
        drop, act = self.get_submodule("drop"), self.get_submodule("act")
        activated: Tensor = act(drop(super().forward(input)))
        return activated


def _total(value: Tensor) -> Tensor:
    """The sum over the processes, with gradient."""
    total: Tensor = _Total.apply(value)
    return total


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total
