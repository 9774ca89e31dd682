"""The training loop: a method, its data, and a state that resumes to the bit."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from idfer.data.preprocess import Preprocess
from idfer.device import resolve_device
from idfer.errors import IdferError, UsageError
from idfer.files import atomic
from idfer.methods.common import Setup
from idfer.methods.optimise import Budget
from idfer.models.network import Network
from idfer.progress import bar
from idfer.training.augment import augment
from idfer.training.checkpoint import damaged_state, load_state, save_state
from idfer.training.data import TrainingData
from idfer.training.optimizer_state import check_optimizer_state
from idfer.training.order import by_person, drawn
from idfer.training.settings import Settings
from idfer.training.validation import Validation
from idfer.types import Batch, Method


def fabric_for(settings: Settings, device: str) -> Fabric:
    """Device and precision of a run."""
    where = resolve_device(device)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision of every run
    return Fabric(
        accelerator=where.type,
        devices=[where.index or 0] if where.type == "cuda" else 1,
        precision=settings.precision,  # type: ignore[arg-type]
    )


class Trainer:
    """One training run, ready to start or to go on.

    Args:
        settings: of the run.
        network: to train.
        data: to train it on.
        preprocess: the preprocessing contract.
        levels: level names of each attribute.
        fabric: device and precision.
    """

    def __init__(
        self,
        settings: Settings,
        network: Network,
        data: TrainingData,
        preprocess: Preprocess,
        levels: Mapping[str, list[str]],
        fabric: Fabric,
    ):
        self.settings, self.network, self.data = settings, network, data
        self.preprocess, self.fabric = preprocess, fabric
        self.batches = max(1, len(data.rows) // settings.batch_size)
        budget = Budget(settings.epochs * self.batches, settings.lr, settings.weight_decay)
        setup = Setup(network, fabric, budget, data.facts(levels), settings.terms)
        self.method: Method = settings.entry.load()(setup)

    def train(
        self, folder: Path, validation: Validation | None, workers: int, save_seconds: float, progress: bool
    ) -> None:
        """Run all epochs, or those that are left of an interrupted run in `folder`.

        The order of faces is fixed by (seed, epoch) and the augmentation by (seed, epoch, step), so going on
        needs only weights, optimisers and the random state.

        Args:
            folder: where state and log are saved.
            validation: faces scored after every epoch for the log, or None.
            workers: decoding processes.
            save_seconds: the state is saved at least this often, and after every epoch.
            progress: show a bar.
        """
        epochs = self.settings.epochs
        state = self._restore(folder) or {"epoch": 0, "step": 0, "sums": {}, "history": []}
        skip, sums, history = state["step"], state["sums"], state["history"]
        saved = time.monotonic()
        with bar(f"fit {self.settings.method}", epochs * self.batches, progress) as advance:
            advance(state["epoch"] * self.batches + skip, _note(history))
            for epoch in range(state["epoch"], epochs):
                self.network.train()
                batches = self.data.faces.batches(self._order(epoch)[skip:], workers)
                if skip:  # in the middle of an epoch its loader had drawn its seed before the state was saved
                    self._set_random(state)
                for step, (pixels, rows) in enumerate(batches, start=skip):
                    logged = self._logged(self.method.step(self._batch(pixels, rows, epoch, step)))
                    sums = {k: sums.get(k, 0.0) + v for k, v in logged.items()}
                    advance(1, _note(history))
                    if time.monotonic() - saved > save_seconds:
                        self._save(folder, epoch, step + 1, sums, history)
                        saved = time.monotonic()
                line = {"epoch": epoch + 1} | {k: round(v / self.batches, 6) for k, v in sums.items()}
                scores = validation.score(self.network, self.fabric.device) if validation else {}
                history = [*history, line | scores]
                skip, sums = 0, {}
                self._save(folder, epoch + 1, 0, sums, history)
                saved = time.monotonic()

    def _logged(self, logged: Any) -> dict[str, float]:
        """What a step reports.

        Raises:
            UsageError: a method of a user's own reports nothing that can be logged.
            IdferError: its loss is not finite.
        """
        if not isinstance(logged, dict):
            raise UsageError(
                f"method {self.settings.method!r}: `step` gave {type(logged).__name__}; it must give a dict "
                "of numbers, e.g. {'loss': 0.5}."
            )
        if not math.isfinite(logged.get("loss", 0.0)):
            raise IdferError(f"the loss became {logged['loss']}; lower --lr or the weights in --terms.")
        return logged

    def _order(self, epoch: int) -> list[list[int]]:
        """Shuffled batches of row numbers; a last, smaller batch is left out."""
        rng = np.random.default_rng([self.settings.seed, epoch])
        shuffled = rng.permutation(self.data.rows)
        if (sampling := getattr(self.method, "sampling", None)) is not None:  # a method's own wish
            shuffled = drawn(self.data.rows, sampling.double().numpy(), rng)
        size = min(self.settings.batch_size, len(shuffled))
        if people := self.settings.entry.people_per_batch:
            shuffled = by_person(shuffled, self.data.subject.numpy(), max(2, size // people), rng)
        return [shuffled[i * size : (i + 1) * size].tolist() for i in range(self.batches)]

    def _batch(self, pixels: Tensor, rows: Tensor, epoch: int, step: int) -> Batch:
        device = self.fabric.device
        image = pixels.to(device)
        if self.settings.augmentation:
            seed = np.random.SeedSequence([self.settings.seed, epoch, step]).generate_state(1, np.uint64)[0]
            image = augment(image, torch.Generator().manual_seed(int(seed) >> 1))
        return Batch(
            image=self.preprocess.normalise(image),
            target=self.data.target[rows].to(device),
            retrieved=self.data.retrieved[rows].to(device),
            posterior=self.data.posterior[rows].to(device),
            sample_weight=self.data.sample_weight[rows].to(device),
            subject=self.data.subject[rows].to(device),
            row=self.data.place[rows].to(device),
        )

    def _save(
        self, folder: Path, epoch: int, step: int, sums: dict[str, float], history: list[dict[str, float]]
    ) -> None:
        state: dict[str, Any] = {"epoch": epoch, "step": step, "sums": sums, "history": history}
        state["modules"] = {k: v.state_dict() for k, v in self.method.modules().items()}
        state["optimizers"] = {k: v.state_dict() for k, v in self.method.optimizers().items()}
        state["random"] = torch.get_rng_state()
        if self.fabric.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(self.fabric.device)
        save_state(folder, state)
        with atomic(folder / "log.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in history), encoding="utf-8")

    def _restore(self, folder: Path) -> dict[str, Any] | None:
        """Bring method and random generators to the saved state, where there is one.

        Raises:
            IdferError: the state is damaged or of another run.
        """
        if (state := load_state(folder)) is None:
            return None
        try:
            for name, module in self.method.modules().items():
                module.load_state_dict(state["modules"][name])
            for name, optimizer in self.method.optimizers().items():
                check_optimizer_state(optimizer, state["optimizers"][name])
                optimizer.load_state_dict(state["optimizers"][name])
            self._set_random(state)
            progress = {"epoch": int(state["epoch"]), "step": int(state["step"])}
            log = {"sums": dict(state["sums"]), "history": [dict(line) for line in state["history"]]}
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            raise damaged_state(folder, error) from error
        if not 0 <= progress["epoch"] <= self.settings.epochs or not 0 <= progress["step"] <= self.batches:
            raise damaged_state(folder, ValueError(f"epoch {progress['epoch']}, step {progress['step']}"))
        return state | progress | log

    def _set_random(self, state: dict[str, Any]) -> None:
        torch.set_rng_state(state["random"])
        if "random_cuda" in state and self.fabric.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"], self.fabric.device)


def _note(history: list[dict[str, float]]) -> str:
    return f"val CCC {history[-1]['val_ccc']:.3f}" if history and "val_ccc" in history[-1] else ""
