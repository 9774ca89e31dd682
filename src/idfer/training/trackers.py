"""Trackers that a user has: what `log.jsonl` says of every epoch, and steps in between, where a user looks.

`log.jsonl` stays the run's own log. A run that goes on where it stopped goes on in the same tracker: what was
logged after the saved state is logged once.
"""

from __future__ import annotations

import csv
import json
import math
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from idfer.errors import IdferError, UsageError, unknown
from idfer.files import atomic
from idfer.names import split_names

LOGGERS = ("csv", "tensorboard", "wandb")
EVERY = 50  # steps between two that are logged


class Tracker(Protocol):
    """Somewhere to log to."""

    def log(self, kind: str, values: Mapping[str, float], step: int) -> None:
        """Values of a "step" or an "epoch" that ends with `step`, the steps done since training began."""

    def close(self, failed: bool) -> None:
        """Write what is left."""


def check_loggers(loggers: Sequence[str] | str | None) -> tuple[str, ...]:
    """The names of trackers, as a user gives them.

    Raises:
        UsageError: one is unknown or not installed.
    """
    names = tuple(dict.fromkeys(split_names(loggers) or ()))
    for name in names:
        if name not in LOGGERS:
            raise unknown("logger", name, list(LOGGERS))
        if name != "csv" and find_spec(name) is None:
            raise UsageError(f"--logger {name}: {name} is not installed: pip install 'idfer[{name}]'.")
    return names


@contextmanager
def trackers(
    names: Sequence[str], folder: Path, settings: Mapping[str, Any], step: int
) -> Iterator[Sequence[Tracker]]:
    """The trackers of a run, open.

    Args:
        names: from `check_loggers`.
        folder: of the run.
        settings: of the run.
        step: steps done when training begins or goes on; what was logged of later ones is forgotten.

    Raises:
        IdferError: one cannot be opened.
    """
    kinds: Mapping[str, Callable[[Path, Mapping[str, Any], int], Tracker]] = {
        "csv": _Csv, "tensorboard": _TensorBoard, "wandb": _Wandb,
    }  # fmt: skip
    opened: list[Tracker] = []
    failed = True
    try:
        for name in names:
            opened.append(kinds[name](folder, settings, step))  # noqa: PERF401 - those before are closed
        yield opened
        failed = False
    finally:
        for tracker in opened:
            tracker.close(failed)


class _Csv:
    """`csv/metrics.csv`, a row per logged step or epoch."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int):
        from lightning_fabric.loggers.csv_logs import CSVLogger

        file = folder / "csv" / "metrics.csv"
        kept = [row for row in _rows(file) if row["step"] <= step]
        file.unlink(missing_ok=True)  # Fabric's logger begins anew; the old rows go into the new file
        self.logger = CSVLogger(folder, "csv", "")
        for row in kept:
            self.logger.log_metrics(row, row["step"])
        self.logger.save()

    def log(self, kind: str, values: Mapping[str, float], step: int) -> None:
        self.logger.log_metrics({**values}, step)
        self.logger.save()

    def close(self, failed: bool) -> None:
        """Every row is written already."""


def _rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file that are whole, numbers but `step` as they are written."""
    rows: list[dict[str, Any]] = []
    with suppress(FileNotFoundError), file.open(newline="", encoding="utf-8") as opened:
        for row in csv.DictReader(opened):
            with suppress(ValueError, TypeError, KeyError):  # the last may have been cut
                known = {name: value for name, value in row.items() if value and math.isfinite(float(value))}
                rows.append(known | {"step": int(known["step"])})
    return rows


class _TensorBoard:
    """`tensorboard/`, to be shown by `tensorboard --logdir`."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int):
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        self.logger = TensorBoardLogger(folder, "tensorboard", "", purge_step=step + 1)

    def log(self, kind: str, values: Mapping[str, float], step: int) -> None:
        self.logger.log_metrics(values, step)

    def close(self, failed: bool) -> None:
        self.logger.finalize("failed" if failed else "success")


class _Wandb:
    """A run of Weights & Biases; `wandb.json` remembers its id and what it was told."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int):
        import wandb

        self.file = folder / "wandb.json"
        told: dict[str, Any] = {}
        if step:
            with suppress(OSError, ValueError):
                told = dict(json.loads(self.file.read_text(encoding="utf-8")))
        self.id = str(told.get("id") or secrets.token_hex(4))
        self.last = {kind: int(told.get(kind, 0)) for kind in ("step", "epoch")}
        offline = os.environ.get("WANDB_MODE", "online") != "online"
        try:
            self.run: Any = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "idfer"), name=folder.name, id=self.id, dir=folder,
                config=dict(settings), resume=None if offline else "allow",
            )  # fmt: skip
        except (wandb.Error, OSError) as error:
            raise IdferError(
                f"--logger wandb: {' '.join(str(error).split())[:200]}; log in with `wandb login`, or set "
                "WANDB_MODE=offline."
            ) from error

    def log(self, kind: str, values: Mapping[str, float], step: int) -> None:
        if step <= self.last[kind]:
            return  # told before the run was interrupted, and a step gone does not come again there
        self.run.log(dict(values), step=step)
        self.last[kind] = step
        with atomic(self.file) as temporary:
            temporary.write_text(json.dumps({"id": self.id, **self.last}), encoding="utf-8")

    def close(self, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))
