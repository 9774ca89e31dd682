"""`decode`: what a run's features show of faces in photographs, drawn back as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idfer.errors import IdferError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idfer.decoding.checkpoint import Kept
    from idfer.training.checkpoint import Checkpoint

_FORMATS = (".png", ".svg", ".pdf")
_MOST = 16  # faces on a sheet
STRENGTHS, GRID = "-strengths", "-grid"  # what is added to the name of the first picture


def decode(
    run: str | Path,
    inputs: Sequence[str | Path] | str | Path,
    *,
    out: str | Path = "strip.png",
    decoder: str | Path | None = None,
    control: str | Path | None = None,
    detector: str | None = None,
    strengths: list[float] | str = "-1,0,0.5,1,2",
    device: str = "auto",
) -> str:
    """Show what a run's features keep of faces.

    Three pictures. A row per face: the input; drawn from all its features; each attribute detached, that is
    the mean person's in every feature that tells it; and the ID-neutral face, drawn from the expression
    feature alone. The same face with each attribute at several strengths. And with two faces or more,
    everyone's identity features with everyone's expression.

    A decoder shows what it learned to draw from features: not more than is in them, and less where it is
    weak. A drawn face is nobody's photograph.

    Args:
        run: folder of a run with a decoder (see `idfer decode fit`).
        inputs: image files or folders; the largest face of each is taken.
        out: the first picture, .png, .svg or .pdf; the others are beside it as NAME-strengths and NAME-grid.
        decoder: folder of the decoder; RUN/decoder by default.
        control: a run, e.g. of erm, with a decoder that was trained with --identity RUN: its ID-neutral face
            is shown, too, drawn from its feature alone.
        detector: what finds faces; as in the run's training by default.
        strengths: at which each attribute is drawn.
        device: auto, cpu, cuda, cuda:N or mps.

    Returns:
        The files written, and inputs that were left out.

    Raises:
        UsageError: no decoder or one of another run, another format, or strengths that are no numbers.
        IdferError: no input shows a face.
    """
    import torch

    from idfer.decoding import checkpoint as kept
    from idfer.decoding import edits
    from idfer.decoding.reading import check_readable, read_faces
    from idfer.reporting.folder import check_out
    from idfer.reporting.strips import rows_of, sheet, write
    from idfer.training.checkpoint import load_checkpoint

    target = Path(out)
    if target.suffix.lower() not in _FORMATS:
        raise UsageError(f"-o {out}: give a picture's name that ends in {', '.join(_FORMATS)}.")
    check_out(target.parent, ())
    for file in (target, _beside(target, STRENGTHS), _beside(target, GRID)):
        if file.is_dir():
            raise UsageError(f"-o {out}: {file} is a folder; choose another name.")
    asked = _numbers(strengths)
    trained = load_checkpoint(run, device)
    check_readable(trained)
    drawer = kept.load(Path(decoder) if decoder is not None else trained.path / kept.FOLDER, trained)
    beside = None if control is None else _control(control, trained, device)
    names, crops, problems = _faces(trained, inputs, detector)
    reading = read_faces(trained, crops)
    shown = {"input": crops, **edits.detachments(drawer.decoder, reading, drawer.concepts)}
    if drawer.drawn.kind == "flow":
        shown[f"{edits.NEUTRAL},\nother noise"] = edits.neutral(drawer.decoder, reading, seed=1)
    if beside is not None:
        theirs = read_faces(beside[0], crops, trained)
        shown[f"{beside[0].name}'s\nfeature alone"] = edits.neutral(beside[1].decoder, theirs)
    files = {target: sheet(rows_of(shown), list(shown), names)}
    if drawer.concepts is None:
        problems.append(
            "no attribute is shown at strengths: nobody knew those of the training faces; give `idfer decode "
            "fit` --attributes attributes.parquet."
        )
    else:
        one = reading.rows(torch.arange(1))
        overdone = edits.overdone(drawer.decoder, one, drawer.concepts, asked)
        files[_beside(target, STRENGTHS)] = sheet(
            [[pictures[0] for pictures in row] for row in overdone.values()],
            [f"{strength:g}" for strength in asked], list(overdone),
            f"{names[0]}: strength of each attribute",
        )  # fmt: skip
    if len(crops) > 1:
        grid = edits.crossed(drawer.decoder, reading, reading)
        files[_beside(target, GRID)] = sheet(
            [list(row) for row in grid], [f"expression of\n{name}" for name in _short(names)],
            [f"identity of\n{name}" for name in _short(names)],
        )  # fmt: skip
    for file, figure in files.items():
        write(figure, file)
    return "\n".join([*(f"wrote {file}" for file in files), *problems])


def _control(run: str | Path, trained: Checkpoint, device: str) -> tuple[Checkpoint, Kept]:
    """A run that is shown beside another, and its decoder."""
    from idfer.decoding import checkpoint as kept
    from idfer.training.checkpoint import load_checkpoint

    beside = load_checkpoint(run, device)
    return beside, kept.load(beside.path / kept.FOLDER, beside, trained)


def _faces(
    trained: Checkpoint, inputs: Sequence[str | Path] | str | Path, detector: str | None
) -> tuple[list[str], NDArray[np.uint8], list[str]]:
    """Names and crops of the largest face of each input, and what was left out and why."""
    import sys

    from idfer.inference.cutting import largest_face
    from idfer.inference.framing import detector_for
    from idfer.inference.inputs import list_images

    chosen, warning = detector_for(trained.preprocess.detector, detector)
    if warning:
        print(f"idfer: {warning}", file=sys.stderr)
    names: list[Path] = []
    crops: list[NDArray[np.uint8]] = []
    problems: list[str] = []
    listed = list_images([inputs] if isinstance(inputs, (str, Path)) else inputs).sources
    for looked_at, source in enumerate(listed):
        if len(crops) == _MOST:
            problems.append(f"left out {len(listed) - looked_at} inputs: a sheet shows {_MOST} faces.")
            break
        try:
            crops.append(largest_face(source, chosen, trained.preprocess).crop)
            names.append(source.path)
        except IdferError as error:
            problems.append(f"left out {error}")
    if not crops:
        raise IdferError(
            f"no input shows a face that can be read; the first: {problems[0] if problems else 'none'} Give "
            "--detector none where images are whole faces."
        )
    stems = [path.stem for path in names]
    alike = len(set(stems)) < len(stems)  # a folder a person, say
    told = [f"{path.parent.name}/{path.stem}" for path in names] if alike else stems
    return told, np.stack(crops), problems


def _numbers(given: list[float] | str) -> list[float]:
    parts = given.split(",") if isinstance(given, str) else given
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError) as error:
        raise UsageError(f"--strengths {given}: give numbers joined by commas, e.g. -1,0,1,2.") from error
    if not numbers or not np.isfinite(numbers).all():
        raise UsageError(f"--strengths {given}: give finite numbers joined by commas, e.g. -1,0,1,2.")
    return numbers


def _beside(path: Path, word: str) -> Path:
    return path.with_name(f"{path.stem}{word}{path.suffix}")


def _short(names: Sequence[str]) -> list[str]:
    return [name if len(name) <= 12 else f"{name[:11]}…" for name in names]
