"""A trial of `benchmark decode`: runs, decoders and judges of one seed, and what they say of its full cross.

Three decoders of one shape are trained alike: on idfer's features; on ERM's feature with idfer's identity
features beside it (the control: what is drawn when the expression feature was not freed of identity); and on
the true factors of expression and person (the ceiling: what this decoder can draw of this kind of knowledge).
The judges learn from people of whom neither runs nor decoders see anything, and who are not in the cross.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from idfer.experiments.decode_measures import Crossed, Truth, measured
from idfer.experiments.jobs import Job, digest_of_source
from idfer.experiments.protocol import CROSS, PROBED, SHIFTED, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from idfer.data.manifest import Manifest
    from idfer.decoding.checkpoint import Kind
    from idfer.decoding.concepts import Concepts
    from idfer.decoding.reading import Reading
    from idfer.decoding.train import Faces
    from idfer.models.decoder import Decoder
    from idfer.models.flow import Flow
    from idfer.training.checkpoint import Checkpoint
    from idfer.training.settings import Settings

TRIAL = "idfer.experiments.decode_trial:decode_trial"
OURS, CONTROL, CEILING, PHOTOGRAPHS = "idfer", "erm", "true factors", "photographs"
_JUDGE = "judge"
# the code that runs hang on, decoders, and numbers
_RUN = ("data", "methods", "models", "objectives", "statistics", "synthetic", "training", "types.py")
_DECODER = (*_RUN, "decoding", "experiments/decode_trial.py")
_SOURCE = (*_DECODER, "attributes", "evaluation", "experiments/decode_measures.py", "experiments/judges.py")
Pictures = NDArray[np.uint8]


class _Given(NamedTuple):
    """What a decoder is trained on and asked for.

    Attributes:
        faces: to learn from.
        reread: see `train_decoder`.
        asked: features of the cross.
    """

    faces: Faces
    reread: Callable[[Tensor], Tensor] | None
    asked: Reading


def job(
    protocol: Protocol, seed: int, ours: Settings, control: Settings, epochs: int, kind: Kind = "fast"
) -> Job:
    """A trial as a job; arguments as of `decode_trial`."""
    arguments = {
        "protocol": protocol, "seed": seed, "ours": ours, "control": control, "epochs": epochs, "kind": kind,
    }  # fmt: skip
    return Job(f"seed {seed}", TRIAL, arguments)


def decode_trial(
    out: Path, protocol: Protocol, seed: int, ours: Settings, control: Settings, epochs: int, kind: Kind
) -> dict[str, Any]:
    """Train and measure; finished runs and decoders are kept, a decoder goes on from its last epoch.

    What another source trained is not taken for this one's, but trained anew.

    Args:
        out: folder of faces and runs.
        protocol: sizes of the splits.
        seed: of faces, weights and order; replaces that of the settings.
        ours: settings of idfer's run; its epochs are those of the judge that tells people apart, too.
        control: settings of ERM's run; the judge that reads valence and arousal is trained twice as long,
            with strong augmentation.
        epochs: of the decoders.
        kind: of the decoders.

    Returns:
        `scores`, numbers by decoder and name, see `measured`; `source`, a hash of the code behind them;
        `sheets`, the folder in `out` where pictures are (`decode_sheets.sheets`).
    """
    from dataclasses import replace

    from idfer.attributes.reader import ClipReader
    from idfer.decoding.levels import concepts_of
    from idfer.decoding.reading import read_crops
    from idfer.experiments.decode_sheets import Drawer, sheets
    from idfer.experiments.judges import Judge, train_identity_net
    from idfer.experiments.trial import draw, is_drawn, read_level, world
    from idfer.reporting.strips import write
    from idfer.training.checkpoint import load_checkpoint
    from idfer.training.fit import fit_settings

    source = digest_of_source(_SOURCE)
    of_runs, folder = kept_in(out, protocol, seed, ours, control, epochs, kind)
    if not is_drawn(out, protocol, seed):
        draw(out, protocol, seed)
    faces, table = read_level(world(out, protocol, seed) / SHIFTED)
    train, part = faces.select("train"), faces.select(CROSS)
    strangers = without_people(faces.select(PROBED), part)
    # decoded faces are blurred, and a reader that never saw blur reads them as calm, whoever shows what
    reader = replace(control, epochs=2 * control.epochs, augmentation="strong")
    asked = {OURS: (train, ours), CONTROL: (train, control), _JUDGE: (strangers, reader)}
    opened = {
        name: load_checkpoint(
            fit_settings(
                given, table, replace(settings, seed=seed), out=of_runs / name, device="cpu", progress=False
            )
        )
        for name, (given, settings) in asked.items()
    }
    crops, train = read_crops(opened[OURS], train, progress=False)
    pictures, part = read_crops(opened[OURS], part, progress=False)
    theirs, strangers = read_crops(opened[OURS], strangers, progress=False)
    who = np.unique(strangers.subjects, return_inverse=True)[1].ravel()
    judge = Judge(train_identity_net(theirs, who, ours.epochs, seed))
    crossed = Crossed.of(pictures, *protocol.cross, seed)
    truth = Truth.of(crossed, opened[_JUDGE], judge, ClipReader.of_vocabulary("builtin", device="cpu"))
    scores = {PHOTOGRAPHS: truth.photographs()}
    drawers = {}
    for name, given in _given(opened, train, crops, part, pictures).items():
        concepts = concepts_of(opened[OURS], given.faces.straight, train, table)
        assert concepts is not None  # there is a table
        decoder = _decoder(folder / name.replace(" ", "-"), given, concepts, epochs, seed, kind)
        drawers[name] = Drawer(decoder, given.asked, concepts)
        scores[name] = measured(*drawers[name], truth, seed)
    for name, figure in sheets(drawers, crossed).items():
        write(figure, folder / f"{name}.webp")
    return {"scores": scores, "source": source, "sheets": folder.relative_to(out).as_posix()}


def kept_in(
    out: Path, protocol: Protocol, seed: int, ours: Settings, control: Settings, epochs: int, kind: Kind
) -> tuple[Path, Path]:
    """Folders of what these arguments and this source make, runs and decoders; as for `decode_trial`."""
    of_runs = job(protocol, seed, ours, control, epochs=0).key  # whatever is decoded of them
    of_decoders = job(protocol, seed, ours, control, epochs, kind).key
    return (
        out / "runs" / f"{of_runs}-{digest_of_source(_RUN)}",
        out / "decoders" / f"{of_decoders}-{digest_of_source(_DECODER)}",
    )


def without_people(faces: Manifest, others: Manifest) -> Manifest:
    """The drawn faces whose person is not among others', to train on; whatever a split calls people."""
    from dataclasses import replace

    from idfer.synthetic.factors import PREFIX

    columns = [PREFIX + "cohort", PREFIX + "identity"]
    known = set(map(tuple, others.frame[columns].to_numpy().tolist()))
    people = map(tuple, faces.frame[columns].to_numpy().tolist())
    strangers = faces.rows(np.flatnonzero([person not in known for person in people]))
    return replace(strangers, frame=strangers.frame.assign(split="train"))


