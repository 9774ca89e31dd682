"""A YAML file of options (`--config FILE`): a user's, or a run's `config.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idfer.errors import UsageError, unknown
from idfer.files import read_yaml

FORMAT, SETTINGS = "format_version", "settings"  # of a run's config.yaml


def read_options(path: str | Path, known: Sequence[str]) -> dict[str, Any]:
    """Read the options that a file gives, with the underscores of their Python names.

    A run's `config.yaml` holds more than options: of it, the settings that the run was made of are read.

    Args:
        path: the file.
        known: names of the options that exist.

    Raises:
        UsageError: an option that does not exist, one that stands twice, or a run whose settings were not
            recorded.
        IdferError: the file cannot be read (see `read_yaml`).
    """
    content = read_yaml(path)
    if FORMAT in content:
        if not isinstance(settings := content.get(SETTINGS), dict):
            raise UsageError(
                f"{path}: is the config.yaml of a run without a block `{SETTINGS}` (format "
                f"{content[FORMAT]}), which cannot be run again; write the options into a new file."
            )
        content = settings
    options: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in known:
            error = unknown("option", str(key), list(known))
            raise UsageError(f"{path}: {error}")
        if name in options:
            raise UsageError(f"{path}: option {name!r} stands twice, with - and with _; keep one.")
        options[name] = value
    return options
