"""The methods by name: where each lives and what it needs. Without torch: names are checked at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idfer.methods.common import MethodClass


@dataclass(frozen=True)
class Entry:
    """A method and its defaults.

    Attributes:
        path: MODULE:CLASS.
        attributes: whether it learns from retrieved attributes.
        splits: whether its network has residual modules, so that attributes can be detached at run time.
        weights: whether decorrelation weights are on unless a user says otherwise.
        network: defaults of `form`, `retrieval`, `code` and `head`.
        terms: defaults that differ from those of the class's `Terms` (a preset of another method).
        people_per_batch: batches hold several faces each of about so many people; 0: drawn at random.
    """

    path: str
    attributes: bool = False
    splits: bool = False
    weights: bool = False
    network: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    terms: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    people_per_batch: int = 0

    def load(self) -> MethodClass:
        """Import the class (loads torch)."""
        module, _, name = self.path.partition(":")
        found: MethodClass = getattr(import_module(module), name)
        return found


NETWORK: Mapping[str, Any] = {"form": "distilled", "retrieval": "soft", "code": 0, "head": "mlp"}

METHODS: Mapping[str, Entry] = {
    "erm": Entry("idfer.methods.erm:ERM"),
    "idfer": Entry(
        "idfer.methods.idfer:Idfer", attributes=True, splits=True, weights=True, network={"code": 8}
    ),
    "lineage": Entry(
        "idfer.methods.idfer:Idfer",
        attributes=True,
        splits=True,
        network={"form": "residual_post", "retrieval": "hard", "head": "bottleneck"},
        terms={
            "information": 0.0,
            "rate": 0.0,
            "attach": 0.0,
            "beta": 0.02,
            "estimator": "club_categorical",
            "ramp_from": 0.0,
            "ramp_to": 0.2,
        },
    ),
    "adversarial": Entry("idfer.methods.adversarial:Adversarial", attributes=True),
    "hsic": Entry("idfer.methods.hsic:HSICPenalty", attributes=True),
    "groupdro": Entry("idfer.methods.groupdro:GroupDRO", attributes=True),
    "caf": Entry("idfer.methods.caf:CAF"),
    "avce": Entry("idfer.methods.avce:AVCE"),
    "elim": Entry("idfer.methods.elim:ELIM", people_per_batch=16),
    "dice": Entry("idfer.methods.dice:DICE"),
}
