"""Runs made by hand: a network with a record, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from idfer.data.preprocess import Preprocess
from idfer.models.network import Network
from idfer.training.checkpoint import Seen, save_model, save_seen
from idfer.training.record import Record
from idfer.training.settings import Settings


def record_of(
    backbone: str,
    attributes: Sequence[str],
    dim: int,
    preprocess: Preprocess,
    *,
    embedding: int = 0,
    levels: Mapping[str, Sequence[str]] | None = None,
    retrieved: Mapping[str, Any] | None = None,
    **network: Any,
) -> Record:
    """The record of a run; `network` are settings such as form, code, head and retrieval."""
    method = "idfer" if attributes else "erm"
    given = {
        "method": method,
        "backbone": backbone,
        "dim": dim,
        "code": 0,
        "attachment": "features",
        **network,
    }
    settings = Settings.of(**given)
    known = levels or {name: ["low", "high"] for name in attributes}
    levels_of = {name: list(names) for name, names in known.items()}
    return Record(settings, tuple(attributes), levels_of, embedding, dict(retrieved or {}), {}, preprocess)


def write_run(folder: Path, network: Network, record: Record, text: np.ndarray | None = None) -> Path:
    """Write a run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    record.write(folder)
    save_model(folder, network, text=text)
    nobody = np.zeros(0, np.int64)
    save_seen(folder, Seen(nobody, nobody))
    return folder
