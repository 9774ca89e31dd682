"""The training loop: a method, its data, and a state that resumes to the bit."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from idfer.data.images import Preprocess
from idfer.data.loader import FaceDataset, face_batches
from idfer.data.manifest import Manifest
from idfer.device import resolve_device
from idfer.errors import IdferError
from idfer.files import atomic
from idfer.methods.catalogue import METHODS
from idfer.methods.common import Facts, Setup
from idfer.methods.optimise import Budget
from idfer.models.backbone import create_backbone, data_config
from idfer.models.network import Network, network_of
from idfer.objectives.va import correlations
from idfer.progress import bar
from idfer.statistics.decorrelation import decorrelation_weights
from idfer.training.augment import augment
from idfer.training.checkpoint import load_state, save_state
from idfer.training.order import by_person
from idfer.training.retrieval import vectors
from idfer.types import Batch, Method

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable


@dataclass(frozen=True)
class TrainingData:
    """The training faces with everything that is known of them, row by row.

    Attributes:
        faces: N faces, in memory or read as they are needed.
        rows: (n,) the rows that can be trained on, n <= N.
        target: (N, 2) valence and arousal.
        retrieved: (N, A, E) ID vectors; A = 0 for a method that uses none.
        posterior: (N, K) level posteriors; K = 0 for a method that uses none.
        weight: (N,) sample weights.
        subject: (N,) number of the person.
        place: (N,) place of each row among `rows`.
    """

    faces: FaceDataset
    rows: np.ndarray
    target: Tensor
    retrieved: Tensor
    posterior: Tensor
    weight: Tensor
    subject: Tensor
    place: Tensor


class Trainer:
    """One training run.

    Args:
        config: the settings of `fit`, all resolved.
        device: name of the device.

    Attributes:
        network: the network being trained.
        config: the settings, completed with the preprocessing contract and library versions.
    """

    def __init__(self, config: dict[str, Any], device: str):
        torch.manual_seed(config["seed"])
        where = resolve_device(device)
        self.fabric = Fabric(
            accelerator=where.type,
            devices=[where.index or 0] if where.type == "cuda" else 1,
            precision=config["precision"],
        )
        name, size = config["backbone"], config["size"]
        if size is None:
            size = data_config(create_backbone(name))["size"]
        self.network: Network = network_of(config, size, config["pretrained"])
        own = data_config(self.network.backbone)
        self.preprocess = Preprocess(size, config["margin"], mean=own["mean"], std=own["std"])
        self.config = config | {"preprocess": self.preprocess.to_dict(), "versions": _versions()}

    def prepare(self, train: Manifest, table: AttributeTable | None, progress: bool) -> None:
        """Read the faces, look up and weigh their attributes, and build the method.

        Raises:
            IdferError: fewer than two faces can be used.
        """
        faces = FaceDataset(train, self.preprocess)
        if faces.fits():
            faces.load(progress)
        errors, count = dict(faces.errors), len(train)
        retrieved, posterior, weight = torch.zeros(count, 0, 1), torch.zeros(count, 0), torch.ones(count)
        if table is not None:
            failed = np.flatnonzero(table.errors != "")
            errors |= {int(row): f"row {row}: {table.errors[row]}" for row in failed if row not in errors}
            retrieved = torch.from_numpy(vectors(table, self.config["retrieval"]))
            posterior = torch.from_numpy(np.nan_to_num(table.posteriors))
        rows = np.setdiff1d(np.arange(count), list(errors))
        if errors:
            print(
                f"left out {len(errors)} of {count} training faces; the first: {errors[min(errors)]}",
                file=sys.stderr,
            )
        if len(rows) < 2:
            raise IdferError("fewer than two training faces can be used; mend the paths in the manifest.")
        if self.config["decorrelate"] and table is not None:
            weight[rows] = self._weights(train, table, rows)
        if not METHODS[self.config["method"]].attributes:
            retrieved, posterior = retrieved[:, :0], posterior[:, :0]
        subject = torch.from_numpy(np.unique(train.subjects, return_inverse=True)[1])
        target = torch.from_numpy(train.targets)
        place = torch.zeros(count, dtype=torch.long)
        place[rows] = torch.arange(len(rows))
        self.data = TrainingData(faces, rows, target, retrieved, posterior, weight, subject, place)
        self.batches = max(1, len(rows) // self.config["batch_size"])
        self.method = self._method()

    def _weights(self, train: Manifest, table: AttributeTable, rows: np.ndarray) -> Tensor:
        found = decorrelation_weights(
            train.targets[rows], table.free[rows], train.subjects[rows], seed=self.config["seed"]
        )
        self.config["weights"] = {
            "effective_sample_size": round(found.effective, 1),
            "clipped": round(found.clipped, 4),
            "largest_correlation": [round(v, 4) for v in found.correlation],
        }
        return torch.from_numpy(found.values)

    def _method(self) -> Method:
        config, data = self.config, self.data
        kept = torch.from_numpy(data.rows)
        setup = Setup(
            network=self.network,
            fabric=self.fabric,
            budget=Budget(config["epochs"] * self.batches, config["lr"], config["weight_decay"]),
            facts=Facts(
                data.target[kept],
                data.retrieved[kept],
                data.posterior[kept],
                config["levels"],
                data.subject[kept],
            ),
            terms=config["terms"],
        )
        method: Method = METHODS[config["method"]].load()(setup)
        return method

    def train(
        self,
        folder: Path,
        validation: Manifest | None,
        beside: AttributeTable | None,
        workers: int,
        save_seconds: float,
        progress: bool,
    ) -> None:
        """Run all epochs, or those that are left of an interrupted run in `folder`.

        The order of faces is fixed by (seed, epoch) and the augmentation by (seed, epoch, step), so going on
        needs only weights, optimisers and the random state.

        Args:
            folder: where state and log are saved.
            validation: faces scored after every epoch for the log, or None.
            beside: the attribute table's rows of those faces, for residual forms that read it.
            workers: decoding processes.
            save_seconds: the state is saved at least this often, and after every epoch.
            progress: show a bar.
        """
        epochs = self.config["epochs"]
        state = self._restore(folder) or {"epoch": 0, "step": 0, "sums": {}, "history": []}
        skip, sums, history = state["step"], state["sums"], state["history"]
        scored = None
        if validation is not None:
            retrieved = vectors(beside, self.config["retrieval"]) if beside is not None else None
            scored = _Validation(validation, self.preprocess, retrieved)
        saved = time.monotonic()
        with bar(f"fit {self.config['method']}", epochs * self.batches, progress) as advance:
            advance(state["epoch"] * self.batches + skip, _note(history))
            for epoch in range(state["epoch"], epochs):
                self.network.train()
                batches = self.data.faces.batches(self._order(epoch)[skip:], workers)
                if skip:  # in the middle of an epoch its loader had drawn its seed before the state was saved
                    self._set_random(state)
                for step, (pixels, rows) in enumerate(batches, start=skip):
                    logged = self.method.step(self._batch(pixels, rows, epoch, step))
                    sums = {k: sums.get(k, 0.0) + v for k, v in logged.items()}
                    advance(1, _note(history))
                    if time.monotonic() - saved > save_seconds:
                        self._save(folder, epoch, step + 1, sums, history)
                        saved = time.monotonic()
                line = {"epoch": epoch + 1} | {k: round(v / self.batches, 6) for k, v in sums.items()}
                history = [
                    *history,
                    line | (scored.score(self.network, self.fabric.device) if scored else {}),
                ]
                skip, sums = 0, {}
                self._save(folder, epoch + 1, 0, sums, history)
                saved = time.monotonic()

    def _order(self, epoch: int) -> list[list[int]]:
        """Shuffled batches of row numbers; a last, smaller batch is left out."""
        rng = np.random.default_rng([self.config["seed"], epoch])
        shuffled = rng.permutation(self.data.rows)
        size = min(self.config["batch_size"], len(shuffled))
        if people := METHODS[self.config["method"]].people_per_batch:
            shuffled = by_person(shuffled, self.data.subject.numpy(), max(2, size // people), rng)
        return [shuffled[i * size : (i + 1) * size].tolist() for i in range(self.batches)]

    def _batch(self, pixels: Tensor, rows: Tensor, epoch: int, step: int) -> Batch:
        device = self.fabric.device
        image = pixels.to(device)
        if self.config["augmentation"]:
            key = np.random.SeedSequence([self.config["seed"], epoch, step]).generate_state(1, np.uint64)[0]
            image = augment(image, torch.Generator().manual_seed(int(key) >> 1))
        return Batch(
            image=self.preprocess.normalise(image),
            target=self.data.target[rows].to(device),
            retrieved=self.data.retrieved[rows].to(device),
            posterior=self.data.posterior[rows].to(device),
            weight=self.data.weight[rows].to(device),
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
        """Bring method and random generators to the saved state, where there is one."""
        if (state := load_state(folder)) is None:
            return None
        for name, module in self.method.modules().items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in self.method.optimizers().items():
            optimizer.load_state_dict(state["optimizers"][name])
        self._set_random(state)
        return state

    def _set_random(self, state: dict[str, Any]) -> None:
        torch.set_rng_state(state["random"])
        if "random_cuda" in state and self.fabric.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"], self.fabric.device)


class _Validation:
    """Mean CCC on held-out people after each epoch: for the log, never for a choice."""

    def __init__(self, manifest: Manifest, preprocess: Preprocess, retrieved: np.ndarray | None):
        self.manifest, self.preprocess = manifest, preprocess
        self.retrieved = None if retrieved is None else torch.from_numpy(retrieved)
        dataset = FaceDataset(manifest, preprocess)
        self.kept = list(face_batches(manifest, preprocess)) if dataset.fits() else None

    def score(self, network: Network, device: torch.device) -> dict[str, float]:
        network.eval()
        found, rows = [], []
        with torch.no_grad():
            for index, pixels, _ in self.kept or face_batches(self.manifest, self.preprocess):
                image = self.preprocess.normalise(pixels.to(device))
                given = None
                if self.retrieved is not None and network.residual.needs_retrieved:
                    given = self.retrieved[index].to(device)
                found.append(network(image, retrieved=given).valence_arousal.float().cpu())
                rows.append(index)
        target = torch.from_numpy(self.manifest.targets[np.concatenate(rows)])
        _, ccc = correlations(torch.cat(found), target)
        return {
            "val_ccc_valence": float(ccc[0]),
            "val_ccc_arousal": float(ccc[1]),
            "val_ccc": float(ccc.mean()),
        }


def _note(history: list[dict[str, float]]) -> str:
    return f"val CCC {history[-1]['val_ccc']:.3f}" if history and "val_ccc" in history[-1] else ""


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "timm", "open-clip-torch", "numpy")}
