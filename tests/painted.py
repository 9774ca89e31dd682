"""Squares in place of faces, for decoders: what their features tell is known."""

from __future__ import annotations

import numpy as np
import torch

from idfer.decoding.reading import Reading

RED, BLUE = (200, 40, 40), (40, 40, 200)


def painted(count: int, seed: int) -> tuple[torch.Tensor, Reading]:
    """Squares: bright or dark by the expression feature, red or blue by the identity feature."""
    generator = torch.Generator().manual_seed(seed)
    shown = torch.rand(count, generator=generator) * 2 - 1
    who = torch.randint(0, 2, (count,), generator=generator)
    colour = torch.tensor([RED, BLUE])[who].float() * (0.75 + 0.25 * shown[:, None])
    crops = colour[..., None, None].expand(-1, -1, 16, 16).round().byte()
    expression = torch.stack([shown, torch.randn(count, generator=generator)], 1)
    identity = torch.nn.functional.one_hot(who, 2).float()[:, None]
    return crops, Reading(expression, torch.zeros_like(expression), identity)


def colour(pictures: np.ndarray) -> np.ndarray:
    """(N, 3) mean colour of N pictures."""
    return pictures.mean(axis=(1, 2))
