"""Faces drawn from features that were changed: attributes left out, swapped, or overdone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idfer.decoding.reading import Reading
from idfer.errors import IdferError

if TYPE_CHECKING:
    from idfer.models.decoder import Decoder

Pictures = NDArray[np.uint8]
RECONSTRUCTION, NEUTRAL = "all features", "ID-neutral"
_BATCH = 256


@torch.no_grad()
def draw(decoder: Decoder, expression: Tensor, identity: Tensor, strength: Tensor | float = 1.0) -> Pictures:
    """Draw N faces.

    Args:
        decoder: of the run that the features are of.
        expression: (N, D) expression features.
        identity: (N, A, E) identity features.
        strength: (N, A) or (A,) of each attribute, or one for all: 1 attached, 0 detached; any real number.

    Returns:
        (N, S, S, 3) uint8 RGB.

    Raises:
        IdferError: a strength is not finite.
    """
    given = torch.as_tensor(strength, dtype=torch.float32, device=identity.device)
    if not bool(torch.isfinite(given).all()):
        raise IdferError("a strength is not a finite number; give e.g. 0 (detached), 1 (attached) or 1.5.")
    given = given.expand(identity.shape[:2])
    parts = []
    for start in range(0, len(expression), _BATCH):
        rows = slice(start, start + _BATCH)
        parts.append(decoder(expression[rows], identity[rows], given[rows]))
    pixels = (torch.cat(parts) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


def with_strength(attributes: Sequence[str], changed: Mapping[str, float]) -> Tensor:
    """(A,) strengths: those named, and 1."""
    return torch.tensor([float(changed.get(name, 1.0)) for name in attributes])


def detachments(decoder: Decoder, reading: Reading, attributes: Sequence[str]) -> dict[str, Pictures]:
    """(N, S, S, 3) by title: all features, each attribute left out, and all of them: the ID-neutral face."""
    asked: dict[str, dict[str, float]] = {RECONSTRUCTION: {}} | {
        f"without {name}": {name: 0.0} for name in attributes
    }
    asked[NEUTRAL] = dict.fromkeys(attributes, 0.0)
    return {
        title: draw(decoder, reading.expression, reading.identity, with_strength(attributes, changed))
        for title, changed in asked.items()
    }


def overdone(
    decoder: Decoder, reading: Reading, attributes: Sequence[str], strengths: Sequence[float]
) -> dict[str, list[Pictures]]:
    """Per attribute, (N, S, S, 3) at each strength of it, the others attached."""
    return {
        name: [
            draw(decoder, reading.expression, reading.identity, with_strength(attributes, {name: strength}))
            for strength in strengths
        ]
        for name in attributes
    }


def crossed(decoder: Decoder, expressions: Reading, people: Reading) -> NDArray[np.uint8]:
    """(P, E, S, S, 3): the identity features of P faces with the expression features of E others."""
    count, shown = len(people), len(expressions)
    who = torch.arange(count).repeat_interleave(shown)
    what = torch.arange(shown).repeat(count)
    pictures = draw(decoder, expressions.expression[what], people.identity[who])
    return pictures.reshape(count, shown, *pictures.shape[1:])
