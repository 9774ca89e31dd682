"""A trial of `benchmark decode`: runs, decoders and judges of one seed, and what they say of its full cross.

Three decoders of one shape are trained alike: on idfer's features; on ERM's feature with idfer's identity
features beside it (the control: what is drawn when the expression feature was not freed of identity); and on
the true factors of expression and person (the ceiling: what this decoder can draw of this kind of knowledge).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.experiments.jobs import Job
from idfer.experiments.protocol import CROSS, ORACLE, SHIFTED, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from idfer.data.manifest import Manifest
    from idfer.decoding.reading import Reading
    from idfer.experiments.judges import Judge
    from idfer.models.decoder import Decoder
    from idfer.training.checkpoint import Checkpoint
    from idfer.training.settings import Settings

TRIAL = "idfer.experiments.decode_trial:decode_trial"
OURS, CONTROL, CEILING = "idfer", "erm", "true factors"
Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Crossed:
    """P people who all show the same E expressions, and what is drawn from.

    Attributes:
        pictures: (P * E, S, S, 3) uint8, person by person.
        people: P.
        expressions: E.
        giver: (P * E,) the row of another person's face, of another expression, that lends its identity.
        target: (P * E,) the row of the giver with this row's expression: the truth of the swap.
    """

    pictures: Pictures
    people: int
    expressions: int
    giver: NDArray[np.intp]
    target: NDArray[np.intp]

    @classmethod
    def of(cls, pictures: Pictures, people: int, expressions: int, seed: int) -> Crossed:
        """Draw for every face whose identity it is lent."""
        rng = np.random.default_rng(seed)
        person, shown = np.divmod(np.arange(people * expressions), expressions)
        other = (person + rng.integers(1, people, len(person))) % people
        elsewhere = (shown + rng.integers(1, expressions, len(shown))) % expressions
        return cls(
            pictures, people, expressions, other * expressions + elsewhere, other * expressions + shown
        )

    @property
    def person(self) -> NDArray[np.intp]:
        """(P * E,) whose face each row is."""
        return np.repeat(np.arange(self.people), self.expressions)

    @property
    def expression(self) -> NDArray[np.intp]:
        """(P * E,) which expression each row shows."""
        return np.tile(np.arange(self.expressions), self.people)

    @property
    def anybody(self) -> Pictures:
        """(P * E, S, S, 3) the mean of all people with the row's expression: nobody's face."""
        means = self.pictures.reshape(self.people, self.expressions, *self.pictures.shape[1:]).mean(axis=0)
        return np.asarray(means[self.expression].round(), np.uint8)


def job(protocol: Protocol, seed: int, ours: Settings, control: Settings, epochs: int) -> Job:
    """A trial as a job; arguments as of `decode_trial`."""
    arguments = {"protocol": protocol, "seed": seed, "ours": ours, "control": control, "epochs": epochs}
    return Job(f"seed {seed}", TRIAL, arguments)


def decode_trial(
    out: Path, protocol: Protocol, seed: int, ours: Settings, control: Settings, epochs: int
) -> dict[str, Any]:
    """Train and measure.

    Args:
        out: folder of faces and runs.
        protocol: sizes of the splits.
        seed: of faces, weights and order; replaces that of the settings.
        ours: settings of idfer's run; its backbone, epochs and size are the judges', too.
        control: settings of ERM's run.
        epochs: of the decoders.

    Returns:
        Numbers by decoder and name, see `measured`.
    """
    from dataclasses import replace

    from idfer.decoding.reading import crops_of
    from idfer.experiments.judges import Judge, train_identity_net
    from idfer.experiments.trial import draw, is_drawn, read_level, world
    from idfer.training.checkpoint import load_checkpoint
    from idfer.training.fit import fit_settings

    folder = world(out, protocol, seed)
    if not is_drawn(out, protocol, seed):
        draw(out, protocol, seed)
    faces, table = read_level(folder / SHIFTED)
    learned, learned_table = read_level(folder / ORACLE)
    train, independent = faces.select("train"), learned.select("train")
    runs = out / "runs" / job(protocol, seed, ours, control, epochs).key
    asked = {
        OURS: (train, table, ours),
        CONTROL: (train, table, control),
        "judge": (independent, learned_table, control),
    }
    opened = {
        name: load_checkpoint(
            fit_settings(
                given, known, replace(settings, seed=seed), out=runs / name, device="cpu", progress=False
            )
        )
        for name, (given, known, settings) in asked.items()
    }
    crops = {
        name: crops_of(opened[OURS], part, progress=False)
        for name, part in (("train", train), ("independent", independent))
    }
    who = np.unique(independent.subjects, return_inverse=True)[1].ravel()
    judge = Judge(train_identity_net(crops["independent"], who, ours.epochs, seed))
    part = faces.select(CROSS)
    crossed = Crossed.of(crops_of(opened[OURS], part, progress=False), *protocol.cross, seed)
    decoders = _decoders(opened, train, crops["train"], part, crossed.pictures, epochs, seed)
    scores = {
        name: measured(decoder, reading, crossed, opened["judge"], judge, seed)
        for name, (decoder, reading) in decoders.items()
    }
    scores["photographs"] = _photographs(crossed, judge)
    return {"scores": scores}


def measured(
    decoder: Decoder, reading: Reading, crossed: Crossed, reader: Checkpoint, judge: Judge, seed: int
) -> dict[str, float]:
    """What one decoder's pictures of a full cross show.

    Args:
        decoder: trained.
        reading: features of the cross, row by row.
        crossed: the true faces.
        reader: an independent network that reads valence and arousal.
        judge: an independent network that tells people apart.
        seed: of draws of the expression feature.

    Returns:
        reconstruct_psnr, reconstruct_ssim, reconstruct_distance, reconstruct_frechet: all features, against
        the face. swap_psnr, swap_ssim, swap_distance: another's identity features, against that person with
        this expression, PSNR where the two people differ; swap_va_rmse: valence and arousal read from the
        swap, against those read from the photograph; swap_named: how often the judge names the giver.
        detach_psnr: the ID-neutral face against the mean of everybody's, where it differs from the
        photograph. identify_mean, identify_sampled: `identification` from pictures drawn of the expression
        feature alone. neutral_spread: difference between people's ID-neutral faces at one expression.
    """
    import torch

    from idfer.decoding import fidelity
    from idfer.decoding.edits import draw
    from idfer.decoding.identify import identification

    true, swapped_true = crossed.pictures, crossed.pictures[crossed.target]
    whole = draw(decoder, reading.expression, reading.identity)
    swapped = draw(decoder, reading.expression, reading.identity[torch.from_numpy(crossed.giver)])
    neutral = draw(decoder, reading.expression, reading.identity, 0.0)
    once = draw(decoder, reading.drawn(torch.Generator().manual_seed(seed)), reading.identity, 0.0)
    said = reader.predict(swapped).valence_arousal - reader.predict(true).valence_arousal
    anybody = crossed.anybody
    known = crossed.expression % 2 == 0
    named = judge.named(swapped, true, crossed.person)
    return {
        "reconstruct_psnr": fidelity.psnr(whole, true),
        "reconstruct_ssim": fidelity.ssim(whole, true),
        "reconstruct_distance": judge.distance(whole, true),
        "reconstruct_frechet": judge.frechet(whole, true),
        "swap_psnr": fidelity.psnr(swapped, swapped_true, fidelity.changed(true, swapped_true)),
        "swap_ssim": fidelity.ssim(swapped, swapped_true),
        "swap_distance": judge.distance(swapped, swapped_true),
        "swap_va_rmse": float(np.sqrt(np.square(said).mean())),
        "swap_named": float(np.mean(named == crossed.person[crossed.giver])),
        "detach_psnr": fidelity.psnr(neutral, anybody, fidelity.changed(true, anybody)),
        "identify_mean": identification(neutral, crossed.person, ~known),
        "identify_sampled": identification(once, crossed.person, ~known),
        "neutral_spread": fidelity.spread(neutral, crossed.expression),
    }


def _photographs(crossed: Crossed, judge: Judge) -> dict[str, float]:
    """The same of the faces themselves: what could be read at most."""
    from idfer.decoding import fidelity
    from idfer.decoding.identify import identification

    known = crossed.expression % 2 == 0
    named = judge.named(crossed.pictures[~known], crossed.pictures[known], crossed.person[known])
    return {
        "identify_mean": identification(crossed.pictures, crossed.person, ~known),
        "neutral_spread": fidelity.spread(crossed.pictures, crossed.expression),
        "swap_named": float(np.mean(named == crossed.person[~known])),
    }


def _decoders(
    opened: dict[str, Checkpoint],
    train: Manifest,
    crops: Pictures,
    part: Manifest,
    pictures: Pictures,
    epochs: int,
    seed: int,
) -> dict[str, tuple[Decoder, Reading]]:
    """Each decoder, trained, with what it is asked of the cross."""
    from idfer.decoding.checkpoint import Drawn
    from idfer.decoding.reading import Reading, read_faces
    from idfer.decoding.train import Faces, faces_of, read_again, train_decoder

    ours = faces_of(opened[OURS], crops)
    erm = faces_of(opened[CONTROL], crops)
    assert ours.mirrored is not None and erm.mirrored is not None
    crossed = read_faces(opened[OURS], pictures)
    erm_crossed = read_faces(opened[CONTROL], pictures)

    def beside(read: Reading, of: Reading) -> Reading:
        return Reading(read.expression, read.spread, of.identity)

    given: dict[str, tuple[Faces, Any, Reading]] = {
        OURS: (ours, lambda faces: read_again(opened[OURS], faces), crossed),
        CONTROL: (
            Faces(ours.crops, beside(erm.straight, ours.straight), beside(erm.mirrored, ours.mirrored)),
            lambda faces: read_again(opened[CONTROL], faces), beside(erm_crossed, crossed),
        ),
        CEILING: (Faces(ours.crops, true_factors(train)), None, true_factors(part)),
    }  # fmt: skip
    decoders = {}
    for name, (faces, reread, asked) in given.items():
        drawn = Drawn.of(faces.straight, pictures.shape[1], epochs)
        decoder = train_decoder(
            drawn, faces, reread=reread, seed=seed, precision="bf16-mixed", progress=False
        )
        decoders[name] = decoder, asked
    return decoders


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