def _given(
    opened: dict[str, Checkpoint], train: Manifest, crops: Pictures, part: Manifest, pictures: Pictures
) -> dict[str, _Given]:
    """What each decoder learns from and is asked for."""
    from functools import partial

    import torch

    from idfer.decoding.reading import read_faces
    from idfer.decoding.train import Faces, faces_of, read_again

    given = {
        name: _Given(
            faces_of(opened[name], crops, train.subjects, opened[OURS]),
            partial(read_again, opened[name]),
            read_faces(opened[name], pictures, opened[OURS]),
        )
        for name in (OURS, CONTROL)
    }
    person = given[OURS].faces.person
    true = Faces(torch.from_numpy(crops).permute(0, 3, 1, 2), true_factors(train), person=person)
    return {**given, CEILING: _Given(true, None, true_factors(part))}


def _decoder(
    folder: Path, given: _Given, concepts: Concepts, epochs: int, seed: int, kind: Kind
) -> Decoder | Flow:
    """A decoder, trained or read from the folder where it was kept."""
    from idfer.decoding import checkpoint as kept
    from idfer.decoding.train import train_and_keep

    if (folder / kept.CONFIG).is_file():
        return kept.read(folder).decoder
    drawn = kept.Drawn.of(given.faces.straight, given.faces.crops.shape[-1], epochs, kind=kind)
    train_and_keep(
        folder, drawn, given.faces, concepts, reread=given.reread, seed=seed, precision="bf16-mixed",
        progress=False,
    )  # fmt: skip
    return kept.read(folder).decoder  # as later runs do: memory laid out otherwise rounds otherwise


def true_factors(faces: Manifest) -> Reading:
    """The factors of expression and person that drawn faces were made of, as if they had been read."""
    import torch

    from idfer.decoding.reading import Reading
    from idfer.synthetic.factors import EXPRESSION, IDENTITY, PREFIX

    def columns(names: tuple[str, ...]) -> Tensor:
        values = faces.frame[[PREFIX + name for name in names]].to_numpy(np.float32)
        return torch.from_numpy(np.ascontiguousarray(values))

    expression = columns(tuple(name for name in EXPRESSION if PREFIX + name in faces.frame))
    person = tuple(n for n in IDENTITY if n not in ("cohort", "identity") and PREFIX + n in faces.frame)
    return Reading(expression, torch.zeros_like(expression), columns(person)[:, None])
