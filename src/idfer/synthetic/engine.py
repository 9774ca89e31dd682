"""What turns faces, as factors, into pictures: the drawn engine and the mesh engine behind one Protocol.

People, expressions, photographs, correlations, crosses, counterfactuals, captions and manifests do not know
which engine draws: the same `Factors` make the same table from either.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from idfer.data.manifest import DRAWN
from idfer.errors import UsageError, unknown
from idfer.synthetic.factors import Factors

_BATCH = 512  # faces drawn before they are written, and their pixels: bounds the memory
_BATCH_PIXELS = 2**25


class Engine(Protocol):
    """Draws faces.

    Attributes:
        name: what `--engine` calls it, and the manifest's column `engine`.
        source: the manifest's `source` of its faces.
        sheet_size: side of one face of a contact sheet.
        sheet_people: people on it, at most.
    """

    name: str
    source: str
    sheet_size: int
    sheet_people: int

    def check(self, size: int) -> None:
        """Raises `UsageError` unless it can draw faces of that many pixels a side here."""

    def fingerprint(self) -> str:
        """What the pixels depend on besides factors and size."""

    def columns(self, factors: Factors) -> dict[str, Any]:
        """Columns of its own in a manifest of these faces."""

    def landmarks(self, factors: Factors, size: int, progress: bool = False) -> np.ndarray:
        """(N, 5, 2) x, y in pixels of eyes, nose and mouth, in the order of `idfer.data.landmarks`.

        Args:
            factors: the faces.
            size: image side in pixels.
            progress: show a bar where it takes long.
        """

    def render(self, factors: Factors, size: int) -> Tensor:
        """(N, 3, size, size) uint8 RGB; the same factors give the same pixels in any batch."""

    def pictures(self, factors: Factors, size: int) -> Generator[np.ndarray, None, None]:
        """The same as (B, size, size, 3), batch after batch in order, in constant memory."""


class Drawn:
    """The drawn engine: layers of parametric shapes, thousands of faces a second, needs no assets."""

    name, source, sheet_size, sheet_people = "drawn", DRAWN, 128, 8

    def check(self, size: int) -> None:
        """Raises `UsageError` for a size it does not draw."""
        from idfer.synthetic.render import check_size

        check_size(size)

    def fingerprint(self) -> str:
        """Pixels depend on factors and size alone."""
        return self.name

    def columns(self, factors: Factors) -> dict[str, Any]:
        """The engine's name."""
        return {"engine": self.name}

    def landmarks(self, factors: Factors, size: int, progress: bool = False) -> np.ndarray:
        """As `idfer.synthetic.landmarks.landmarks`."""
        from idfer.synthetic.landmarks import landmarks

        return landmarks(factors, size)

    def render(self, factors: Factors, size: int) -> Tensor:
        """As `idfer.synthetic.render.render`."""
        from idfer.synthetic.render import render

        return render(factors, size)

    def pictures(self, factors: Factors, size: int) -> Generator[np.ndarray, None, None]:
        """Batches of hundreds of faces."""
        batch = max(1, min(_BATCH, _BATCH_PIXELS // size**2))
        for start in range(0, len(factors), batch):
            yield self.render(factors.rows(slice(start, start + batch)), size).permute(0, 2, 3, 1).numpy()


def engine_of(
    name: str = "drawn",
    assets: str | Path | Sequence[str | Path] = (),
    samples: int | None = None,
    workers: int | None = None,
) -> Engine:
    """The engine of a name.

    Args:
        name: "drawn" or "mesh".
        assets: asset files of the mesh engine, as `idfer assets` makes them.
        samples: paths of light per pixel of the mesh engine; 12 by default.
        workers: processes of the mesh engine; one a core by default, as far as memory goes.

    Raises:
        UsageError: an unknown name, what is the mesh engine's for the drawn engine, no assets or no Mitsuba
            for the mesh engine.
        IdferError: an asset file that cannot be used.
    """
    files = [assets] if isinstance(assets, str | Path) else list(assets)
    if name == "drawn":
        given = {"--assets": files or None, "--samples": samples, "--workers": workers}
        if wrong := [option for option, value in given.items() if value is not None]:
            raise UsageError(
                f"{' and '.join(wrong)}: of the mesh engine; add --engine mesh, or leave out what is its own."
            )
        return Drawn()
    if name != "mesh":
        raise unknown("engine", name, ["drawn", "mesh"])
    from idfer.synthetic.mesh.engine import SAMPLES, Mesh

    return Mesh(files, SAMPLES if samples is None else samples, workers)
