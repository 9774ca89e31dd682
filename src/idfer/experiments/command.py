"""The command line that gives an experiment's results, as its page shows it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def named(given: object) -> str:
    """A file's path, or that it has none."""
    if given is None:
        return "none"
    return str(given) if isinstance(given, (str, Path)) else "in memory"


def command_line(words: Sequence[str], **options: Any) -> str:
    """The command line that gives these results; options that were not given are left out."""
    line = ["idfer", *words]
    for name, value in options.items():
        if value is None:
            continue
        if isinstance(value, Mapping):
            for key, of in value.items():
                line += [f"--{name}.{key}", _typed(of)]
        else:
            line += [f"--{name}", _typed(value)]
    return shlex.join(line)


def _typed(value: object) -> str:
    """A value as it would be typed; what lies in memory by that it does."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, (int, float)) else named(value)
