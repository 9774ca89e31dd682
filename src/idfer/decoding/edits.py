"""Faces drawn from features that were changed: attributes detached, overdone or lent, expressions swapped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idfer.decoding.concepts import Concepts
from idfer.decoding.reading import Reading
from idfer.errors import IdferError

if TYPE_CHECKING:
    from idfer.models.decoder import Decoder
    from idfer.models.flow import Flow

Pictures = NDArray[np.uint8]
RECONSTRUCTION, NEUTRAL = "all features", "ID-neutral"
_BATCH = 256


@torch.no_grad()
def draw(
    decoder: Decoder | Flow,
    expression: Tensor,
    identity: Tensor,
    strength: Tensor | float = 1.0,
    *,
    lent: bool = False,
    seed: int = 0,
) -> Pictures:
    """Draw N faces.

    Args:
        decoder: of the run that the features are of.
        expression: (N, D) expression features.
        identity: (N, A, E) identity features.
        strength: (N, A) or (A,) of each attribute's own feature, or one for all: 1 shown, 0 left out.
        lent: whether identity features are of other photographs than expression features.
        seed: of a flow's noise, one for all faces.

    Returns:
        (N, S, S, 3) uint8 RGB.

    Raises:
        IdferError: a strength is not finite.
    """
    given = torch.as_tensor(strength, dtype=torch.float32, device=identity.device)
    _check_finite(given)
    given = given.expand(identity.shape[:2])
    other = identity.new_full((len(identity),), float(lent))
    parts = []
    for start in range(0, len(expression), _BATCH):
        rows = slice(start, start + _BATCH)
        asked = decoder.condition(expression[rows], identity[rows], given[rows], other[rows])
        parts.append(decoder.sample(asked, seed))
    pixels = (torch.cat(parts) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


def neutral(decoder: Decoder | Flow, reading: Reading, seed: int = 0) -> Pictures:
    """(N, S, S, 3) ID-neutral faces: what the expression feature alone still shows."""
    return draw(decoder, reading.expression, reading.identity, 0.0, seed=seed)


def at_strength(
    decoder: Decoder | Flow, reading: Reading, concepts: Concepts, attribute: str, strength: float
) -> Pictures:
    """(N, S, S, 3) faces with an attribute changed in all features; see `Concepts.at`.

    Raises:
        IdferError: the strength is not finite.
    """
    _check_finite(strength)
    changed = concepts.at(reading, attribute, strength)
    return draw(decoder, changed.expression, changed.identity)


def detachments(decoder: Decoder | Flow, reading: Reading, concepts: Concepts | None) -> dict[str, Pictures]:
    """(N, S, S, 3) by title: all features, each attribute detached from all, and the ID-neutral face."""
    shown = {RECONSTRUCTION: draw(decoder, reading.expression, reading.identity)}
    for name in concepts.effect if concepts is not None else ():
        assert concepts is not None
        shown[f"{name} detached"] = at_strength(decoder, reading, concepts, name, 0.0)
    return shown | {NEUTRAL: neutral(decoder, reading)}


def overdone(
    decoder: Decoder | Flow, reading: Reading, concepts: Concepts, strengths: Sequence[float]
) -> dict[str, list[Pictures]]:
    """Per attribute, (N, S, S, 3) at each strength of it, the others as they are."""
    return {
        name: [at_strength(decoder, reading, concepts, name, strength) for strength in strengths]
        for name in concepts.effect
    }


def crossed(decoder: Decoder | Flow, expressions: Reading, people: Reading) -> NDArray[np.uint8]:
    """(P, E, S, S, 3): the identity features of P faces with the expression features of E others."""
    count, shown = len(people), len(expressions)
    who = torch.arange(count).repeat_interleave(shown)
    what = torch.arange(shown).repeat(count)
    pictures = draw(decoder, expressions.expression[what], people.identity[who], lent=True)
    return pictures.reshape(count, shown, *pictures.shape[1:])


def _check_finite(strength: Tensor | float) -> None:
    if not bool(torch.isfinite(torch.as_tensor(strength)).all()):
        raise IdferError("a strength is not a finite number; give e.g. 0 (detached), 1 (attached) or 1.5.")
