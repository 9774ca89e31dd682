"""Sizes and splits of shift protocols [ours]: unseen people with large attribute differences, truth known.

Of the first of them, `correlation`:

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
PROBED = "probed"  # split of `correlation`: many unseen people, labels independent of them, for the probes
SHIFTED, ORACLE = "shifted", "oracle"  # folders of a world: with the shift, and without
CORRELATION = "correlation"  # the protocol of this file; `idfer.experiments.protocols` has it and others


@dataclass(frozen=True)
class Protocol:
    """How many faces of how many people, per split.

    Attributes:
        train: people and images per person to train on.
        val: the same for held-out people of the training distribution, which every setting is chosen by.
        test: the same for each test split.
        cross: people and expressions of the full cross.
        probed: people and images per person that probes are trained and tested on.
        size: image side in pixels.
    """

    train: tuple[int, int] = (150, 40)
    val: tuple[int, int] = (30, 10)
    test: tuple[int, int] = (100, 10)
    cross: tuple[int, int] = (100, 20)
    probed: tuple[int, int] = (500, 10)
    size: int = 64


def sized(size: str) -> tuple[Protocol, dict[str, Any]]:
    """The protocol of a size, "full" or "tiny", and what it changes in the budget.

    Held-out people are many, for they choose between settings.
    """
    if size == "tiny":
        protocol = Protocol(train=(24, 8), val=(16, 5), test=(16, 5), cross=(12, 4), probed=(24, 4), size=32)
        return protocol, {"epochs": 1, "batch_size": 32, "size": 32}
    return Protocol(val=(60, 20)), {}


def correlation(rho: float) -> str:
    """The label-attribute correlation of strength `rho`, as `idfer synth --correlation` takes it."""
    return f"age:valence={-rho},gender:arousal={rho}" if rho else ""


def write(protocol: Protocol, out: Path, seed: int, progress: bool = True) -> Manifest:
    """Draw the faces of `correlation` into a folder with one manifest.

    Args:
        protocol: the sizes.
        out: a new or empty folder, or one written before.
        seed: training, validation and test people come from three different seeds made of this one.
        progress: show a progress bar.
    """
    from idfer.experiments.protocols.design import load_design
    from idfer.synthetic.dataset import write_splits

    world = load_design(CORRELATION).draw(protocol, seed)
    parts = {**vars(world.learned[SHIFTED]), **world.tests}
    return write_splits(parts, out, size=protocol.size, seed=seed, progress=progress)


def write_world(
    protocol: Protocol, out: Path, seed: int, progress: bool = True, design: str = CORRELATION
) -> dict[str, Manifest]:
    """Draw all that a benchmark needs of one seed: a folder for each level of a protocol and the oracle.

    Each holds `train` and `val`. That of the first level (OUT/shifted where there is one level) also has the
    protocol's test splits, `changed` for counterfactual drift, and `cross`; of `correlation` also `probed`.
    OUT/oracle is without the shift.

    Args:
        protocol: the sizes.
        out: a folder of its own.
        seed: as for `write`, whose faces are those of `correlation`.
        progress: show progress bars.
        design: name of the shift protocol.

    Returns:
        The manifests by folder name.

    Raises:
        UsageError: no such protocol.
    """
    from idfer.evaluation.counterfactual import other_people
    from idfer.experiments.protocols.design import load_design
    from idfer.synthetic.cross import cross
    from idfer.synthetic.dataset import write_splits
    from idfer.synthetic.factors import sample

    asked = load_design(design)
    world = asked.draw(protocol, seed)
    parts: dict[str, dict[str, Factors]] = {name: dict(vars(world.learned[name])) for name in asked.folders}
    parts[asked.home] |= world.tests
    parts[asked.home][CHANGED] = other_people(world.tests[asked.balanced], seed)
    parts[asked.home][CROSS] = cross(*protocol.cross, seed=3 * seed + 2)
    if design == CORRELATION:
        parts[asked.home][PROBED] = sample(*protocol.probed, None, 3 * seed + 2)
    return {
        name: write_splits(splits, out / name, size=protocol.size, seed=seed, progress=progress)
        for name, splits in parts.items()
    }
