"""Carry out a plan: place the faces, build the network, train it, and keep it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from idfer.data.locate import locate
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError
from idfer.models.backbone import create_backbone, data_config
from idfer.training.checkpoint import STATE, Seen, new_network, not_finite, save_model, save_seen
from idfer.training.data import check_random_access, training_data
from idfer.training.record import Plan, Record
from idfer.training.retrieval import aligned, vectors
from idfer.training.trainer import Trainer, fabric_for
from idfer.training.validation import Validation

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest


def run(
    plan: Plan,
    train: Manifest,
    retrieved: AttributeTable | None,
    validation: Manifest | None,
    table: AttributeTable | None,
    seen: Seen,
    folder: Path,
    *,
    device: str,
    num_workers: int,
    save_seconds: float,
    progress: bool,
) -> None:
    """Train a plan's network, or go on where an interrupted run stopped, and write the run.

    Args:
        plan: settings and data.
        train: faces to train on.
        retrieved: their attributes, row by row; None for a method that needs none.
        validation: faces scored for the log, or None.
        table: attributes retrieved for all of them, or None.
        seen: what is remembered of the training faces.
        folder: of the run.
        device: auto, cpu, cuda, cuda:N or mps.
        num_workers: decoding processes.
        save_seconds: how often the state is saved at least.
        progress: show bars.

    Raises:
        IdferError: too few usable faces, a loss that is not finite, a damaged state, a full disk.
    """
    settings = plan.settings
    fabric = fabric_for(settings, device)
    size = settings.size or int(data_config(create_backbone(settings.backbone))["size"])
    check_random_access(train, size)
    placed = locate(train, settings.detector, progress=progress)
    if len(placed.errors) == len(train):
        first = placed.errors[min(placed.errors)]
        raise IdferError(f"no face can be trained on; the first: {first}. {placed.hint}".rstrip(". ") + ".")
    if placed.hint:
        print(f"idfer: {placed.hint}.", file=sys.stderr)
    torch.manual_seed(settings.seed)
    network = new_network(plan, size, settings.pretrained)
    pixels = data_config(network.backbone)
    preprocess = Preprocess(
        size, settings.margin, settings.alignment, mean=pixels["mean"], std=pixels["std"],
        detector=placed.detector,
    )  # fmt: skip
    data = training_data(settings, placed.manifest, retrieved, preprocess, placed.errors, progress)
    levels = {name: list(names) for name, names in plan.levels.items()}
    trainer = Trainer(settings, network, data, preprocess, levels, fabric)
    Record.of(plan, preprocess, data.sample_weights).write(folder)
    save_seen(folder, seen)
    reads = table if network.residual.needs_retrieved else None
    scored = None
    if validation is not None:
        vectors_of = None
        if reads is not None:
            vectors_of = vectors(aligned(reads, validation, settings.retrieval), settings.retrieval)
        held_out = locate(validation, settings.detector, progress=progress)
        scored = Validation(held_out.manifest, preprocess, vectors_of, held_out.errors)
    trainer.train(folder, scored, num_workers, save_seconds, progress)
    if name := not_finite(network):
        (folder / STATE).unlink(missing_ok=True)  # to go on from here would not help
        raise IdferError(
            f"the weights have diverged ({name} is not finite), so {folder} holds no model. Delete it and "
            "train again with a lower --lr."
        )
    save_model(folder, network, text=None if reads is None else reads.text)
    (folder / STATE).unlink(missing_ok=True)
