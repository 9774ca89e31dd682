"""The training loop: a method, its data, and a state that resumes to the bit."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError, UsageError
from idfer.files import atomic
from idfer.methods.common import Setup
from idfer.methods.optimise import Budget
from idfer.models.network import Network
from idfer.progress import bar
from idfer.training.appearance import strong
from idfer.training.augment import augment
from idfer.training.average import averaged
from idfer.training.checkpoint import damaged_state, load_state, save_state
from idfer.training.data import TrainingData
from idfer.training.optimizer_state import check_optimizer_state
from idfer.training.order import by_person, drawn
from idfer.training.settings import Settings
from idfer.training.shared_backbone import align
from idfer.training.trackers import EVERY, Tracker, trackers
from idfer.training.unread import Unread
from idfer.training.validation import Validation
from idfer.types import Batch, Method


@dataclass(frozen=True)
class How:
    """What of a training changes none of its numbers.

    Attributes:
        device: auto, cpu, cuda, cuda:N or mps.
        devices: how many, with a process each.
        num_workers: decoding processes of each.
        save_seconds: how often the state is saved at least.
        progress: show bars.
        loggers: trackers to log to, from `check_loggers`.
    """

    device: str = "auto"
    devices: int = 1
    num_workers: int = 2
    save_seconds: float = 600.0
    progress: bool = True
    loggers: tuple[str, ...] = ()


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
        self.size = min(settings.batch_size, len(data.rows))
        budget = Budget(settings.epochs * self.batches, settings.lr, settings.weight_decay, settings.min_lr)
        setup = Setup(network, fabric, budget, data.facts(levels), settings.terms)
        self.method: Method = settings.entry.load()(setup)
        self.average = averaged(network, settings.ema) if settings.ema else None

    @property
    def trained(self) -> Network:
        """The network that is scored and kept: of the last step, or the average over the steps."""
        return self.network if self.average is None else cast(Network, self.average.module)

    def train(self, folder: Path, validation: Validation | None, how: How) -> None:
        """Run all epochs, or those that are left of an interrupted run in `folder`.

        The order of faces is fixed by (seed, epoch) and the augmentation by (seed, epoch, step), so going on
        needs only weights, optimisers and the random state.

        Args:
            folder: where state and log are saved.
            validation: faces scored after every epoch for the log, or None.
            how: how often the state is saved beside after every epoch, and the like.
        """
        epochs = self.settings.epochs
        state = self._restore(folder) or {"epoch": 0, "step": 0, "sums": {}, "history": []}
        skip, sums, history = state["step"], state["sums"], state["history"]
        unread = Unread(self.data.faces, self.batches * self.size, self.fabric)
        unread.count = state.get("unread", 0)
        done = state["epoch"] * self.batches + skip
        saved = time.monotonic()
        with (
            trackers(how.loggers, folder, self.settings.to_dict(), done) as tracked,
            bar(f"fit {self.settings.method}", epochs * self.batches, how.progress) as advance,
        ):
            advance(done, _note(history))
            for epoch in range(state["epoch"], epochs):
                self.network.train()
                order = self._order(epoch)[skip:]
                batches = self.data.faces.batches(order, how.num_workers, self._share)
                if skip:  # in the middle of an epoch its loader had drawn its seed before the state was saved
                    self._set_random(state)
                for step, (portion, rows) in enumerate(zip(batches, order, strict=True), start=skip):
                    shown = unread.shown(portion, rows)
                    logged = self._logged(self.method.step(self._batch(portion.pixels, shown, epoch, step)))
                    if self.average is not None:
                        self.average.update_parameters(self.network)
                    sums = {k: sums.get(k, 0.0) + v for k, v in logged.items()}
                    done += 1
                    if done % EVERY == 0:
                        self._track(tracked, "step", logged | self._rate(), done)
                    advance(1, _note(history))
                    if time.monotonic() - saved > how.save_seconds:
                        self._save(folder, epoch, step + 1, sums, history, unread.count)
                        saved = time.monotonic()
                line = {"epoch": epoch + 1} | {k: round(v / self.batches, 6) for k, v in sums.items()}
                line |= unread.end(epoch + 1)
                if self.fabric.world_size > 1:
                    align(self.method.modules())
                    if self.average is not None:
                        align({"average": self.average})
                scores = validation.score(self.trained, self.fabric.device) if validation else {}
                history = [*history, line | scores]
                self._track(tracked, "epoch", line | scores, done)
                skip, sums = 0, {}
                self._save(folder, epoch + 1, 0, sums, history)
                saved = time.monotonic()

    @staticmethod
    def _track(tracked: Sequence[Tracker], kind: str, values: Mapping[str, float], done: int) -> None:
        """Tell the trackers: `step/loss` of a single step, `epoch/loss` of an epoch's mean."""
        named = {name if name == kind else f"{kind}/{name}": value for name, value in values.items()}
        for tracker in tracked:
            tracker.log(kind, named, done)

    def _rate(self) -> dict[str, float]:
        """The learning rate of the next step."""
        groups = (getattr(one, "param_groups", None) for one in self.method.optimizers().values())
        rates = [float(group[0]["lr"]) for group in groups if group]
        return {"lr": rates[0]} if rates else {}

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
        if people := self.settings.entry.people_per_batch:
            shuffled = by_person(shuffled, self.data.subject.numpy(), max(2, self.size // people), rng)
        return [shuffled[i * self.size : (i + 1) * self.size].tolist() for i in range(self.batches)]

    @property
    def _share(self) -> slice:
        """Which faces of a batch this process reads."""
        count = self.size // self.fabric.world_size
        return slice(self.fabric.global_rank * count, (self.fabric.global_rank + 1) * count)

    def _batch(self, pixels: Tensor, rows: list[int], epoch: int, step: int) -> Batch:
        """This process's share of the images, and what is known of all faces of the batch."""
        device = self.fabric.device
        image = pixels.to(device)
        if self.settings.augmentation:
            seed = np.random.SeedSequence([self.settings.seed, epoch, step]).generate_state(1, np.uint64)[0]
            draw = torch.Generator().manual_seed(int(seed) >> 1)
            vary = strong if self.settings.augmentation == "strong" else augment
            image = vary(image, draw, self._share.start, len(rows))
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
        self, folder: Path, epoch: int, step: int, sums: dict[str, float], history: list[dict[str, float]],
        unread: int = 0,
    ) -> None:  # fmt: skip
        if self.fabric.global_rank:
            return
        state: dict[str, Any] = {"epoch": epoch, "step": step, "sums": sums, "history": history}
        state["unread"] = unread
        state["modules"] = {k: v.state_dict() for k, v in self.method.modules().items()}
        if self.average is not None:
            state["average"] = self.average.state_dict()
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
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            for name, optimizer in self.method.optimizers().items():
                check_optimizer_state(optimizer, state["optimizers"][name])
                optimizer.load_state_dict(state["optimizers"][name])
            self._set_random(state)
            progress = {"epoch": int(state["epoch"]), "step": int(state["step"])}
            progress["unread"] = int(state.get("unread", 0))  # earlier versions count none
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
