"""What is known of the attributes of the faces that a decoder learns from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from idfer.attributes.table import AttributeTable
from idfer.decoding.concepts import Concepts
from idfer.errors import IdferError

if TYPE_CHECKING:
    from idfer.data.manifest import Manifest
    from idfer.decoding.reading import Reading
    from idfer.training.checkpoint import Checkpoint


def concepts_of(
    identity: Checkpoint,
    read: Reading,
    faces: Manifest,
    attributes: str | Path | AttributeTable | None = None,
) -> Concepts | None:
    """What each attribute makes in the features of faces.

    Args:
        identity: the run whose identity features are among them.
        read: the features of N faces.
        faces: their N rows.
        attributes: their levels, as for `decode_fit`.

    Returns:
        None where the levels are not known: no table, and a run that reads none.

    Raises:
        IdferError: a face is not in the table, or fewer than two were retrieved.
    """
    if attributes is not None:
        table = attributes if isinstance(attributes, AttributeTable) else AttributeTable.read(attributes)
        said = table.align(faces)
        seen = np.isfinite(said.posteriors).all(1)
        if seen.sum() < 2:
            raise IdferError(
                f"the table has attributes of {seen.sum()} of these {len(faces)} faces, the others were not "
                "retrieved; run `idfer retrieve` again on them, or leave --attributes out."
            )
        levels = {name: said.posterior(name)[seen] for name in said.levels}
        return Concepts.fit(read.rows(torch.from_numpy(seen)), levels, faces.targets[seen])
    evidence = identity.network.evidence
    if evidence is None:
        return None
    with torch.inference_mode():
        posteriors = evidence.log_levels(read.identity).exp().cpu().numpy()
    levels = {
        name: posteriors[:, k, : len(identity.record.levels[name])]
        for k, name in enumerate(identity.attributes)
    }
    return Concepts.fit(read, levels, faces.targets)
