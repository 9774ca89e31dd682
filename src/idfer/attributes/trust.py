"""How far a CLIP's answers go: which one suits which faces, and how sure it was of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from idfer.errors import UsageError

BUILTIN = "builtin"
BUILTIN_WARNING = (
    "the builtin CLIP was trained on drawn faces only, and what it says of others is often wrong; give one "
    "that knows such faces, e.g. --clip ViT-B-16/openai."
)


def clip_for(drawn: bool, clip: str | None = None) -> str:
    """The CLIP to ask about some faces: the one named, else the builtin one where it knows such faces.

    Args:
        drawn: whether all the faces are drawn, see `Manifest.drawn`.
        clip: as named by the user.

    Raises:
        UsageError: none is named, and some of the faces are not drawn: rendered, or photographs.
    """
    if clip is not None:
        return clip
    if not drawn:
        raise UsageError(
            "photographs and rendered faces need a CLIP by name: --clip ViT-B-16/openai (downloaded) or a "
            "local one; builtin was trained on drawn faces only, --clip builtin uses it all the same."
        )
    return BUILTIN


def warning_of(clip: str, drawn: bool) -> str:
    """What to say of this CLIP's answers about such faces; "" where there is nothing to say."""
    return BUILTIN_WARNING if clip == BUILTIN and not drawn else ""


def top_posteriors(posteriors: np.ndarray, levels: Mapping[str, Sequence[str]]) -> np.ndarray:
    """(N, A) posterior of each attribute's most probable level, from (N, K); NaN where those are."""
    borders = np.cumsum([len(names) for names in levels.values()])[:-1]
    return np.stack([part.max(axis=1) for part in np.split(posteriors, borders, axis=1)], axis=1)


def how_sure(clip: str, levels: Mapping[str, Sequence[str]], means: Sequence[float] | np.ndarray) -> str:
    """A line that says which CLIP answered, and how sure it was.

    Args:
        clip: its specification.
        levels: level names of the A attributes.
        means: (A,) mean of `top_posteriors` over faces.
    """
    each = ", ".join(
        f"{name} {mean:.2f} (chance {1 / len(names):.2f})"
        for (name, names), mean in zip(levels.items(), means, strict=True)
    )
    return f"attributes by the CLIP {clip}; mean probability of the level it chose: {each}."
