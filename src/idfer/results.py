"""Results as files: strict JSON, whole or not at all, and the versions that numbers depend on."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from idfer.files import atomic

_PACKAGES = ("idfer", "torch", "timm", "numpy", "pandas", "open-clip-torch")


def environment() -> dict[str, str]:
    """Versions of what the numbers depend on, and the platform."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    return versions


def json_ready(value: Any) -> Any:
    """`value` in JSON's own types: arrays as lists, records as objects, what is not finite as None."""
    import numpy as np

    if is_dataclass(value) and not isinstance(value, type):
        return json_ready(value.to_dict() if hasattr(value, "to_dict") else asdict(value))
    if isinstance(value, dict):
        return {str(key): json_ready(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [json_ready(part) for part in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str) else str(value)


def write_json(path: str | Path, content: Any) -> Path:
    """Write `json_ready` content, one space of indent, whole or not at all; returns the path."""
    text = json.dumps(json_ready(content), indent=1, allow_nan=False, ensure_ascii=False)
    with atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return Path(path)
