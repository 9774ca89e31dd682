"""A trial on a user's faces: train one method at one place and measure it, with no ground truth but labels.

What needs more than a manifest tells is not measured: drift to the same expression on another face, effects
at fixed expression, the oracle. Leakage is probed for attributes as retrieved, or as the manifest's columns
`factor.NAME` say, on people who were not trained on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from idfer.experiments.jobs import Job
from idfer.experiments.scores import Score, result_of
from idfer.files import atomic

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.evaluation.forward import Answers
    from idfer.experiments.manifests.places import Place
    from idfer.training.settings import Settings

TRIAL = "idfer.experiments.manifests.trial:trial"
Measured = Literal["selection", "all"]
FEWEST_PEOPLE = 10  # below, nothing is said of what a feature carries

NOT_MEASURED = (
    "counterfactual drift (the same expression on another face)",
    "effects of attributes at fixed expression",
    "the oracle, and so the share of the gap that is closed",
)
"""What `benchmark shift` has and a manifest cannot tell."""


def job(
    name: str, faces: str, place: Place, settings: Settings, device: str, measure: Measured = "all"
) -> Job:
    """A trial as a job.

    Args:
        name: for people.
        faces: digest of `faces.prepare`.
        place: who is learned from, chosen on and tested.
        settings: of the run; the place's seed replaces theirs.
        device: where it is trained.
        measure: "selection": what settings are chosen by, and accuracy on the test people; "all": that, and
            what the features carry. Both use one trained run.
    """
    settings = replace(settings, seed=place.seed)
    arguments = {"faces": faces, "division": place.key, "settings": settings, "device": device}
    return Job(name, TRIAL, arguments | {"measure": measure})


def predictions_file(runs: Path, key: str) -> Path:
    """Where a trial with `measure` "all" keeps (n, 2) float32 predictions of its test faces, in order."""
    return runs / "predictions" / f"{key}.npy"


def trial(
    out: Path, faces: str, division: str, settings: Settings, device: str, measure: Measured = "all"
) -> dict[str, Any]:
    """Train, unless this run is trained already, and measure.

    Args:
        out: folder of runs and faces.
        faces: digest of the faces.
        division: key of their division.
        settings: of the run.
        device: where it is trained.
        measure: see `job`.

    Returns:
        `scores`, a list of records (see `Score`): on held-out people (`val`) their CCC and `selection`, what
        settings are chosen by: with attributes the CCC under decorrelation weights; CCC and RMSE of the test
        people per dimension, and with attributes `weighted_ccc` of theirs; with "all" leaks with their
        chance, rate, residual, and accuracy of a sampled and of an attached prediction; and what was
        predicted for the test people is kept (`predictions_file`).

    Raises:
        IdferError: training diverged, or faces are missing.
    """
    from idfer.experiments import measuring
    from idfer.experiments.manifests.faces import read as read_faces
    from idfer.experiments.manifests.places import division_of
    from idfer.training.checkpoint import MODEL, load_checkpoint
    from idfer.training.fit import fit_settings

    kept, table = read_faces(out, faces)
    whole = division_of(out, faces, division, kept)
    arguments = {"faces": faces, "division": division, "settings": settings, "device": device}
    run = out / "runs" / Job("", TRIAL, arguments).key
    start = time.monotonic()
    if not (run / MODEL).is_file():
        fit_settings(whole.select("train"), table, settings, out=run, device=device, progress=False)
    trained = time.monotonic()
    checkpoint = load_checkpoint(run, device)
    read = measuring.Reader(checkpoint, settings.seed)
    unseen = whole.select(("val", "test"))
    said = read(unseen, table)
    split = unseen.frame["split"].to_numpy()
    val, test = split == "val", split == "test"
    scores = _held_out(said.rows(val), unseen.rows(val), table, settings.seed)
    scores += measuring.accuracy("test", said.rows(test), unseen.rows(test))
    scores += _weighted(said.rows(test), unseen.rows(test), table, settings.seed)
    if measure == "all":
        file = predictions_file(out, Job("", TRIAL, arguments | {"measure": measure}).key)
        with atomic(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, said.rows(test).valence_arousal.astype(np.float32))
        scores += _carried(said, unseen, table, checkpoint.attributes, settings.seed)
        tests = unseen.rows(test)
        scores += measuring.sampled(said.rows(test), tests, checkpoint)
        if table is not None:
            scores += measuring.attached(tests, table, read)
    scores.append(Score("seconds", trained - start, of="fit"))
    scores.append(Score("seconds", time.monotonic() - trained, of="measuring"))
    return result_of(scores)


def _held_out(said: Answers, val: Manifest, table: AttributeTable | None, seed: int) -> list[Score]:
    """What settings are chosen by; CCC stands alone without attributes, and of one person.

    Weights make labels independent of who somebody is, which takes two.
    """
    from idfer.evaluation.metrics import ccc
    from idfer.experiments import measuring

    if table is not None and len(np.unique(val.subjects)) > 1:
        return measuring.selection(said, val, table, seed)
    plain = float(ccc(val.targets, said.valence_arousal).mean())
    return [Score("selection", plain), Score("ccc", plain, "val", "mean")]


def _weighted(said: Answers, tests: Manifest, table: AttributeTable | None, seed: int) -> list[Score]:
    """CCC of test people under decorrelation weights, and what share of them the weights leave in effect.

    Not measured of one person alone; 0, as every CCC, where the same is said of everybody.
    """
    from idfer.experiments import measuring

    if table is None or len(np.unique(tests.subjects)) < 2:
        return []
    weighted, share, _ = measuring.selection(said, tests, table, seed)
    assert weighted.value is not None
    value = weighted.value if np.isfinite(weighted.value) else 0.0
    return [Score("weighted_ccc", value, "test"), replace(share, split="test")]


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Without a logger's warnings."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _carried(
    said: Answers, unseen: Manifest, table: AttributeTable | None, attributes: Sequence[str], seed: int
) -> list[Score]:
    """What probes read from the features, and the nats of a sampled one; of people not trained on."""
    from idfer.evaluation.forward import EXPRESSION
    from idfer.evaluation.leakage import leakage
    from idfer.evaluation.selection import probe_targets, probed_rows
    from idfer.experiments import measuring

    with _silent("idfer.evaluation.selection"):
        rows, _ = probed_rows(unseen, seed)
    chosen = np.zeros(len(unseen), bool)
    chosen[rows] = True
    said, faces = said.rows(chosen), unseen.rows(chosen)
    if len(np.unique(faces.subjects)) < FEWEST_PEOPLE:
        return []
    targets, _ = probe_targets(faces, attributes, table)
    features: dict[str, Any] = {"mean": said.mean, "prediction": said.valence_arousal.astype(np.float32)}
    if said.spread is not None:
        features["sampled"] = said.feature(EXPRESSION)
    with _silent("idfer.evaluation.leakage"):  # the page says at how many places a level was probed
        found = leakage(features, targets, faces.subjects, seed=seed).to_dict("records")
    scores = measuring.leak_scores(found, said.spread is not None)
    return scores + measuring.certificate(said, faces, seed)
