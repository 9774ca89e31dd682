"""What one decoder's pictures of a full cross show, beside the faces that should have come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from idfer.attributes.reader import ClipReader
    from idfer.decoding.concepts import Concepts
    from idfer.decoding.reading import Reading
    from idfer.experiments.judges import Judge
    from idfer.models.decoder import Decoder
    from idfer.models.flow import Flow
    from idfer.training.checkpoint import Checkpoint

_EVERY = 4  # of the faces whose attributes are edited: each edit is drawn and shown to CLIP
Pictures = NDArray[np.uint8]
Values = NDArray[np.floating[Any]]


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

    @property
    def probe(self) -> NDArray[np.bool_]:
        """(P * E,) every other expression: faces to be identified; the rest are the gallery."""
        return np.asarray(self.expression % 2 == 1)


@dataclass(frozen=True)
class Truth:
    """The true faces of a cross, and what independent networks read from them, read once for all decoders.

    Attributes:
        crossed: the faces.
        reader: a network that reads valence and arousal.
        judge: a network that tells people apart.
        clip: reads attributes.
        said: (N, 2) valence and arousal that the reader reads.
        posteriors: (N / `_EVERY`, K) attributes of some faces, in the columns of `clip`.
        lent: the same of the faces that lend them theirs.
    """

    crossed: Crossed
    reader: Checkpoint
    judge: Judge
    clip: ClipReader
    said: Values
    posteriors: NDArray[np.float32]
    lent: NDArray[np.float32]

    @classmethod
    def of(cls, crossed: Crossed, reader: Checkpoint, judge: Judge, clip: ClipReader) -> Truth:
        """Read the faces."""
        some = np.arange(0, len(crossed.pictures), _EVERY)
        return cls(
            crossed, reader, judge, clip, reader.predict(crossed.pictures).valence_arousal,
            seen(clip, crossed.pictures[some]), seen(clip, crossed.pictures[crossed.giver[some]]),
        )  # fmt: skip

    def photographs(self) -> dict[str, float]:
        """What is measured of decoders, of the faces themselves: what could be read at most."""
        from idfer.decoding import fidelity
        from idfer.decoding.identify import identification

        crossed, probe = self.crossed, self.crossed.probe
        faces, person = crossed.pictures, crossed.person
        named = self.judge.named(faces[probe], faces[~probe], person[~probe])
        return {
            "swap_va_rmse": _rmse(self.said[crossed.target] - self.said),
            "swap_named": float(np.mean(named == person[probe])),
            "identify_mean": identification(faces[~probe], person[~probe], faces[probe], person[probe]),
            "neutral_spread": fidelity.spread(faces, crossed.expression),
        }


def seen(clip: ClipReader, pictures: Pictures) -> NDArray[np.float32]:
    """(N, K) posteriors of the attributes' levels that CLIP reads from pictures."""
    parts = [
        clip.posteriors([clip.prepare(picture, None) for picture in pictures[start : start + 256]])
        for start in range(0, len(pictures), 256)
    ]
    return np.concatenate(parts)


