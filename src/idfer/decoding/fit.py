"""`decode fit`: train a decoder on the features of a trained run, whose weights stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from idfer.errors import UsageError, unknown
from idfer.ranges import check_at_least, check_finite, check_seed

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.training.checkpoint import Checkpoint

EPOCHS = {"fast": 30, "flow": 40}


def decode_fit(
    run: str | Path,
    manifest: str | Path | Manifest,
    *,
    kind: Literal["fast", "flow"] = "fast",
    attributes: str | Path | AttributeTable | None = None,
    identity: str | Path | None = None,
    out: str | Path | None = None,
    size: int | None = None,
    epochs: int | None = None,
    batch_size: int = 64,
    lr: float = 0.002,
    seed: int = 0,
    device: str = "auto",
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    progress: bool = True,
) -> Path:
    """Train a decoder that draws faces from the features of a trained run.

    It is trained on the `train` split: from a draw of the expression feature and identity features to the
    face. Some of the latter are left out at random, so that it can also draw what is left; some are of
    another photograph of the same person, so that it can lend an identity to somebody else's expression. And
    what each attribute makes in all features is measured, so that one can be changed and nothing else. The
    run itself does not change. The same command goes on where it was interrupted. Pictures that do not fit
    into memory (2 GiB: 170,000 of 64 pixels a side) lie in a file beside the decoder while it is trained.

    Args:
        run: folder of a run whose method splits, e.g. idfer.
        manifest: faces to draw: best those that the run was trained on.
        kind: fast, feed-forward: what features do not tell is drawn as the mean of all who could have them;
            or flow, rectified flow: it is made up, sharp, another with every noise.
        attributes: attributes.parquet of `idfer retrieve` for these faces: whose levels can be changed in
            pictures; by default those that the run itself reads from its identity features.
        identity: a run whose identity features stand beside the expression feature of RUN: with RUN one of
            erm, a control that shows what a feature not freed of identity still knows.
        out: folder of the decoder; RUN/decoder by default. Of a model that comes with idfer it must be given.
        size: side of the pictures: 16, 32, 64, 128 or 256 pixels; by default the largest that is no larger
            than the run's input.
        epochs: passes over the faces; 30 of a fast decoder by default, 40 of a flow.
        batch_size: faces per step.
        lr: peak learning rate of AdamW.
        seed: of weights, order and what is left out.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: 32-true, or bf16-mixed: faster on processors that have it.
        progress: show a progress bar.

    Returns:
        The decoder's folder.

    Raises:
        UsageError: the run has no identity features, a value is out of range, the decoder's folder cannot be
            written, or neither memory nor disk has room for the pictures.
        IdferError: no face can be read, or the loss is not finite.
    """
    from idfer.data.manifest import Manifest
    from idfer.decoding import checkpoint as kept
    from idfer.decoding.gather import gather
    from idfer.decoding.levels import concepts_of
    from idfer.decoding.reading import check_readable
    from idfer.decoding.train import read_again, train_and_keep
    from idfer.files import check_target
    from idfer.models.decoder import check_size
    from idfer.training.checkpoint import load_checkpoint

    check_seed(seed)
    if kind not in EPOCHS:
        raise unknown("kind", kind, list(EPOCHS))
    length = EPOCHS[kind] if epochs is None else epochs
    for name, value in (("--epochs", length), ("--batch_size", batch_size)):
        check_at_least(value, 1, name)
    check_finite(lr, "--lr", above=0)
    trained = load_checkpoint(run, device)
    check_readable(trained, attributes=identity is None)
    beside = trained if identity is None else load_checkpoint(identity, device)
    check_readable(beside)
    if beside.preprocess != trained.preprocess:
        raise UsageError(
            f"{beside.path} cuts faces otherwise than {trained.path} (size, margin or detector); a control "
            "is trained on the same faces, cut alike."
        )
    if out is None and trained.shipped:
        raise UsageError(
            f"{trained.name} comes with idfer, and nothing is written into its folder; give --out DIR, and "
            "draw with `idfer decode --decoder DIR`."
        )
    folder = Path(out) if out is not None else trained.path / kept.FOLDER
    check_target(folder / kept.CONFIG)
    faces = manifest if isinstance(manifest, Manifest) else Manifest.read(manifest)
    chosen = faces.select("train") if "train" in faces.splits else faces
    side = _largest(trained) if size is None else size
    check_size(side)
    known, rows = gather(trained, chosen, side, folder, beside, progress)
    concepts = concepts_of(beside, known.straight, rows, attributes)
    drawn = kept.Drawn.of(
        known.straight, side, length, kept.features_of(trained),
        kept.features_of(beside), kind,
    )  # fmt: skip
    train_and_keep(
        folder, drawn, known, concepts, reread=lambda faces: read_again(trained, faces),
        batch_size=batch_size, lr=lr, seed=seed, device=trained.device, precision=precision,
        progress=progress,
    )  # fmt: skip
    return folder


def _largest(trained: Checkpoint) -> int:
    from idfer.models.decoder import SIZES

    return max(size for size in SIZES if size <= max(SIZES[0], trained.preprocess.size))
