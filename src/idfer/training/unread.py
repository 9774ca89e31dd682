"""Training faces that cannot be read while they stream from the disk: told of, counted, and bounded.

To read hundreds of thousands of pictures beforehand would take too long, so another face of the batch stands
in for one that is broken (`idfer.data.loader.FaceDataset.portion`). A few change nothing that is learned.
"""

from __future__ import annotations

import sys
from typing import cast

from lightning_fabric import Fabric
from torch import Tensor

from idfer.data.loader import FaceDataset, Portion
from idfer.errors import IdferError

MOST = 0.05  # of an epoch's faces [ours]


class Unread:
    """What could not be read of an epoch.

    Args:
        faces: that are trained on.
        total: faces of an epoch.
        fabric: of the processes that share each batch.

    Attributes:
        count: faces of this epoch so far that others stood in for.
    """

    def __init__(self, faces: FaceDataset, total: int, fabric: Fabric) -> None:
        self.faces, self.total, self.fabric = faces, total, fabric
        self.count = 0
        self._messages: dict[int, str] = {}
        self._untold: list[int] = []

    def shown(self, portion: Portion, rows: list[int]) -> list[int]:
        """Whose faces a batch shows, where `rows` were asked for and `portion` is this process's share.

        Raises:
            IdferError: more than `MOST` of an epoch cannot be read.
        """
        if self.faces.pixels is not None:
            return rows
        shown = portion.rows
        if self.fabric.world_size > 1:
            shown = cast(Tensor, self.fabric.all_gather(shown.to(self.fabric.device))).reshape(-1)
        found: list[int] = shown.tolist()
        broken = [row for row, seen in zip(rows, found, strict=True) if row != seen]
        self.count += len(broken)
        for row in broken:
            if row not in self._messages:
                self._messages[row] = portion.unread.get(row, "")
                self._untold.append(row)
        if self.count > MOST * self.total:
            raise IdferError(
                f"more than {MOST:.0%} of the {self.total} training faces of an epoch cannot be read; the "
                f"first: {self._why(broken[0])} Mend the files (`idfer check` names them), and the same "
                "command goes on."
            )
        return found

    def end(self, epoch: int) -> dict[str, int]:
        """End an epoch: tell of faces that were not told of yet; its count for the log, where there is one.

        Args:
            epoch: from 1.
        """
        count, self.count = self.count, 0
        untold, self._untold = self._untold, []
        if untold and not self.fabric.global_rank:
            print(
                f"idfer: epoch {epoch}: {len(untold)} of {self.total} training faces could not be read, and "
                f"others of their batches stood in for them; the first: {self._why(untold[0])}",
                file=sys.stderr,
            )
        return {"unread": count} if count else {}

    def _why(self, row: int) -> str:
        """Why a row cannot be read, which another process may have been told."""
        if not self._messages[row]:
            try:
                self.faces.read(row)
            except IdferError as error:
                self._messages[row] = str(error)
        return self._messages[row] or f"row {row}: {self.faces.files[row]}: could not be read."