def measured(
    decoder: Decoder | Flow, reading: Reading, concepts: Concepts, truth: Truth, seed: int
) -> dict[str, float]:
    """What one decoder's pictures of a full cross show.

    Args:
        decoder: trained.
        reading: features of the cross, row by row.
        concepts: what each attribute makes in these features.
        truth: the true faces.
        seed: of draws of the expression feature.

    Returns:
        reconstruct_psnr, reconstruct_ssim, reconstruct_distance, reconstruct_frechet, reconstruct_va_rmse:
        all features, against the face. swap_psnr, swap_ssim, swap_distance, swap_frechet: another's identity
        features, against that person with this expression, PSNR where the two people differ; swap_va_rmse:
        valence and arousal read from the swap, against those read from the photograph; swap_named: how often
        the judge names the giver. detach_psnr: the ID-neutral face against the mean of everybody's, where it
        differs from the photograph. neutral_spread: difference between people's ID-neutral faces at one
        expression. And what `attacked` and `edited` give.
    """
    import torch

    from idfer.decoding import edits, fidelity
    from idfer.decoding.attack import attacked

    crossed, judge = truth.crossed, truth.judge
    true, target = crossed.pictures, crossed.pictures[crossed.target]
    whole = edits.draw(decoder, reading.expression, reading.identity)
    lent = reading.identity[torch.from_numpy(crossed.giver)]
    swapped = edits.draw(decoder, reading.expression, lent, lent=True)
    neutral = edits.neutral(decoder, reading)
    anybody = crossed.anybody
    named = judge.named(swapped, true, crossed.person)
    return {
        "reconstruct_psnr": fidelity.psnr(whole, true),
        "reconstruct_ssim": fidelity.ssim(whole, true),
        "reconstruct_distance": judge.distance(whole, true),
        "reconstruct_frechet": judge.frechet(whole, true),
        "swap_psnr": fidelity.psnr(swapped, target, fidelity.changed(true, target)),
        "swap_ssim": fidelity.ssim(swapped, target),
        "swap_distance": judge.distance(swapped, target),
        "swap_frechet": judge.frechet(swapped, true),
        "reconstruct_va_rmse": _rmse(truth.reader.predict(whole).valence_arousal - truth.said),
        "swap_va_rmse": _rmse(truth.reader.predict(swapped).valence_arousal - truth.said),
        "swap_named": float(np.mean(named == crossed.person[crossed.giver])),
        "detach_psnr": fidelity.psnr(neutral, anybody, fidelity.changed(true, anybody)),
        "neutral_spread": fidelity.spread(neutral, crossed.expression),
        **attacked(decoder, reading, neutral, crossed.person, crossed.probe, seed),
        **edited(decoder, reading, concepts, whole, truth),
    }


def edited(
    decoder: Decoder | Flow, reading: Reading, concepts: Concepts, whole: Pictures, truth: Truth
) -> dict[str, float]:
    """Whether another's age makes another age, and only that, as CLIP reads it from the decoded faces.

    Distances between posteriors are total variation, as shares of those between the two photographs.

    Args:
        decoder: trained.
        reading: features of the cross.
        concepts: how one attribute is lent.
        whole: faces drawn of all features.
        truth: the true faces.

    Returns:
        edit_A_moves_B: how far B moves when A is lent, for attributes A and B; edit_A_taken: share of faces
        that then show the giver's level of A, where it is not their own; edit_moves, edit_spills, edit_taken:
        means of the diagonal, of the rest, and over attributes.
    """
    import torch

    from idfer.decoding import edits

    crossed, levels = truth.crossed, truth.clip.levels
    some = np.arange(0, len(whole), _EVERY)
    faces = reading.rows(torch.from_numpy(some))
    givers = reading.rows(torch.from_numpy(crossed.giver[some]))
    before = seen(truth.clip, whole[some])
    ends = np.cumsum([len(names) for names in levels.values()])
    part = dict(zip(levels, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))

    def moved(a: Values, b: Values, of: str) -> float:
        return float(np.abs(a[:, part[of]] - b[:, part[of]]).sum(1).mean() / 2)

    apart = {name: max(moved(truth.posteriors, truth.lent, name), 1e-6) for name in levels}
    found: dict[str, float] = {}
    for name in concepts.effect:
        lent = concepts.lent(faces, givers, name)
        after = seen(truth.clip, edits.draw(decoder, lent.expression, lent.identity))
        for other in levels:
            found[f"edit_{name}_moves_{other}"] = moved(after, before, other) / apart[other]
        own, theirs, shown = (p[:, part[name]].argmax(1) for p in (truth.posteriors, truth.lent, after))
        differs = own != theirs
        found[f"edit_{name}_taken"] = (
            float(np.mean(shown[differs] == theirs[differs])) if differs.any() else 0.0
        )
    moves = {key: value for key, value in found.items() if "_moves_" in key}
    same = [moves[f"edit_{name}_moves_{name}"] for name in concepts.effect]
    rest = (sum(moves.values()) - sum(same)) / max(1, len(moves) - len(same))
    taken = [found[f"edit_{name}_taken"] for name in concepts.effect]
    return found | {
        "edit_moves": float(np.mean(same)), "edit_spills": rest, "edit_taken": float(np.mean(taken)),
    }  # fmt: skip


def _rmse(difference: Values) -> float:
    return float(np.sqrt(np.square(difference).mean()))
