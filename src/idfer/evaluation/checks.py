"""Coded checks of an evaluation: what makes its numbers worthless, too good, or say less than they seem to.

Arrays and plain values in, sentences out; nothing here knows a model. Codes go on from those of
`idfer.data.manifest` (IDF001 to IDF003, which refuse a manifest); a check refuses nothing: it stands on top
of the report and in metrics.json. Each threshold has its reason beside it.

    IDF101 error    the model has collapsed: one answer for every face
    IDF102 error    the model is saturated: most answers lie at the border of the range
    IDF103 error    rows that the run was trained on are scored (warning: only people that it has seen)
    IDF104 warning  too few people for an interval over people
    IDF105 warning  people are not known, so rows stand for them (note: of some rows)
    IDF106 warning  the certificate excludes nothing (note: no attribute)
    IDF107 warning  faces were found otherwise than in training
    IDF108 warning  attributes of photographs come from the builtin CLIP, which has only seen drawn faces
    IDF109 warning  many rows could not be read (error: most; note: some)
    IDF113 note     videos stand in for people, so intervals are over videos
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")  # worst first
DIMENSIONS = ("valence", "arousal")

# With a spread of 1/20 of the labels', CCC <= 2 s / (1 + s^2) < 0.1 even where every face is ranked right.
COLLAPSED = 0.05
# A clamped or squashed output reaches 0.99 only when it is pushed beyond the range; labels seldom get there.
BORDER, SATURATED = 0.99, 0.5
# Of n people an extreme draw of the bootstrap repeats few of them; below 10 its 95 % covers visibly less.
FEW_PEOPLE = 10
# Unreadable rows are seldom a random sample; from one in twenty on, what is left may be another data set.
MANY_UNREADABLE, MOST_UNREADABLE = 0.05, 0.5


@dataclass(frozen=True)
class Check:
    """One thing to know before reading the numbers.

    Attributes:
        code: stable name, e.g. "IDF101".
        level: "error" (do not use the numbers), "warning" (they say less than they seem to) or "note".
        message: what was seen and what to do, as a sentence or two.
    """

    code: str
    level: Level
    message: str

    def to_dict(self) -> dict[str, str]:
        """The check as plain strings, for metrics.json."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.code} {self.level}: {self.message}"


def run_checks(
    predicted: NDArray[np.floating[Any]],
    labels: NDArray[np.floating[Any]],
    subjects: NDArray[Any],
    errors: NDArray[Any],
    *,
    splits: NDArray[Any] | None = None,
    seen_rows: NDArray[np.bool_] | None = None,
    seen_people: NDArray[np.bool_] | None = None,
    certificate: Mapping[str, Any] | None = None,
    trained_detector: str | None = None,
    detector: str | None = None,
    clip: str = "",
    drawn: bool = True,
    synthetic: bool = True,
    remembers: bool = True,
    videos: bool = False,
) -> list[Check]:
    """Look an evaluation over.

    Args:
        predicted: (N, 2) predicted valence and arousal in [-1, 1]; NaN where a face could not be read.
        labels: (N, 2) valence and arousal.
        subjects: (N,) name of the person of each row, "" where it is not known.
        errors: (N,) why a row could not be read, "" where it was.
        splits: (N,) split of each row; None counts them all as one.
        seen_rows: (N,) whether the run was trained on this very face; None where the run does not remember.
        seen_people: (N,) whether the run was trained on this person; None where the run does not remember.
        certificate: what `certificate.certificate` returned, for a run that has one.
        trained_detector: how faces were found for training, e.g. "yunet" or "none"; None where not known.
        detector: how they were found now; None where not known.
        clip: the CLIP that retrieved the attributes in use, "" where none are.
        drawn: whether every face was made by the drawn engine of `idfer synth`.
        synthetic: whether every face was made by `idfer synth`, with any engine.
        remembers: whether a run of idfer's says what it was trained on, as it should.
        videos: whether `subjects` are videos, which stand in for people.

    Returns:
        What was found, worst first, then by code; empty when nothing was.
    """
    read = errors == ""
    checks = [
        *_outputs(predicted[read].astype(float), labels[read].astype(float)),
        *_seen(seen_rows, seen_people, subjects),
        *_people(subjects, splits if splits is not None else np.full(len(subjects), ""), read),
        *_certificate(certificate),
        *_placing(trained_detector, detector),
        *_clip(clip, drawn),
        *_whole(trained_detector, detector, synthetic),
        *_forgetful(remembers),
        *_stand_ins(videos),
        *_unreadable(errors, read),
    ]
    return sorted(checks, key=lambda check: (LEVELS.index(check.level), check.code))


