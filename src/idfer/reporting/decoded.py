"""What a decoder beside a run shows, for the run's report: a strip, and who is identified from it."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idfer.data.manifest import Manifest
    from idfer.training.checkpoint import Checkpoint

_PEOPLE, _FACES, _SHOWN = 100, 6, 5  # at most; fewer than two people or faces say nothing
_SPLITS = ("cross", "balanced")  # where labels do not tell people apart


def has_decoder(run: object) -> bool:
    """Whether a run's folder holds a decoder."""
    from idfer.decoding.checkpoint import CONFIG, FOLDER

    return isinstance(run, (str, Path)) and (Path(run) / FOLDER / CONFIG).is_file()


def decoded(
    run: str | Path,
    faces: Manifest,
    control: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    show_faces: bool = True,
) -> dict[str, Any] | None:
    """Draw some faces, and identify people from faces drawn of the expression feature alone.

    Args:
        run: folder of a run with a decoder.
        faces: that were evaluated; of `cross` or `balanced` alone where there are such splits.
        control: a run whose decoder was trained with --identity RUN.
        device: auto, cpu, cuda, cuda:N or mps.
        seed: of draws and of the faces shown.
        show_faces: whether pictures may be shown.

    Returns:
        What the template shows; None where nobody has two faces.

    Raises:
        IdferError: the decoder is of another run or damaged.
    """
    import torch

    from idfer.decoding import checkpoint as kept
    from idfer.decoding import edits
    from idfer.decoding.attack import DRAWS, attacked
    from idfer.decoding.reading import read_crops, read_faces
    from idfer.reporting.strips import rows_of, sheet
    from idfer.training.checkpoint import load_checkpoint

    split = next((name for name in _SPLITS if name in faces.splits), "")
    some = _some(faces.select(split) if split else faces)
    if some is None:
        return None
    trained = load_checkpoint(run, device)
    models: list[tuple[Checkpoint, kept.Kept]] = [(trained, kept.load(trained.path / kept.FOLDER, trained))]
    if control is not None:
        other = load_checkpoint(control, device)
        models.append((other, kept.load(other.path / kept.FOLDER, other, trained)))
    crops, rows = read_crops(trained, some, progress=False)
    person, place = _numbered(rows.subjects)
    probe = place % 2 == 1
    if not probe.any():
        return None
    found, shown = [], {}
    chosen = np.random.default_rng(seed).permutation(np.unique(person))[:_SHOWN]
    first = np.array([np.flatnonzero(person == who)[0] for who in chosen])
    for model, drawer in models:
        reading = read_faces(model, crops, trained)
        neutral = edits.neutral(drawer.decoder, reading)
        found.append({"name": model.name, **attacked(drawer.decoder, reading, neutral, person, probe, seed)})
        if model is trained:
            few = reading.rows(torch.from_numpy(first))
            shown = {"input": crops[first], **edits.detachments(drawer.decoder, few, drawer.concepts)}
        else:
            shown[f"{model.name}: neutral"] = neutral[first]
    drawn = models[0][1].drawn
    return {
        "name": trained.name, "split": split, "people": len(np.unique(person)), "faces": int(probe.sum()),
        "draws": DRAWS, "kind": drawn.kind, "epochs": drawn.epochs, "size": drawn.size, "found": found,
        "columns": len(shown), "image": _uri(sheet(rows_of(shown), list(shown))) if show_faces else "",
        "alt": f"{len(first)} faces, each as it is and then drawn: {', '.join(list(shown)[1:])}",
    }  # fmt: skip


def _some(faces: Manifest) -> Manifest | None:
    """A few faces each of people who have two or more."""
    person, place = _numbered(faces.subjects)
    several = np.flatnonzero(np.bincount(person) > 1)
    if len(several) < 2:
        return None
    return faces.rows(np.isin(person, several[:_PEOPLE]) & (place < _FACES))


def _numbered(subjects: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(N,) whose each face is, from 0, and which of theirs it is, from 0."""
    person = np.unique(subjects, return_inverse=True)[1].ravel()
    order = np.argsort(person, kind="stable")
    starts = np.cumsum(np.bincount(person)) - np.bincount(person)
    place = np.empty(len(person), np.intp)
    place[order] = np.arange(len(person)) - starts[person[order]]
    return person, place


def _uri(figure: Any) -> str:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
