"""idfer: identity-invariant facial expression recognition.

Importing this module loads neither torch nor pandas; each name below does so on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from idfer.version import __version__

_PUBLIC = {
    "Manifest": "idfer.data.manifest",
    "AttributeTable": "idfer.attributes.table",
    "Vocabulary": "idfer.attributes.vocabulary",
    "synth": "idfer.synthetic.dataset",
    "manifest": "idfer.data.readers.reading",
    "check": "idfer.evaluation.data_checks",
    "split": "idfer.data.split",
    "retrieve": "idfer.attributes.table",
    "crop": "idfer.data.crop",
    "fit": "idfer.training.fit",
    "evaluate": "idfer.reporting.report",
    "audit": "idfer.reporting.audit",
    "predict": "idfer.inference.predictor",
    "load": "idfer.inference.predictor",
    "export": "idfer.exporting",
    "demo": "idfer.experiments.demo",
    "benchmark_shift": "idfer.experiments.shift",
    "benchmark_compare": "idfer.experiments.compare",
    "benchmark_mi": "idfer.experiments.mi",
    "ablate": "idfer.experiments.ablate",
    "FaceModel": "idfer.types",
    "Outputs": "idfer.types",
    "IdferError": "idfer.errors",
    "UsageError": "idfer.errors",
}
__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable, retrieve
    from idfer.attributes.vocabulary import Vocabulary
    from idfer.data.crop import crop
    from idfer.data.manifest import Manifest
    from idfer.data.readers.reading import manifest
    from idfer.data.split import split
    from idfer.errors import IdferError, UsageError
    from idfer.evaluation.data_checks import check
    from idfer.experiments.ablate import ablate
    from idfer.experiments.compare import benchmark_compare
    from idfer.experiments.demo import demo
    from idfer.experiments.mi import benchmark_mi
    from idfer.experiments.shift import benchmark_shift
    from idfer.exporting import export
    from idfer.inference.predictor import load, predict
    from idfer.reporting.audit import audit
    from idfer.reporting.report import evaluate
    from idfer.synthetic.dataset import synth
    from idfer.training.fit import fit
    from idfer.types import FaceModel, Outputs


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'idfer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