def _outputs(predicted: NDArray[np.float64], labels: NDArray[np.float64]) -> Iterator[Check]:
    """IDF101 and IDF102, per dimension."""
    if len(predicted) < 2:
        return
    spread, wanted = predicted.std(axis=0), labels.std(axis=0)
    flat = [i for i in (0, 1) if spread[i] < COLLAPSED * wanted[i]]
    if flat:
        said = " and ".join(
            f"{DIMENSIONS[i]} (always near {_signed(predicted[:, i].mean())}; spread {spread[i]:.3f}, "
            f"labels {wanted[i]:.2f})"
            for i in flat
        )
        yield Check(
            "IDF101", "error",
            f"The model has collapsed: it gives every face nearly the same {said}. It reads nothing from the "
            "face; train longer, with another learning rate, or check the labels.",
        )  # fmt: skip
    if outside := int((np.abs(predicted) > 1 + 1e-6).any(axis=1).sum()):
        yield Check(
            "IDF110", "error",
            f"{outside} of {len(predicted)} predictions lie outside [−1, 1]: valence and arousal are on "
            "another scale here. Rescale what the model says, or its RMSE and CCC mean nothing.",
        )  # fmt: skip
        return
    share, usual = (np.mean(np.abs(values) >= BORDER, axis=0) for values in (predicted, labels))
    stuck = [i for i in (0, 1) if share[i] > SATURATED and usual[i] < share[i] / 2]
    if stuck:
        said = " and ".join(f"{share[i]:.0%} of {DIMENSIONS[i]}" for i in stuck)
        yield Check(
            "IDF102", "error",
            f"The model is saturated: {said} lies at the border, −1 or +1, and the labels do not. Check that "
            "its inputs are scaled as in training, or train again with a smaller learning rate.",
        )  # fmt: skip


def _whole(trained: str | None, now: str | None, synthetic: bool) -> Iterator[Check]:
    """IDF111: a model that does not say how it wants faces found gets whole images."""
    if trained is None and now == "none" and not synthetic:
        yield Check(
            "IDF111", "note",
            "Each image was taken for one whole face, since neither the model nor the manifest says where "
            "the faces are. If these are photographs, evaluate with --detector auto.",
        )  # fmt: skip


def _forgetful(remembers: bool) -> Iterator[Check]:
    """IDF112: without its memory a run cannot be warned about."""
    if not remembers:
        yield Check(
            "IDF112", "warning",
            "The run does not say what it was trained on (seen.safetensors is missing), so faces trained on "
            "are not recognised here. Run the same fit again to restore it.",
        )  # fmt: skip


def _stand_ins(videos: bool) -> Iterator[Check]:
    """IDF113: what "people" means where nobody knows them."""
    if videos:
        yield Check(
            "IDF113", "note",
            "Subjects are videos, which stand in for people: where this page says people, read videos. Who "
            "is in several videos makes the intervals too narrow, and may have been trained on.",
        )  # fmt: skip


def _seen(
    rows: NDArray[np.bool_] | None, people: NDArray[np.bool_] | None, subjects: NDArray[Any]
) -> Iterator[Check]:
    """IDF103: scores on what was trained on are too good."""
    count = 0 if rows is None else int(rows.sum())
    known = people is not None and bool(people.any())
    names = _names(subjects)
    persons = len(np.unique(names[people])) if known else 0
    advice = "score people that the run has not seen (a test split; idfer fit --holdout 0.2 keeps some back)."
    total = len(np.unique(names))
    if count:
        whom = f", and {persons} of {total} people" if persons else ""
        yield Check(
            "IDF103", "error",
            f"The run was trained on {count} of these {len(subjects)} faces{whom}: the scores are too good; "
            f"{advice}",
        )  # fmt: skip
    elif persons:
        yield Check(
            "IDF103", "warning",
            f"The run was trained on other pictures of {persons} of these {total} people: the scores are too "
            f"good for strangers; {advice}",
        )  # fmt: skip


