"""Where results go: a folder that can be written, and no one else's files under our names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from idfer.errors import UsageError
from idfer.files import check_writable, taken

METRICS, PREDICTIONS, REPORT = "metrics.json", "predictions.parquet", "report.html"
_SCHEMAS = {METRICS: "idfer.metrics/", "audit.json": "idfer.audit/", "comparison.json": "idfer.comparison/"}
GENERATOR = '<meta name="generator" content="idfer'  # every page of ours says so in its head
_OLD_PAGE = "<strong>What these numbers are not.</strong>"  # pages of idfer 0.1 said nothing of their maker
_HEAD, _LARGEST = 1 << 14, 1 << 26  # bytes of a page that are looked at; bytes of metrics that are parsed


def check_out(folder: str | Path, files: Sequence[str] = (METRICS, PREDICTIONS, REPORT)) -> None:
    """Refuse, before any work, a folder that results cannot or should not go to.

    An earlier report of idfer may be replaced; a file of the same name that idfer did not write may not. A
    metrics.json or audit.json is known by its `schema`, a report.html by its generator, tables by the JSON
    file beside them. Nothing is created or changed.

    Args:
        folder: where results are to go; it need not exist.
        files: names that will be written.

    Raises:
        UsageError: the folder is a file or cannot be written, or it holds someone else's file.
    """
    if not str(folder):
        raise UsageError("the name of the output folder is empty; give -o a folder.")
    root = Path(folder)
    try:
        check_writable(root)
        strangers = [name for name in files if taken(root / name) and not _ours(root / name)]
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot write to {folder}: {reason}; choose another -o.") from error
    if strangers:
        raise UsageError(
            f"{root / strangers[0]} was not written by idfer and would be replaced; choose another -o, or "
            "move the file away."
        )


def _ours(path: Path) -> bool:
    """Whether an earlier idfer wrote it. Never opens what is no regular file: a FIFO would wait for good."""
    if not path.is_file():
        return False
    if path.name == REPORT:
        with path.open("rb") as stream:
            head = stream.read(_HEAD).decode(errors="replace")
        return GENERATOR in head or _OLD_PAGE in head
    beside = [path] if path.name in _SCHEMAS else [path.with_name(name) for name in _SCHEMAS]
    return any(_is_ours(file) for file in beside)


def _is_ours(file: Path) -> bool:
    """Whether a JSON file has one of our schemas."""
    if not file.is_file() or file.stat().st_size > _LARGEST:
        return False
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and str(content.get("schema", "")).startswith(_SCHEMAS[file.name])
