"""One attribute changed in all features at once, and nothing else that a linear reading can see [ours].

To leave the identity feature of age out changes a picture little: features of other attributes, read from the
same face, tell age too. So age is changed wherever it is told. All features f of a face (expression feature
and identity features, side by side) follow a linear model of what is known of it,

    f = mean + Σ_c E_c (c - mean c) + rest,     c: levels of each attribute, valence, arousal

fitted on training faces, so that E_c is what c makes in every feature *while the others stay as they are*
(in training data age and valence may go together). The best unbiased linear reading of c from f (Aitken 1936)
is R_c (f - mean), with R_c E_c = 1 and R_c E_d = 0 for every other d. An attribute a at strength s is

    f + (s - 1) E_a R_a (f - mean)

What is read of a is then exactly s times what it was (0: the mean person's; 1: as it is; 2: overdone; -1: the
opposite), and what is read of the other attributes, of valence and of arousal is exactly what it was. Another
face's age is attached by E_a R_a (f' - f). What a feature tells of age in a curved way stays. For one
attribute without the constraints this is LEACE (Belrose et al. 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idfer.decoding.reading import Reading
from idfer.errors import unknown

_RIDGE = 1e-3  # of the mean variance, beside covariances
_BLOCK = 4096  # faces at a time
_PREFIX = "concepts."


@dataclass(frozen=True)
class Concepts:
    """What each attribute makes in F features, and how it is read from them.

    Attributes:
        centre: (F,) mean features.
        effect: by attribute (F, k), E of its levels but the last.
        reading: by attribute (k, F), R.
    """

    centre: Tensor
    effect: Mapping[str, Tensor]
    reading: Mapping[str, Tensor]

    @classmethod
    def fit(cls, faces: Reading, levels: Mapping[str, NDArray[Any]], labels: NDArray[Any]) -> Concepts:
        """Fit on N faces.

        Args:
            faces: their features.
            levels: by attribute (N, K) posteriors of its levels.
            labels: (N, 2) valence and arousal.
        """
        count, width = len(faces), faces.expression.shape[1] + faces.identity[0].numel()
        centre = sum((f.sum(0) for _, f in _blocks(faces)), np.zeros(width)) / count
        spread = sum((np.square(f - centre).sum(0) for _, f in _blocks(faces)), np.zeros(width)) / count
        scale = np.maximum(np.sqrt(spread), 1e-6)
        parts = {name: np.asarray(given, np.float64)[:, :-1] for name, given in levels.items()}
        known = np.concatenate([*parts.values(), np.asarray(labels, np.float64)], 1)
        known = (known - known.mean(0)) / np.maximum(known.std(0), 1e-6)
        gram = known.T @ known / count
        both, square = np.zeros((known.shape[1], width)), np.zeros((width, width))
        for rows, block in _blocks(faces):
            f = (block - centre) / scale
            both += known[rows].T @ f / count
            square += f.T @ f / count
        effect = np.linalg.solve(gram + _RIDGE * np.eye(len(gram)), both).T  # (F, C)
        explained = effect @ both
        cover = square - explained - explained.T + effect @ gram @ effect.T  # of what is not explained
        cover += (_RIDGE * np.trace(cover) / len(cover)) * np.eye(len(cover))
        weighted = np.linalg.solve(cover, effect)  # (F, C)
        # a level that all faces share makes nothing, so nothing is read of it
        reading = np.linalg.pinv(effect.T @ weighted, rcond=1e-8, hermitian=True) @ weighted.T  # (C, F)
        ends = np.cumsum([part.shape[1] for part in parts.values()])
        columns = dict(zip(parts, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))

        def tensor(values: NDArray[Any]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, np.float32))

        return cls(
            tensor(centre),
            {name: tensor(effect[:, of] * scale[:, None]) for name, of in columns.items()},
            {name: tensor(reading[of] / scale) for name, of in columns.items()},
        )

    def read(self, faces: Reading, attribute: str) -> Tensor:
        """(N, k) an attribute as it is read from all features, 0 for the mean; in standard deviations.

        Raises:
            UsageError: no such attribute.
        """
        if attribute not in self.effect:
            raise unknown("attribute", attribute, list(self.effect))
        return (_flat(faces) - self.centre) @ self.reading[attribute].T

    def at(self, faces: Reading, attribute: str, strength: float) -> Reading:
        """The faces with an attribute at a strength: 1 as it is, 0 the mean person's, -1 the opposite.

        Raises:
            UsageError: no such attribute.
        """
        return self._moved(faces, attribute, (strength - 1) * self.read(faces, attribute))

    def lent(self, faces: Reading, others: Reading, attribute: str) -> Reading:
        """The faces with an attribute as others, row by row, have it.

        Raises:
            UsageError: no such attribute.
        """
        return self._moved(faces, attribute, self.read(others, attribute) - self.read(faces, attribute))

    def _moved(self, faces: Reading, attribute: str, by: Tensor) -> Reading:
        moved = _flat(faces) + by @ self.effect[attribute].T
        width = faces.expression.shape[1]
        return replace(
            faces, expression=moved[:, :width], identity=moved[:, width:].reshape(faces.identity.shape)
        )

    def to(self, device: torch.device) -> Concepts:
        """On another device."""
        return Concepts(
            self.centre.to(device),
            {name: values.to(device) for name, values in self.effect.items()},
            {name: values.to(device) for name, values in self.reading.items()},
        )

    def tensors(self) -> dict[str, Tensor]:
        """By name, for a file."""
        parts = {f"{_PREFIX}effect.{name}": values for name, values in self.effect.items()}
        parts |= {f"{_PREFIX}reading.{name}": values for name, values in self.reading.items()}
        return {f"{_PREFIX}centre": self.centre, **parts}

    @classmethod
    def taken_from(cls, tensors: dict[str, Tensor]) -> Concepts | None:
        """What `tensors` gave, taken out of a file's tensors; None where there is none of it."""
        own = {name.removeprefix(_PREFIX): name for name in tensors if name.startswith(_PREFIX)}
        if not own:
            return None
        given = {short: tensors.pop(name) for short, name in own.items()}

        def of(kind: str) -> dict[str, Tensor]:
            return {n.removeprefix(f"{kind}."): t for n, t in given.items() if n.startswith(f"{kind}.")}

        return cls(given["centre"], of("effect"), of("reading"))


def _blocks(faces: Reading) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Features of some faces after others, (b, F): all of them in double precision are twice the memory."""
    for start in range(0, len(faces), _BLOCK):
        rows = slice(start, start + _BLOCK)
        yield rows, _flat(faces.rows(rows)).double().cpu().numpy()


def _flat(faces: Reading) -> Tensor:
    """(N, F) all features side by side."""
    return torch.cat([faces.expression, faces.identity.flatten(1)], 1)
