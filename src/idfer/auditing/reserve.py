"""Some thousand rows of any number, evenly over people, for what needs rows: probes and information."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.sample import Sample

_SPARE = 4  # rows kept per row wanted, so that people can be evened out at the end


def rows_of(sample: Sample, chosen: NDArray[Any]) -> Sample:
    """The sample of the rows that an index array or a mask names."""
    return replace(
        sample,
        key=sample.key[chosen],
        label=None if sample.label is None else sample.label[chosen],
        predicted=None if sample.predicted is None else sample.predicted[chosen],
        subject=None if sample.subject is None else sample.subject[chosen],
        attributes=tuple(replace(a, posterior=a.posterior[chosen]) for a in sample.attributes),
        features={name: values[chosen] for name, values in sample.features.items()},
        source=None if sample.source is None else sample.source[chosen],
    )


def joined(first: Sample, second: Sample) -> Sample:
    """Two samples of the same columns, one after the other."""

    def both(a: Any, b: Any) -> Any:
        return None if a is None or b is None else np.concatenate([a, b])

    return replace(
        first,
        key=both(first.key, second.key),
        label=both(first.label, second.label),
        predicted=both(first.predicted, second.predicted),
        subject=both(first.subject, second.subject),
        attributes=tuple(
            replace(a, posterior=both(a.posterior, b.posterior))
            for a, b in zip(first.attributes, second.attributes, strict=True)
        ),
        features={name: both(values, second.features[name]) for name, values in first.features.items()},
        source=both(first.source, second.source),
    )


class Reserve:
    """Keeps the rows whose key has the smallest hash: a random sample that does not depend on chunks.

    Args:
        wanted: rows to give in the end.
        seed: of the hash.
    """

    def __init__(self, wanted: int, seed: int) -> None:
        self._wanted = wanted
        self._key = f"{seed:016d}"[-16:]
        self._kept: Sample | None = None
        self._hash = np.zeros(0, np.uint64)

    def add(self, chunk: Sample) -> None:
        """Look at more rows."""
        from pandas.util import hash_array

        hashed = hash_array(chunk.key.astype(str).astype(object), hash_key=self._key)
        room = self._wanted * _SPARE
        if len(hashed) > room:
            best = np.sort(np.argpartition(hashed, room)[:room])
            chunk, hashed = rows_of(chunk, best), hashed[best]
        kept = chunk if self._kept is None else joined(self._kept, chunk)
        hashed = np.concatenate([self._hash, hashed])
        if len(hashed) > room:
            best = np.sort(np.argpartition(hashed, room)[:room])
            kept, hashed = rows_of(kept, best), hashed[best]
        self._kept, self._hash = kept, hashed

    def finish(self) -> Sample | None:
        """At most `wanted` rows: everybody's first, then everybody's second, ... in order of their hashes."""
        if self._kept is None or len(self._hash) <= self._wanted:
            return self._kept
        people = self._kept.people
        order = np.lexsort((self._hash, people))
        start = np.r_[0, np.flatnonzero(np.diff(people[order])) + 1]
        turn = np.empty(len(order), np.intp)
        turn[order] = np.arange(len(order)) - np.repeat(start, np.diff(np.r_[start, len(order)]))
        chosen = np.lexsort((self._hash, turn))[: self._wanted]
        return rows_of(self._kept, np.sort(chosen))
