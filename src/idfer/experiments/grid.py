"""What is run: a benchmark's plan (equal searches for every method) and an ablation's grid, from YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idfer.catalogue import DEFAULT_METHOD, METHODS, method_entry
from idfer.errors import IdferError, UsageError, unknown
from idfer.experiments.protocol import ORACLE
from idfer.experiments.seeds import numbers
from idfer.files import read_yaml
from idfer.search import draw
from idfer.training.settings import Settings

Search = Sequence[Mapping[str, Any]]

BASE = "base"
SETTINGS = 9  # tried per method
_PLAN_KEYS = ("budget", "settings", "grid")
_TAKEN = ("shift", "decode", "mi", "compare", "history")  # names of other benchmarks' files
_GRID_KEYS = ("name", "seeds", "base", "variants")


def contenders() -> list[str]:
    """All methods of a comparison: the catalogue's, and the oracle, ERM trained without the shortcut."""
    names = list(METHODS)
    return [*names[:1], ORACLE, *names[1:]]


def trained_as(name: str) -> str:
    """The method that a contender is trained with."""
    return "erm" if name == ORACLE else name


def shown_as(method: str) -> str:
    """A method's name in tables, with a word where it is a part of ours and so no baseline."""
    return (
        f"{method} (part of {DEFAULT_METHOD})" if method_entry(trained_as(method)).role == "part" else method
    )


@dataclass(frozen=True)
class Plan:
    """What every method is given, and where each is searched.

    Attributes:
        budget: settings common to all.
        grid: settings tried per method, in place of draws from the catalogue's ranges.
        count: settings drawn per method.
    """

    budget: Mapping[str, Any]
    grid: Mapping[str, Search]
    count: int = SETTINGS

    def __post_init__(self) -> None:
        for name, cure in (("method", "name methods with --methods"), ("seed", "give --seeds")):
            if name in self.budget:
                raise UsageError(f"the budget: {name} is no setting that all methods share; {cure}.")

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a plan.

        Raises:
            IdferError: it cannot be read.
            UsageError: it is no plan, lists settings of a method that does not exist, or names a method or a
                seed in its budget.
        """
        content = read_yaml(path)
        for key in content:
            if key not in _PLAN_KEYS:
                raise unknown(f"key in {path}", str(key), list(_PLAN_KEYS))
        budget, grid = content.get("budget") or {}, content.get("grid") or {}
        lists = isinstance(grid, dict) and all(
            isinstance(tried, list) and tried and all(isinstance(changes, dict) for changes in tried)
            for tried in grid.values()
        )
        if not isinstance(budget, dict) or not lists:
            raise UsageError(
                f"{path}: is no plan; `budget` maps settings, `grid` methods to lists of settings."
            )
        for method in grid:
            try:
                method_entry(trained_as(str(method)))
            except IdferError as error:
                raise type(error)(f"{path}: grid: {error}") from error
        count = content.get("settings", SETTINGS)
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise UsageError(f"{path}: settings is {count!r}; give a whole number of settings, at least 1.")
        try:
            return cls(budget, grid, count)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error

    def listed(self, method: str) -> Search | None:
        """The settings that the plan itself lists for a method, if it does."""
        return self.grid.get(method, self.grid.get(trained_as(method)))

    def search(self, method: str) -> Search:
        """What is changed in each setting tried for a method."""
        trained, listed = trained_as(method), self.listed(method)
        return draw(method_entry(trained).search, self.count, name=trained) if listed is None else listed

    def settings(self, method: str) -> list[Settings]:
        """All settings tried for a method.

        Raises:
            UsageError: a setting that does not exist; the message says which.
        """
        tried = []
        for number, changes in enumerate(self.search(method), start=1):
            try:
                tried.append(Settings.of(**merged(self.budget, changes) | {"method": trained_as(method)}))
            except IdferError as error:
                raise type(error)(f"plan, {method}, setting {number}: {error}") from error
        return tried

    def check_equal(self, methods: Sequence[str]) -> None:
        """Refuse a comparison in which some are searched more than others."""
        counts = {method: len(self.search(method)) for method in methods}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{method} {count}" for method, count in counts.items())
            raise UsageError(f"the plan: methods must have equally many settings: {listed}.")

    def shortened(self, changes: Mapping[str, Any], methods: Sequence[str], count: int) -> Plan:
        """The same with a smaller budget and only the first settings of each method."""
        searches = {method: self.search(method)[:count] for method in methods}
        return Plan(merged(self.budget, changes), searches, count)


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with some changed; terms change key by key."""
    both = {**settings, **changes}
    before, after = settings.get("terms"), changes.get("terms")
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        both["terms"] = {**before, **after}
    return both


