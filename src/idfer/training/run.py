"""Carry out a plan: place the faces, build the network, train it, and keep it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idfer.data.locate import Located, locate
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError, UsageError
from idfer.models.backbone import create_backbone, data_config
from idfer.models.network import Network
from idfer.training.checkpoint import STATE, Seen, new_network, not_finite, save_model, save_seen
from idfer.training.data import TrainingData, check_random_access, training_data
from idfer.training.devices import fabric_on, training_device
from idfer.training.processes import run_processes
from idfer.training.record import Plan, Record
from idfer.training.retrieval import aligned, vectors
from idfer.training.trainer import How, Trainer
from idfer.training.validation import Validation

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest


@dataclass(frozen=True)
class _Work:
    """What a process needs to train: the network's first parameters and everything that it learns from."""

    plan: Plan
    data: TrainingData
    preprocess: Preprocess
    validation: Manifest | None
    table: AttributeTable | None
    seen: Seen
    folder: Path
    how: How
    where: torch.device
    parameters: dict[str, Tensor]
    random: Tensor


def run(
    plan: Plan,
    train: Manifest,
    keys: NDArray[np.int64],
    retrieved: AttributeTable | None,
    validation: Manifest | None,
    table: AttributeTable | None,
    seen: Seen,
    folder: Path,
    how: How,
) -> None:
    """Train a plan's network, or go on where an interrupted run stopped, and write the run.

    Args:
        plan: settings and data.
        train: faces to train on.
        keys: (N,) of their images.
        retrieved: their attributes, row by row; None for a method that needs none.
        validation: faces scored for the log, or None.
        table: attributes retrieved for all of them, or None.
        seen: what is remembered of the training faces.
        folder: of the run.
        how: on which devices, and the like.

    Raises:
        UsageError: there are no such devices, the method cannot be trained so, or another detector placed the
            faces of the run that is interrupted.
        IdferError: too few usable faces, a loss that is not finite, a damaged state, a full disk.
    """
    settings, progress = plan.settings, how.progress
    where = training_device(how.device, how.devices, settings.precision)
    side = settings.size or int(data_config(create_backbone(settings.backbone))["size"])
    check_random_access(train, side)
    placed = locate(train, settings.detector, alignment=settings.alignment, progress=progress)
    _check_placing(folder, placed)
    if len(placed.errors) == len(train):
        first = placed.errors[min(placed.errors)]
        raise IdferError(f"no face can be trained on; the first: {first}. {placed.hint}".rstrip(". ") + ".")
    if placed.hint:
        print(f"idfer: {placed.hint}.", file=sys.stderr)
    torch.manual_seed(settings.seed)
    network = new_network(plan, side, settings.pretrained)
    pixels = data_config(network.backbone)
    preprocess = Preprocess(
        side, settings.margin, settings.alignment, mean=pixels["mean"], std=pixels["std"],
        detector=placed.detector,
    )  # fmt: skip
    data = training_data(settings, placed.manifest, keys, retrieved, preprocess, placed.errors, progress)
    if (size := min(settings.batch_size, len(data.rows))) % how.devices:
        raise UsageError(
            f"a batch of {size} faces cannot be dealt out evenly to {how.devices} devices; choose another "
            "--batch_size or --devices."
        )
    work = _Work(
        plan, data, preprocess, validation, table, seen, folder, how, where,
        network.state_dict(), torch.get_rng_state(),
    )  # fmt: skip
    if how.devices > 1:
        run_processes(_in_process, work, how.devices)
    else:
        _train(work, network)


def _check_placing(folder: Path, placed: Located) -> None:
    """Refuse to go on with faces that are placed otherwise than when the run was begun.

    Raises:
        UsageError: which detector placed them.
    """
    if not (folder / STATE).is_file():
        return
    before = Record.read(folder).preprocess.detector
    if before != placed.detector:
        cure = f"use --detector {before} -o {folder}" if before in ("yunet", "haar") else "choose another -o"
        raise UsageError(f"{folder}: faces were placed by {before}, now by {placed.detector}; {cure}.")


def _in_process(work: _Work) -> None:
    """Train as one of several processes, each with the same network and random state as a single one has."""
    torch.manual_seed(work.plan.settings.seed)  # GPUs', too
    network = new_network(work.plan, work.preprocess.size)
    network.load_state_dict(work.parameters)
    torch.set_rng_state(work.random)
    _train(work, network)


def _train(work: _Work, network: Network) -> None:
    """Train on this process's device; the first process writes the run."""
    plan, how, folder = work.plan, work.how, work.folder
    settings = plan.settings
    fabric = fabric_on(work.where, how.devices, settings.precision, work.preprocess.size)
    levels = {name: list(names) for name, names in plan.levels.items()}
    trainer = Trainer(settings, network, work.data, work.preprocess, levels, fabric)
    if fabric.global_rank:
        trainer.train(folder, None, replace(how, progress=False, loggers=()))
        return
    Record.of(plan, work.preprocess, work.data.sample_weights).write(folder)
    save_seen(folder, work.seen)
    reads = work.table if network.residual.needs_retrieved else None
    trainer.train(folder, _validation(work, reads), how)
    if name := not_finite(trainer.trained):
        (folder / STATE).unlink(missing_ok=True)  # to go on from here would not help
        raise IdferError(
            f"the weights have diverged ({name} is not finite), so {folder} holds no model. Delete it and "
            "train again with a lower --lr."
        )
    save_model(folder, trainer.trained, text=None if reads is None else reads.text)
    (folder / STATE).unlink(missing_ok=True)


def _validation(work: _Work, reads: AttributeTable | None) -> Validation | None:
    """The faces that are scored after every epoch; `reads` where the network reads their ID vectors."""
    if work.validation is None:
        return None
    settings, vectors_of = work.plan.settings, None
    if reads is not None:
        vectors_of = vectors(aligned(reads, work.validation, settings.retrieval), settings.retrieval)
    held_out = locate(
        work.validation, settings.detector, alignment=settings.alignment, progress=work.how.progress
    )
    return Validation(held_out.manifest, work.preprocess, vectors_of, held_out.errors)
