"""Videos that two data sets hold under two names, told by their labels.

Ratings over time are as good as a fingerprint: a set that extends another (Aff-Wild2 does Aff-Wild) renames
and cuts the videos anew but keeps their annotation, while two people never rate two videos alike to the third
decimal for seconds on end. What is compared are runs of `_RUN` changes of (valence, arousal), so frames that
one of the two lacks cost a few runs only [ours].
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from idfer.data.manifest import Manifest

_RUN = 6  # labels in a row
_LEAST = 20  # runs of a video that are compared
_SHARED = 0.5  # of the runs of the shorter video that both have
_STEPS = 1000  # labels are compared to 1 / 1000
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Twins(NamedTuple):
    """Two names of one video: (source, subject) of each, and the share of the shorter one's runs in both."""

    first: tuple[str, str]
    second: tuple[str, str]
    share: float


def twins(faces: Manifest) -> list[Twins]:
    """Subjects of different sources whose labels run alike, those that share most first."""
    frame = faces.frame
    if frame["source"].nunique() < 2:
        return []
    group = frame.groupby(["source", "subject"], sort=False).ngroup().to_numpy()  # numbered as they appear
    first = frame.drop_duplicates(["source", "subject"])
    sources, subjects = (first[name].to_numpy(object) for name in ("source", "subject"))
    labels = np.rint((faces.targets.astype(np.float64) + 1) * _STEPS).astype(np.uint64)
    states = labels[:, 0] * np.uint64(4 * _STEPS) + labels[:, 1]
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group))
    runs: list[NDArray[np.uint64]] = []
    for number, rows in enumerate(np.split(order, ends[:-1])):
        runs.append(_runs(states[rows]) if subjects[number] else np.empty(0, np.uint64))
    return _pairs(runs, sources, subjects)


def _runs(states: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A number for each run of labels that differ from the one before; none of a video with few."""
    changed = states[np.r_[True, states[1:] != states[:-1]]]
    count = len(changed) - _RUN + 1
    if count < _LEAST:
        return np.empty(0, np.uint64)
    mixed = np.zeros(count, np.uint64)
    for step in range(_RUN):
        mixed = (mixed ^ changed[step : step + count]) * _MIX
        mixed ^= mixed >> np.uint64(29)
    return np.unique(mixed)


def _pairs(
    runs: list[NDArray[np.uint64]], sources: NDArray[np.object_], subjects: NDArray[np.object_]
) -> list[Twins]:
    sizes = np.array([len(of) for of in runs])
    owner, every = np.repeat(np.arange(len(runs)), sizes), np.concatenate(runs)
    order = np.argsort(every, kind="stable")
    shared: dict[tuple[int, int], int] = {}
    starts = np.flatnonzero(np.r_[True, every[order][1:] != every[order][:-1]][: len(every)])
    lengths = np.diff(np.r_[starts, len(every)])
    several = (lengths >= 2) & (lengths <= 10)  # what more have in common is no fingerprint
    for start, length in zip(starts[several].tolist(), lengths[several].tolist(), strict=True):
        for one, other in combinations(owner[order[start : start + length]].tolist(), 2):
            if sources[one] != sources[other]:
                shared[one, other] = shared.get((one, other), 0) + 1
    found = [
        Twins((sources[i], subjects[i]), (sources[j], subjects[j]), count / min(sizes[i], sizes[j]))
        for (i, j), count in shared.items()
    ]
    return sorted((pair for pair in found if pair.share >= _SHARED), key=lambda pair: -pair.share)
