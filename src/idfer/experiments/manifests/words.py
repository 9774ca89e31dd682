"""What pages say of the faces, the division and the test of an experiment on a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.experiments.manifests.measures import IDENTITY
from idfer.experiments.manifests.places import TEST, TRAIN, VAL
from idfer.experiments.manifests.trial import NOT_MEASURED

if TYPE_CHECKING:
    from idfer.experiments.manifests.faces import Faces
    from idfer.experiments.manifests.places import Places


def data_record(faces: Faces, places: Places, manifest: str, attributes: str) -> dict[str, Any]:
    """The faces and their division as JSON."""
    subjects = faces.manifest.subjects
    table = faces.table

    def counts(division: Any, part: int) -> list[int]:
        rows = division == part
        return [int(rows.sum()), len(np.unique(subjects[rows]))]

    return {
        "manifest": manifest,
        "digest": faces.digest,
        "faces": len(faces.manifest),
        "people": len(np.unique(subjects)),
        "people_named": bool((faces.manifest.frame["subject"] != "").all()),
        "subject_kinds": faces.manifest.subject_kinds,
        "drawn": faces.manifest.drawn,
        "synthetic": faces.manifest.synthetic,
        "detectors": sorted(set(faces.manifest.frame["detector"])),
        "left_out": list(faces.left_out),
        "attributes": None if table is None else {
            "table": attributes, "levels": table.levels, "clip": table.source.get("clip", "unknown"),
            "warning": table.warning,
        },
        "truth": [c.removeprefix("factor.") for c in faces.manifest.frame.columns if c.startswith("factor.")],
        "division": {
            "kind": places.kind, "by": places.by, "test": places.test, "chosen_on": places.chosen_on,
            "overlap": places.overlap, "shared_people": _shared(faces, places),
            "places": [
                {
                    "name": place.name, "fold": place.fold, "seed": place.seed,
                    "train": counts(place.division, TRAIN), "val": counts(place.division, VAL),
                    "test": counts(place.division, TEST),
                }
                for place in places.every
            ],
        },
    }  # fmt: skip


def _shared(faces: Faces, places: Places) -> int:
    """The most named people of a place who are learned from and tested, as folds by another column may do."""
    subjects = faces.manifest.frame["subject"].to_numpy()
    counts = []
    for place in places.every:
        tested = place.division == TEST
        learned = (place.division == TRAIN) | (place.division == VAL)
        counts.append(len((set(subjects[tested]) & set(subjects[learned])) - {""}))
    return max(counts)


def data_text(data: Mapping[str, Any]) -> list[str]:
    """The faces, what was left out, and who is learned from, as paragraphs."""
    made = " drawn by idfer" if data["drawn"] else " made by idfer" if data["synthetic"] else ""
    people = (
        f"{data['people']} people" if data["people_named"] else f"{data['people']} people or nameless rows"
    )
    lines = [f"`{data['manifest']}`: {data['faces']} faces{made} of {people}.{_stand_in(data)}"]
    for left in data["left_out"]:
        lines[0] += f" Left out, {left.reason}: {left.count}; the first: {left.first.rstrip('.')}."
    attributes = data["attributes"]
    if attributes:
        names = ", ".join(attributes["levels"])
        lines[0] += f" Attributes {names}, as the CLIP {attributes['clip']} saw them."
        lines[0] += f" Beware: {attributes['warning']}" if attributes["warning"] else ""
    return [lines[0], "", _division_text(data["division"]), ""]


def _stand_in(data: Mapping[str, Any]) -> str:
    if "video" not in data["subject_kinds"]:
        return ""
    return " Videos stand in for people: a person of several videos may be on both sides."


def _division_text(division: Mapping[str, Any]) -> str:
    places = division["places"]
    seeds = list(dict.fromkeys(place["seed"] for place in places))
    sizes = "; ".join(f"{part} {_span(places, part)}" for part in ("train", "val", "test"))
    folds = len(places) // len(seeds)
    held = "A fifth of the people beside a fold (more where they are few) is kept back as `val`."
    if division["kind"] == "official":
        test = f"The manifest's own splits, tested on `{division['test']}`, with {_seeds(seeds)}."
        own = "Settings are chosen on its `val`."
        kept = "A fifth of the people of `train` is kept back for each seed, and settings are chosen on them."
        said = f"{test} {own if division['chosen_on'] == 'val' else kept}"
    elif division["kind"] == "column":
        said = f"{folds} folds, those of the manifest's column `fold`. {held}"
    else:
        anew = f", dealt anew for {_seeds(seeds)}" if len(seeds) > 1 else f", seed {seeds[0]}"
        said = f"{folds} folds grouped by `{division['by']}`, alike in valence and arousal{anew}. {held}"
        if division["by"] == "path":
            said += " **Every picture counts as a person: whoever has two may be learned from and tested.**"
    if division["shared_people"]:
        said += (
            f" **Up to {division['shared_people']} people of a fold are both learned from and tested; "
            "scores are too good for strangers.**"
        )
    place = "seed" if division["kind"] == "official" else "fold and its seed"
    return f"{said} Faces (people): {sizes}. Below, a place is a {place}."


def _span(places: Sequence[Mapping[str, Any]], part: str) -> str:
    faces, people = zip(*(place[part] for place in places), strict=True)
    return f"{_range(faces)} ({_range(people)})"


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def test_text(division: Mapping[str, Any], people: bool = False) -> str:
    """Which test is used, and what it speaks of.

    Args:
        division: of `data_record`.
        people: whether the page has a section "Over people".
    """
    count, overlap = len(division["places"]), division["overlap"]
    if division["kind"] == "official":
        others = "what other people would, is below under Over people" if people else "not what others would"
        return (
            f"Intervals (95 %) and paired t tests are over the {count} seeds of weights and order. The "
            "people who are learned from and tested are the same each time, so they tell what training "
            f"again would change; {others}."
        )
    repeated = len({place["seed"] for place in division["places"]}) > 1
    source = "Nadeau & Bengio 2003" + ("; for repeated folds Bouckaert & Frank 2004" if repeated else "")
    return (
        "Folds share most of what they learn from, so their scores are no independent samples, and a plain "
        "paired t test may call too many differences real. Intervals (95 %) and p are of the corrected "
        f"resampled t test ({source}): the variance of a mean over the {count} folds is s² (1/{count} + "
        f"{overlap:.2f}), where {overlap:.2f} is test over training faces, with {count - 1} degrees of "
        "freedom. It is an approximation; no exact test of folds exists."
    )


def missing_text(data: Mapping[str, Any], probed: Sequence[str]) -> str:
    """What is not measured for want of ground truth, and what leakage is probed for."""
    attributes = [name for name in probed if name != IDENTITY]
    known = [name for name in attributes if name in data["truth"]]
    seen = [name for name in attributes if name not in data["truth"]]
    said = f"Not measured, for a manifest cannot tell: {', '.join(NOT_MEASURED)}."
    if known:
        said += f" Leakage of {', '.join(known)} is of the manifest's columns `factor.`."
    if seen:
        said += (
            f" Leakage of {', '.join(seen)} is of what CLIP answered, its errors included: how well the "
            "level it retrieved is read from the feature, not how well the truth is."
        )
    if not probed:
        said += " Nothing was probed: fewer than ten people who were not learned from."
    elif not attributes:
        said += (
            " Attributes are neither retrieved (`--attributes`) nor in the manifest: only identity is probed."
        )
    return said
