"""What a trial measures of a trained run: functions from what a model says of faces to scores.

A splitting method is scored as it predicts by default, with every attribute detached. "attached" leaves all
of them in, "attached age" that one alone: these names are the `feature` of a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.experiments.protocol import CROSS
from idfer.experiments.scores import Score

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.evaluation.forward import Answers
    from idfer.training.checkpoint import Checkpoint

ATTRIBUTES = ("gender", "age", "skin")
UNNAMED = ("hair_style", "glasses", "mouth_curve")  # effects of what no attribute is retrieved for
DETACHED, ATTACHED = "detached", "attached"
DRAWN = {"16 draws": 16, "64 draws": 64}  # averages of draws that are probed beside one draw and the mean
TEMPLATE = "template"  # the mean feature, averaged over ten images of a person


@dataclass(frozen=True)
class Reader:
    """A trained run, to be asked about faces.

    Attributes:
        checkpoint: the run.
        seed: of the draws of sampled features.
    """

    checkpoint: Checkpoint
    seed: int

    def __call__(self, faces: Manifest, table: AttributeTable | None) -> Answers:
        """What it says of faces, every attribute taken out."""
        return self.each([None], faces, table)[0]

    def each(
        self, strengths: Sequence[Mapping[str, float] | None], faces: Manifest, table: AttributeTable | None
    ) -> list[Answers]:
        """What it says at each of `strengths`: 0 leaves an attribute in, 1 takes it out, None all out."""
        from idfer.evaluation.forward import Pass
        from idfer.training.retrieval import vectors_for

        vectors = vectors_for(self.checkpoint, faces, table)
        return Pass(seed=self.seed, strict=True).each(strengths, self.checkpoint, faces, vectors)

    @property
    def attachable(self) -> tuple[str, ...]:
        """Attributes that can be attached; () where the method does not split."""
        return self.checkpoint.attributes if self.checkpoint.record.settings.entry.splits else ()


def selection(said: Answers, val: Manifest, table: AttributeTable, seed: int) -> list[Score]:
    """Mean CCC on held-out training-distribution people, and its estimate without the shortcut.

    Decorrelation weights from *retrieved* attributes make labels and attributes independent, so the weighted
    CCC estimates accuracy where the shortcut is gone, from the training distribution alone. Posteriors are
    averaged over a person's faces first: retrieval errs per image, and what it errs in stays a shortcut.
    """
    import torch

    from idfer.objectives.va import correlations
    from idfer.statistics.decorrelation import decorrelation_weights

    retrieved = table.align(val).free
    weights = decorrelation_weights(val.targets, retrieved, val.subjects, by_person=True, seed=seed)
    predicted, target = torch.from_numpy(said.valence_arousal), torch.from_numpy(val.targets).double()
    plain = correlations(predicted, target)[1]
    weighted = correlations(predicted, target, torch.from_numpy(weights.values).double())[1]
    return [
        Score("selection", float(weighted.mean())),
        Score("effective", weights.effective / len(val), "val"),
        Score("ccc", float(plain.mean()), "val", "mean"),
    ]


def accuracy(split: str, said: Answers, faces: Manifest, feature: str = "") -> list[Score]:
    """CCC and RMSE of valence and arousal, and their means."""
    from idfer.evaluation import metrics

    scores = []
    for name, metric in (("ccc", metrics.ccc), ("rmse", metrics.rmse)):
        valence, arousal = metric(faces.targets, said.valence_arousal).tolist()
        by_dimension = {"mean": (valence + arousal) / 2, "valence": valence, "arousal": arousal}
        scores += [Score(name, value, split, of, feature) for of, value in by_dimension.items()]
    return scores


def drift(said: Answers, changed: Answers, faces: Manifest, others: Manifest) -> list[Score]:
    """How far predictions move when the person changes and the expression stays."""
    from idfer.evaluation.counterfactual import check_pairs, drift_of

    check_pairs(faces, others)
    return [Score("drift", drift_of(said.valence_arousal, changed.valence_arousal, faces.subjects).value)]


def leaks(said: Answers, faces: Manifest, seed: int) -> list[Score]:
    """Probes of the feature and of the prediction; where nothing is sampled sample and mean are one.

    Of a sampled feature also averages of several draws, and of every feature its mean over images of a person
    (`TEMPLATE`): what somebody who holds more than one draw or photograph can read.

    Args:
        said: what the model says of the faces.
        faces: of people whose labels are independent of them.
        seed: of the probes.
    """
    from idfer.evaluation.draws import averaged_draw, template
    from idfer.evaluation.forward import EXPRESSION
    from idfer.evaluation.leakage import Target, leakage
    from idfer.synthetic.factors import PREFIX

    targets = {
        name: Target(faces.frame[PREFIX + name].to_numpy(np.float64), "ground truth") for name in ATTRIBUTES
    }
    features: dict[str, NDArray[Any]] = {"mean": said.mean}
    if said.spread is not None:
        features = {"sampled": said.feature(EXPRESSION), "mean": said.mean}
        features |= {name: averaged_draw(said.mean, said.spread, k, seed) for name, k in DRAWN.items()}
    features["prediction"] = said.valence_arousal.astype(np.float32)
    of_person, first = template(said.mean, faces.subjects)
    held = {name: target.rows(first) for name, target in targets.items()}
    found = [
        *leakage(features, targets, faces.subjects, seed=seed).to_dict("records"),
        *leakage({TEMPLATE: of_person}, held, faces.subjects[first], identity=False, seed=seed).to_dict(
            "records"
        ),
    ]
    return leak_scores(found, said.spread is not None)


def leak_scores(found: Sequence[Mapping[Any, Any]], sampled: bool) -> list[Score]:
    """What probes found as scores, each with its chance.

    Args:
        found: records of `evaluation.leakage.leakage`.
        sampled: whether the feature is sampled; where it is not, its mean is also its only sample.
    """
    scores = []
    for leak in found:
        verified = leak["kind"] == "verification"
        # identity: AUC of verification; both are put on the scale of the score
        chance = 2 * leak["chance"] - 1 if verified else leak["chance"]
        alone = not sampled and leak["features"] == "mean"
        for feature in ["sampled", "mean"] if alone else [leak["features"]]:
            where = {"of": leak["target"], "feature": feature, "probe": leak["kind"]}
            scores += [Score("leak", leak["score"], **where), Score("chance", chance, **where)]
    return scores


def certificate(said: Answers, faces: Manifest, seed: int) -> list[Score]:
    """What a draw of the feature carries, in nats: the rate and the residual beyond the label.

    None where nothing is sampled.
    """
    rate = None if said.rate is None else float(said.rate.mean())
    return [Score("rate", rate), Score("residual", _residual(said, faces, seed))]


def _residual(said: Answers, faces: Manifest, seed: int) -> float | None:
    """Mean nats about the image beyond what its label says, under a b(z|y) fitted on other people."""
    if said.spread is None:
        return None
    from idfer.evaluation.residual import residual_nats

    return float(residual_nats(said.mean, said.spread, faces.targets, faces.subjects, seed).mean())


def sampled(said: Answers, faces: Manifest, checkpoint: Checkpoint) -> list[Score]:
    """Accuracy of predictions from one draw of the feature, which the certificate speaks of."""
    from idfer.evaluation.forward import EXPRESSION

    if said.rate is None:
        return []
    drawn = checkpoint.read_out(said.feature(EXPRESSION))
    return accuracy(faces.splits[0], replace(said, valence_arousal=drawn), faces, "sampled")


def invariance(
    shifted: Manifest, table: AttributeTable, read: Reader, shortcuts: Sequence[str] = ()
) -> list[Score]:
    """Effects of attributes at fixed expression, and the person's and the interaction's share, on `cross`.

    Of the named attributes, of some that nothing is retrieved for, and of other factors in `shortcuts`.
    """
    from idfer.evaluation.anova import measure

    faces = shifted.select(CROSS)
    scores = []
    asked: dict[str, Mapping[str, float] | None] = {DETACHED: None, **_attachments(read)}
    for feature, said in zip(asked, read.each([*asked.values()], faces, table), strict=True):
        # a trial's own interval is not reported: intervals are over seeds
        found = measure(faces.frame, said.valence_arousal, replicates=2)
        shown = (*ATTRIBUTES, *UNNAMED, *shortcuts) if feature == DETACHED else ATTRIBUTES
        scores += [
            Score("effect", effect.value, dimension, attribute, feature)
            for (attribute, dimension), effect in found.effects.items()
            if attribute in shown
        ]
        scores += [
            Score("person_ratio", found.person_ratio.value, feature=feature),
            Score("interaction_ratio", found.interaction_ratio.value, feature=feature),
        ]
    return scores


def attached(tests: Manifest, table: AttributeTable, read: Reader) -> list[Score]:
    """Accuracy on the test splits with every attribute left in, and with each alone."""
    split = tests.frame["split"].to_numpy()
    scores: list[Score] = []
    asked = _attachments(read)
    if not asked:
        return []
    for feature, said in zip(asked, read.each([*asked.values()], tests, table), strict=True):
        for name in tests.splits:
            scores += accuracy(name, said.rows(split == name), tests.rows(split == name), feature)
    return scores


def _attachments(read: Reader) -> dict[str, dict[str, float]]:
    """By feature, the strengths that attach all attributes and each alone; {} where none can be attached."""
    names = read.attachable
    if not names:
        return {}
    alone = {
        f"{ATTACHED} {name}": {other: float(other != name) for other in names}
        for name in names
        if name in ATTRIBUTES
    }
    return {ATTACHED: dict.fromkeys(names, 0.0), **alone}
