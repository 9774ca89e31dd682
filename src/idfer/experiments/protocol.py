"""The shift protocol [ours]: unseen people with large attribute differences, on faces whose truth is known.

Trained where older faces show lower valence and more masculine faces higher arousal (ρ = 0.7), tested on
unseen people where that still holds (`matched`), does not hold (`balanced`) or is turned round (`reversed`).
The three test splits show the same people; only what they express differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idfer.data.manifest import Manifest
    from idfer.synthetic.factors import Factors

RHO = 0.7
TESTS = {"matched": RHO, "balanced": 0.0, "reversed": -RHO}
CHANGED = "changed"  # split: row by row the `balanced` expressions on other people's faces
CROSS = "cross"  # split: every test person with every one of some expressions
SHIFTED, ORACLE = "shifted", "oracle"  # folders of a world: with the shortcut, and the same people without


@dataclass(frozen=True)
class Protocol:
    """How many faces of how many people, per split.

    Attributes:
        train: people and images per person to train on.
        val: the same for held-out people of the training distribution (scored for the log only).
        test: the same for each test split.
        cross: people and expressions of the full cross.
        size: image side in pixels.
    """

    train: tuple[int, int] = (150, 40)
    val: tuple[int, int] = (30, 10)
    test: tuple[int, int] = (100, 10)
    cross: tuple[int, int] = (100, 12)
    size: int = 64


def sized(size: str) -> tuple[Protocol, dict[str, Any]]:
    """The protocol of a size, "full" or "tiny", and what it changes in the budget.

    Held-out people are many, for they choose between settings.
    """
    if size == "tiny":
        protocol = Protocol(train=(24, 8), val=(16, 5), test=(16, 5), cross=(12, 4), size=32)
        return protocol, {"epochs": 1, "batch_size": 32, "size": 32}
    return Protocol(val=(60, 20)), {}


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

    parts = _learned(protocol, seed, RHO) | _tests(protocol, seed)
    return write_splits(parts, out, size=protocol.size, seed=seed, progress=progress)


def write_world(protocol: Protocol, out: Path, seed: int, progress: bool = True) -> dict[str, Manifest]:
    """Draw all that a benchmark needs of one seed, in two folders.

    OUT/shifted is `write`'s, with the splits `changed` for counterfactual drift and `cross`. OUT/oracle has
    `train` and `val` without the shortcut: the same people and photographs, expressions drawn at ρ = 0.

    Args:
        protocol: the sizes.
        out: a folder of its own.
        seed: as for `write`, whose faces are the same.
        progress: show progress bars.

    Returns:
        The manifests by folder name.
    """
    from idfer.evaluation.counterfactual import other_people
    from idfer.synthetic.cross import cross
    from idfer.synthetic.dataset import write_splits

    tests = _tests(protocol, seed)
    measured = {
        CHANGED: other_people(tests["balanced"], seed),
        CROSS: cross(*protocol.cross, seed=3 * seed + 2),
    }
    parts = {
        SHIFTED: _learned(protocol, seed, RHO) | tests | measured,
        ORACLE: _learned(protocol, seed, 0.0),
    }
    return {
        name: write_splits(splits, out / name, size=protocol.size, seed=seed, progress=progress)
        for name, splits in parts.items()
    }


def _learned(protocol: Protocol, seed: int, rho: float) -> dict[str, Factors]:
    """Faces to train on and held-out faces of the same distribution."""
    from idfer.synthetic.factors import sample

    return {
        "train": sample(*protocol.train, correlation(rho), 3 * seed),
        "val": sample(*protocol.val, correlation(rho), 3 * seed + 1),
    }


def _tests(protocol: Protocol, seed: int) -> dict[str, Factors]:
    """The same unseen people under each correlation."""
    from idfer.synthetic.factors import sample

    return {name: sample(*protocol.test, correlation(rho), 3 * seed + 2) for name, rho in TESTS.items()}
