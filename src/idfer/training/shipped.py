"""What is to be said of the models that come with idfer."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idfer.training.checkpoint import Checkpoint

METRICS = "metrics.json"  # beside the weights: what was measured of them
_SMILE, _ANGER = "happy over neutral", "neutral over angry"


def caution(model: Checkpoint) -> str:
    """What users of a shipped model should know before they believe it, in one line; "" of any other.

    Of a model that was measured on photographs, what that gave: `metrics.json` beside its weights has
    `photographs`, {measure: {value, low, high}}, areas under the ROC curve.
    """
    if not model.shipped:
        return ""
    measured = _on_photographs(model.path)
    if not measured:
        return (
            f"{model.name} was trained on drawn faces: it shows the machinery, it is not fit for real "
            "photographs."
        )
    smile, anger = (round(100 * measured[name]["value"]) for name in (_SMILE, _ANGER))
    return (
        f"{model.name} was trained on rendered faces, never on a photograph. Of web photographs it calls a "
        f"smile more pleasant than another person's neutral face in {smile} of 100 pairs, a neutral face "
        f"more than an angry one in {anger}. Measure it on yours first (docs/photographs.md)."
    )


@cache  # asked at every call of a predictor
def _on_photographs(folder: Path) -> dict[str, Any]:
    """What was measured on photographs; {} where nothing was."""
    measured: dict[str, Any] = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    return dict(measured.get("photographs", {}))
