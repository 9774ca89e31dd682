"""The retrieved ID vectors that a run's network reads: as it was trained, and for other faces later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.attributes.table import id_vectors
from idfer.errors import IdferError, UsageError

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.training.checkpoint import Checkpoint

_SOURCE = ("clip", "clip_fingerprint", "scale", "vocabulary", "vocabulary_fingerprint", "drawn", "warning")


def aligned(table: AttributeTable, faces: Manifest, retrieval: str) -> AttributeTable:
    """The table's rows of these faces; with `truth`, the ground truth in place of CLIP's posteriors.

    Raises:
        UsageError: `truth`, and the manifest lacks an attribute's column.
        IdferError: a face is not in the table, or its true level is not one of the table's.
    """
    rows = table.align(faces)
    if retrieval != "truth":
        return rows
    from idfer.attributes.truth import with_truth

    return with_truth(rows, faces)


def vectors(table: AttributeTable, retrieval: str) -> np.ndarray:
    """(N, A, E) ID vectors of an `aligned` table, 0 where a row has none."""
    # the truth is one level for certain, so soft and hard agree
    filled: np.ndarray = np.nan_to_num(table.retrieved("hard" if retrieval == "hard" else "soft"))
    return filled


def retrieval_record(table: AttributeTable) -> dict[str, Any]:
    """Which CLIP and vocabulary made a table, for a run's configuration."""
    return {key: table.source[key] for key in _SOURCE if key in table.source}


def vectors_for(checkpoint: Checkpoint, faces: Manifest, table: AttributeTable | None) -> np.ndarray | None:
    """(N, A, E) float32 ID vectors that a run's network reads for N faces, NaN where a face has none.

    None where the network reads none, as with the residual form `distilled`.

    Args:
        checkpoint: the run.
        faces: the faces.
        table: attributes retrieved for them, by the CLIP and vocabulary of the run's training. A run trained
            with `truth` reads the manifest's ground truth instead.

    Raises:
        UsageError: there is no table, or it lacks an attribute.
        IdferError: it lacks a face, or was made by another CLIP or vocabulary.
    """
    network, record, text = checkpoint.network, checkpoint.record, checkpoint.text
    if not network.residual.needs_retrieved or text is None:
        return None
    levels = {name: list(record.levels[name]) for name in network.attributes}
    sizes = [len(names) for names in levels.values()]
    if record.settings.retrieval == "truth":
        from idfer.attributes.truth import true_posteriors

        return id_vectors(true_posteriors(levels, faces)[0], text, sizes, "hard")
    clip, vocabulary = (record.retrieved.get(key, "unknown") for key in ("clip", "vocabulary"))
    if table is None:
        raise UsageError(
            f"{checkpoint.path}: its residual form {network.residual.form!r} reads retrieved ID vectors, so "
            "it needs an attribute table of these faces: run `idfer retrieve MANIFEST -o attributes.parquet` "
            f"with --clip {clip} and give --attributes attributes.parquet."
        )
    chosen = table.select(network.attributes)
    same = chosen.levels == levels and chosen.text.shape == text.shape
    if not same or not np.allclose(chosen.text, text, atol=2e-3):
        raise IdferError(
            f"{checkpoint.path}: was trained on ID vectors of CLIP {clip} and vocabulary {vocabulary}; the "
            f"attribute table is of {table.source.get('clip', 'another')} and "
            f"{table.source.get('vocabulary', 'another')}: retrieve these faces with the former."
        )
    return chosen.align(faces).retrieved("hard" if record.settings.retrieval == "hard" else "soft")