@dataclass(frozen=True)
class Variant:
    """A run of an ablation.

    Attributes:
        name: for tables.
        group: the question it belongs to; "base" for the base.
        given: what the file says of it.
        settings: what that makes of the base.
    """

    name: str
    group: str
    given: Mapping[str, Any]
    settings: Settings

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        told = {"name": self.name, "group": self.group, "given": dict(self.given)}
        return told | {"settings": self.settings.to_dict()}


@dataclass(frozen=True)
class Grid:
    """What is varied.

    Attributes:
        name: of the files written.
        seeds: of people, weights and order.
        variants: the base first.
    """

    name: str
    seeds: list[int]
    variants: list[Variant]

    @classmethod
    def read(
        cls,
        path: str | Path,
        overrides: Mapping[str, Any] | None = None,
        attributes: Sequence[str] | None = None,
    ) -> Grid:
        """Read a grid: `base`, and `variants` {question: {name: changed settings}}.

        Args:
            path: the YAML file.
            overrides: settings that replace the base's.
            attributes: those that faces are retrieved with; None: those of the shift protocol.

        Raises:
            IdferError: no such file, or not YAML.
            UsageError: a key, setting, term, attribute, estimator or form that does not exist, or a variant
                named twice; the message says where.
        """
        content = read_yaml(Path(path))
        for key in content:
            if key not in _GRID_KEYS:
                raise unknown(f"key in {path}", str(key), list(_GRID_KEYS))
        base = _mapping(content.get("base"), f"{path}: base") | dict(overrides or {})
        known = _protocol_attributes() if attributes is None else attributes
        variants = {BASE: Variant(BASE, BASE, {}, _resolved(base, {}, f"{path}: base", known))}
        for group, members in _mapping(content.get("variants"), f"{path}: variants").items():
            for name, changes in _mapping(members, f"{path}: {group}").items():
                where = f"{path}: {group}: {name}"
                if name in variants:
                    raise UsageError(f"{where}: there is another variant of this name; rename one.")
                given = _mapping(changes, where)
                variants[name] = Variant(str(name), str(group), given, _resolved(base, given, where, known))
        seeds = numbers("seeds", content.get("seeds", [1, 2, 3]))
        name = str(content.get("name", "ablation"))
        if name.split("-")[0] in _TAKEN:
            raise UsageError(
                f"{path}: name is {name!r}, which would overwrite another benchmark; choose another."
            )
        return cls(name, seeds, list(variants.values()))


def _mapping(value: Any, where: str) -> dict[str, Any]:
    """A mapping that is not empty."""
    if not isinstance(value, dict) or not value:
        raise UsageError(f"{where}: is {json.dumps(value, default=str)}; a mapping is needed, name: value.")
    return value


def _protocol_attributes() -> list[str]:
    from idfer.attributes.vocabulary import Vocabulary

    return list(Vocabulary.load("default").levels)


def _resolved(
    base: Mapping[str, Any], changes: Mapping[str, Any], where: str, known: Sequence[str]
) -> Settings:
    """The base with a variant's changes; terms change key by key, unless the method is another."""
    method = changes.get("method", base.get("method"))
    terms = dict(base.get("terms") or {}) if method == base.get("method") else {}
    changed_terms = changes.get("terms") or {}
    if not isinstance(changed_terms, Mapping):
        raise UsageError(f"{where}: terms is {changed_terms!r}; give a mapping of term names to values.")
    try:
        settings = Settings.of(**{**base, **changes, "terms": terms | dict(changed_terms)})
        for attribute in settings.use or ():
            if attribute not in known:
                raise unknown("attribute", attribute, list(known))
    except IdferError as error:
        raise type(error)(f"{where}: {error}") from error
    return settings
