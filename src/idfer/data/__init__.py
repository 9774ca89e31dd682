"""Manifests, images, faces; `read` makes a manifest of a data set on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["read"]

if TYPE_CHECKING:
    from idfer.data.readers.reading import read


def __getattr__(name: str) -> Any:
    if name == "read":
        from idfer.data.readers.reading import read

        return read
    raise AttributeError(f"module 'idfer.data' has no attribute {name!r}")
