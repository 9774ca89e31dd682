"""What a shift protocol is: which faces are learned from, which are tested on, and what the tests stand for.

A protocol is a `Design`, a row of `idfer.catalogue.PROTOCOLS` and a test. One of a user's own goes by
`module:NAME` wherever a protocol's name is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from idfer.errors import UsageError, unknown
from idfer.experiments.protocol import CHANGED, CROSS, ORACLE, SHIFTED, Protocol

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest
    from idfer.synthetic.factors import Factors

Misread: TypeAlias = "Callable[[AttributeTable, Manifest, int], AttributeTable]"
_TAKEN = ("train", "val", CHANGED, CROSS)  # splits of every world


@dataclass(frozen=True)
class Learned:
    """Faces that a model learns from.

    Attributes:
        train: faces to train on. Their `valence` and `arousal` are the labels *given*: action units, so
            pixels, are drawn already.
        val: held-out people of the same distribution.
    """

    train: Factors
    val: Factors


@dataclass(frozen=True)
class World:
    """The faces of one seed.

    Attributes:
        learned: what is learned from, by level, and `oracle`: the same without the shift.
        tests: faces of unseen people by split.
    """

    learned: Mapping[str, Learned]
    tests: Mapping[str, Factors]


@dataclass(frozen=True)
class Design:
    """A shift protocol. It is told from others by its name: a change of its draws is another protocol.

    Attributes:
        draw: (sizes, seed) -> the faces. People of `train`, `val` and tests come from the cohorts 3 seed,
            3 seed + 1 and 3 seed + 2, so that nobody is in two of them.
        about: a paragraph for the report: what is shifted, and what the oracle has.
        tests: names of the test splits.
        balanced: the test split without the shift's shortcut, whose expressions are shown on other faces too.
        levels: what is learned from, by name; the faces of the first lie beside the tests.
        cells: test splits that the mean and the worst CCC are over; () for all.
        matched: the test split in which the shortcut holds as in training; "" for none.
        reversed: the one in which it is turned round; "" for none.
        shortcuts: (identity factor, dimension) whose effects on predictions are reported.
        harmless: the level without a shift, where what is lost on the oracle is a method's cost; "" for none.
        line: places of test splits on a line, for the area under their CCC; empty for none.
        misread: (table, manifest, seed) -> the attributes as they are retrieved wrongly.
    """

    draw: Callable[[Protocol, int], World]
    about: str
    tests: tuple[str, ...]
    balanced: str
    levels: tuple[str, ...] = (SHIFTED,)
    cells: tuple[str, ...] = ()
    matched: str = ""
    reversed: str = ""
    shortcuts: tuple[tuple[str, str], ...] = ()
    harmless: str = ""
    line: Mapping[str, float] = field(default_factory=dict)
    misread: Misread | None = None

    def __post_init__(self) -> None:
        if not self.cells:
            object.__setattr__(self, "cells", self.tests)
        named = (self.balanced, *self.cells, *self.line, *filter(None, (self.matched, self.reversed)))
        for split in named:
            if split not in self.tests:
                raise unknown("test split of a protocol", split, list(self.tests))
        if taken := sorted({*self.tests} & {*_TAKEN}):
            raise UsageError(f"a protocol's test split is named {taken[0]!r}, which every world has already.")
        if self.harmless not in ("", *self.levels) or not self.levels or ORACLE in self.levels:
            raise UsageError(f"a protocol's levels are {self.levels}: name one or more, none of them oracle.")

    @property
    def home(self) -> str:
        """The level whose folder also holds the tests."""
        return self.levels[0]

    @property
    def folders(self) -> tuple[str, ...]:
        """What can be learned from: the levels and the oracle's faces."""
        return (*self.levels, ORACLE)

    def check_level(self, level: str) -> None:
        """Raises `UsageError` for what this protocol has no faces of."""
        if level not in self.folders:
            raise unknown("level of the protocol", level, list(self.folders))


def load_design(name: str) -> Design:
    """A protocol of the catalogue, or one of a user's own given as `module:NAME`.

    Raises:
        UsageError: no such protocol, module or name, or it is no `Design`.
    """
    from idfer.catalogue import PROTOCOLS
    from idfer.names import is_path, load_object

    if name not in PROTOCOLS and not is_path(name):
        raise unknown("protocol", name, list(PROTOCOLS), "Or give one of your own as module:NAME.")
    path = PROTOCOLS[name].path if name in PROTOCOLS else name
    design = load_object(path, "protocol")
    if not isinstance(design, Design):
        raise UsageError(f"protocol {name!r}: {path} is no idfer.experiments.protocols.design.Design.")
    return design
