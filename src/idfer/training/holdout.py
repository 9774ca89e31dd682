"""Which rows of a manifest are trained on, and which are kept back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from idfer.errors import IdferError, UsageError

if TYPE_CHECKING:
    from idfer.data.manifest import Manifest
    from idfer.training.settings import Settings


def training_split(faces: Manifest, settings: Settings) -> tuple[Manifest, Manifest | None]:
    """Faces to train on, and faces to score after every epoch for the log, or None.

    With splits these are `train` and `val`. Without, all faces are trained on, but for the share `holdout` of
    the people; which of the two happens is said on stderr, since nothing is left to test on in the former.

    Raises:
        UsageError: `holdout` for a manifest that has splits, or that leaves nobody to train on.
        IdferError: there are splits and none is named `train`.
    """
    if faces.splits != [""]:
        if settings.holdout:
            raise UsageError(
                f"--holdout keeps people back where a manifest has no splits; this one has "
                f"{', '.join(name or 'rows without one' for name in faces.splits)}: leave the option out."
            )
        if "train" not in faces.splits:
            raise IdferError(
                f"the manifest has splits {', '.join(faces.splits)} but none named 'train'; "
                "name the training rows so in its column 'split'."
            )
        return faces.select("train"), faces.select("val") if "val" in faces.splits else None
    if not settings.holdout:
        print(
            f"idfer: the manifest has no splits: all {len(faces)} faces are trained on and none is left to "
            "test with; --holdout 0.2 keeps a fifth of the people back.",
            file=sys.stderr,
        )
        return faces, None
    kept_back = held_out(faces.subjects, settings.holdout, settings.seed)
    if not kept_back.any() or kept_back.all():
        raise UsageError(
            f"--holdout {settings.holdout:g} of {len(np.unique(faces.subjects))} people leaves nobody on one "
            "side; choose another share."
        )
    nameless = bool((faces.frame["subject"] == "").all())
    unknown = " (rows stand for people: the manifest names no subjects)" if nameless else ""
    print(
        f"idfer: {len(np.unique(faces.subjects[kept_back]))} people ({int(kept_back.sum())} faces) are kept "
        f"back{unknown}; `idfer evaluate` on the same manifest tells them from those trained on.",
        file=sys.stderr,
    )
    return faces.rows(~kept_back), faces.rows(kept_back)


def held_out(subjects: np.ndarray, share: float, seed: int) -> np.ndarray:
    """(N,) bool: rows of a random share of the people, the same for a seed."""
    people, person = np.unique(subjects, return_inverse=True)
    chosen = np.random.default_rng([seed, 11]).permutation(len(people))[: round(share * len(people))]
    return np.isin(person, chosen)
