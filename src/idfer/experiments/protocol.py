"""The shift protocol [ours]: unseen people with large attribute differences, on faces whose truth is known.

Trained where older faces show lower valence and more masculine faces higher arousal (ρ = 0.7), tested on
unseen people where that still holds (`matched`), does not hold (`balanced`) or is turned round (`reversed`).
The three test splits show the same people; only what they express differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idfer.data.manifest import Manifest

RHO = 0.7
TESTS = {"matched": RHO, "balanced": 0.0, "reversed": -RHO}


@dataclass(frozen=True)
class Protocol:
    """How many faces of how many people, per split.

    Attributes:
        train: people and images per person to train on.
        val: the same for held-out people of the training distribution (scored for the log only).
        test: the same for each test split.
        size: image side in pixels.
    """

    train: tuple[int, int] = (150, 40)
    val: tuple[int, int] = (30, 10)
    test: tuple[int, int] = (100, 10)
    size: int = 64


def correlation(rho: float) -> str:
    """The label-attribute correlation of strength `rho`, as `idfer synth --correlation` takes it."""
    return f"age:valence={-rho},gender:arousal={rho}" if rho else ""


def write(protocol: Protocol, out: Path, seed: int, progress: bool = True) -> Manifest:
    """Draw the protocol's faces into a folder with one manifest.

    Args:
        protocol: the sizes.
        out: a new or empty folder, or one written before.
        seed: training, validation and test people come from three different seeds made of this one.
        progress: show a progress bar.
    """
    from idfer.synthetic.dataset import write_splits
    from idfer.synthetic.factors import sample

    seeds = {"train": 3 * seed, "val": 3 * seed + 1} | dict.fromkeys(TESTS, 3 * seed + 2)
    people = {"train": protocol.train, "val": protocol.val} | dict.fromkeys(TESTS, protocol.test)
    parts = {name: sample(*people[name], correlation(TESTS.get(name, RHO)), seeds[name]) for name in seeds}
    return write_splits(parts, out, size=protocol.size, seed=seed, progress=progress)
