"""Where a run is trained: one device in this process, or several with a process each."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from idfer.device import resolve_device
from idfer.errors import UsageError
from idfer.training.shared_backbone import SharedBackbone

_LONG = timedelta(days=1)  # the others wait for the first while it scores `val`; who dies is seen otherwise


def training_device(device: str, devices: int, precision: str) -> torch.device:
    """The device to train on, or of which kind several are.

    Args:
        device: auto, cpu, cuda, cuda:N or mps.
        devices: how many.
        precision: of the run; said where it makes training slow.

    Raises:
        UsageError: there is no such device, or there are not as many.
    """
    where = resolve_device(device)
    if devices > 1:
        if where.type == "mps" or str(where) != where.type:
            raise UsageError(
                f"--devices {devices} with --device {where}: that is one device; use --device cuda or cpu."
            )
        here = torch.cuda.device_count() if where.type == "cuda" else devices
        if devices > here:
            raise UsageError(f"--devices {devices}: there are {here} CUDA device(s) here.")
    if where.type == "cuda" and precision == "bf16-mixed" and not torch.cuda.is_bf16_supported(False):
        print("idfer: this GPU has no bf16 of its own; --precision 16-mixed is faster.", file=sys.stderr)
    return where


def fabric_on(where: torch.device, devices: int, precision: str, side: int) -> Fabric:
    """Device and precision of a run, in the process that trains.

    Args:
        where: from `training_device`.
        devices: how many; this process is one of as many.
        precision: of the run.
        side: of the network's images, pixels.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision of every run
    if devices == 1:
        return Fabric(
            accelerator=where.type,
            devices=[where.index or 0] if where.type == "cuda" else 1,
            precision=precision,  # type: ignore[arg-type]
        )
    strategy = SharedBackbone(side, cluster_environment=LightningEnvironment(), timeout=_LONG)
    fabric = Fabric(
        accelerator=where.type, devices=devices, strategy=strategy, precision=precision  # type: ignore[arg-type]
    )  # fmt: skip
    fabric.launch()
    return fabric