def _people(subjects: NDArray[Any], splits: NDArray[Any], read: NDArray[np.bool_]) -> Iterator[Check]:
    """IDF104 and IDF105: what the intervals stand on."""
    names = _names(subjects)
    counts = {
        str(split): len(np.unique(names[read & (splits == split)]))
        for split in dict.fromkeys(splits.tolist())
    }
    few = {split: count for split, count in counts.items() if 0 < count < FEW_PEOPLE}
    if few:
        said = ", ".join(f"{count} in {split}" if split else str(count) for split, count in few.items())
        yield Check(
            "IDF104", "warning",
            f"Too few people for an interval ({said}; at least {FEW_PEOPLE} are needed): "
            "the true uncertainty is larger than the intervals say.",
        )  # fmt: skip
    unknown = int((subjects == "").sum())
    if unknown:
        whose = "any row" if unknown == len(subjects) else f"{unknown} of {len(subjects)} rows"
        yield Check(
            "IDF105", "warning" if unknown == len(subjects) else "note",
            f"The person of {whose} is not known, so each such row counts as a person: where one person has "
            "several rows, intervals are too narrow and leakage too high. Give a column subject.",
        )  # fmt: skip


def _certificate(certificate: Mapping[str, Any] | None) -> Iterator[Check]:
    """IDF106: an upper bound above all there is to know bounds nothing."""
    if certificate is None or (certificate["excludes"] and certificate["excludes_attributes"]):
        return
    beyond = certificate.get("beyond_label")
    rate = f"The certificate is {certificate['rate_nats']:.2f} nats."
    if beyond is not None:
        rate = f"The certificate is {beyond['residual_nats']:.2f} nats beyond the label."
    advice = "A larger weight of the budget (the method's rate) or a shorter code lowers it."
    level: Level = "note" if certificate["excludes"] else "warning"
    yield Check("IDF106", level, f"{rate} {certificate['reading']} {advice}")


def _placing(trained: str | None, now: str | None) -> Iterator[Check]:
    """IDF107: another crop is another face to a network."""
    if trained not in (None, "auto") and now is not None and trained != now:  # auto: none in particular
        yield Check(
            "IDF107", "warning",
            f"Faces were found with {now!r} here and with {trained!r} in training: the network sees them "
            f"placed otherwise than it learned. Find them in the same way for both.",
        )  # fmt: skip


def _clip(clip: str, drawn: bool) -> Iterator[Check]:
    """IDF108: the builtin CLIP has only learned drawn faces."""
    if clip == "builtin" and not drawn:
        yield Check(
            "IDF108", "warning",
            "The attributes come from the builtin CLIP, which has learned drawn faces only: on others they "
            "are often wrong. Retrieve them with a real CLIP (idfer retrieve --clip).",
        )  # fmt: skip


def _unreadable(errors: NDArray[Any], read: NDArray[np.bool_]) -> Iterator[Check]:
    """IDF109: scores speak of the rows that could be read."""
    failed = np.flatnonzero(~read)
    if not failed.size:
        return
    share = failed.size / len(errors)
    level: Level = "error" if share >= MOST_UNREADABLE else "warning" if share >= MANY_UNREADABLE else "note"
    yield Check(
        "IDF109", level,
        f"{failed.size} of {len(errors)} faces ({share:.1%}) could not be read and are not in the scores; "
        f"the first: {errors[failed[0]]}",
    )  # fmt: skip


def _names(subjects: NDArray[Any]) -> NDArray[Any]:
    """(N,) people's names; a row of an unknown person is a person of its own."""
    nameless = np.char.add("\0row ", np.arange(len(subjects)).astype(str))  # no name begins with a NUL
    return np.where(subjects == "", nameless, subjects.astype(str))


def _signed(value: float) -> str:
    """A value with its sign, a true minus."""
    return f"{value:+.2f}".replace("-", "−")
